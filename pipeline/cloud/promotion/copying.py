"""The same bytes in the target: component, reference and, elsewhere, model and version.

Into another environment, the target's key signs the manifest's bytes again: its devices trust that
key alone, and the zips stay what they are (docs/decisions, "counter-sign"). What is there already
is left, so that a copy that was cut off goes on where it was.

Leaves out: deploying.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.fleet import packages
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.promotion import artifacts, versions
from pipeline.cloud.promotion.versions import Version
from pipeline.cloud.session import Account

MODEL, EVALUATION = "model.tar.gz", "evaluation.json"
FOLDER = "promoted"
"""In the target's bucket of models."""
ORIGIN = "promoted_from"


def publish(source: Account, target: Account, package: Package) -> None:
    """Make the package a component version of the target.

    Raises:
        CloudError: The target refused something, or has another package of that version.
    """
    if elsewhere(source, target) and not packages.exists(target, package.version):
        package = _countersigned(target, package)
    packages.publish(target, package)
    bucket = Bucket(target, target.settings.deployments_bucket)
    for name, (path, sha256) in package.beside.items():
        bucket.upload(path, f"{place(target, package.version)}/{name}", sha256)


def conflict(target: Account, package: Package) -> str:
    """Why the target cannot get this package; empty if it can.

    Raises:
        CloudError: It could not be looked at.
    """
    settings = target.settings
    if not packages.exists(target, package.version):
        return ""
    key = f"{place(target, package.version)}/{packages.MANIFEST}"
    there = Bucket(target, settings.deployments_bucket).hash_of(key)
    if there == package.files[packages.MANIFEST][1]:
        return ""
    return (
        f"{package.name} {package.version} is in {target.place} already, made of another package: "
        "a version never changes, so train or package under a new one."
    )


def register(
    source: Account, target: Account, version: Version, package: Package, folder: Path
) -> str:
    """Copy the model, and register it in the target with where it is from; returns the new ARN.

    It is registered as pending: who approves it there decides on the environment after that.

    Args:
        folder: Has room for the model.

    Raises:
        RefusedError: The model is not what was registered.
        CloudError: Something was refused.
    """
    settings = target.settings
    mark = f"[{artifacts.token(version.arn)}]"
    for found in _registered(target):
        if str(found.get("ModelPackageDescription", "")).endswith(mark):
            return str(found["ModelPackageArn"])
    model = _copy(source, target, version, version.model_url, folder / MODEL)
    quality = version.described.get("ModelMetrics", {}).get("ModelQuality", {})
    statistics: Mapping[str, str] = quality.get("Statistics", {})
    metrics = {}
    if url := statistics.get("S3Uri"):
        there = _copy(source, target, version, url, folder / EVALUATION)
        metrics = {"ModelQuality": {"Statistics": {**statistics, "S3Uri": there}}}
    description = str(version.described.get("ModelPackageDescription", ""))
    description = description.rpartition("[")[0] or f"{description} "
    created = target.call(
        "sagemaker",
        "create_model_package",
        f"register version {version.number} of {version.group} in {settings.name}",
        ModelPackageGroupName=settings.model_package_group,
        ModelApprovalStatus="PendingManualApproval",
        ModelPackageDescription=f"{description[: 1000 - len(mark)]}{mark}",
        ClientToken=artifacts.token(version.arn),
        CustomerMetadataProperties=_properties(target, version, package),
        InferenceSpecification=_inference(version, model),
        **({"ModelMetrics": metrics} if metrics else {}),
    )
    return str(created["ModelPackageArn"])


def elsewhere(source: Account, target: Account) -> bool:
    """Whether the target is another environment than the source."""
    return source.settings.environment != target.settings.environment


def place(target: Account, version: str) -> str:
    """Where a component version lies in the target's deployments bucket."""
    settings = target.settings
    return f"{settings.components_prefix}/{settings.component_name}/{version}"


def _countersigned(target: Account, package: Package) -> Package:
    """The package with the target's signature over the same manifest."""
    manifest, _ = package.files[packages.MANIFEST]
    path = manifest.with_name(f"{packages.SIGNATURE}.{target.settings.environment}")
    path.write_bytes(artifacts.sign(target, manifest.read_bytes()))
    return replace(package, files={**package.files, packages.SIGNATURE: (path, _sha256(path))})


def _copy(source: Account, target: Account, version: Version, address: str, path: Path) -> str:
    """Copy one object to the target's bucket of models; returns where it is.

    Through this machine: what reads needs no right in the target, and what writes none in the
    source.
    """
    bucket = Bucket(target, target.settings.model_bucket)
    key = f"{FOLDER}/{source.settings.environment}/{version.number}/{path.name}"
    expected = version.properties.get(versions.MODEL_SHA256) if path.name == MODEL else None
    if expected is None or bucket.hash_of(key) != expected:
        sha256 = artifacts.download(source, address, path)
        if expected not in (None, sha256):
            raise artifacts.RefusedError(
                f"{address} is not the model that was registered (its SHA-256 differs)."
            )
        bucket.upload(path, key, sha256)
    return bucket.address(key)


def _inference(version: Version, model: str) -> dict[str, Any]:
    """The source's inference specification, with the model where it is now."""
    specification: dict[str, Any] = version.described["InferenceSpecification"]
    container = specification["Containers"][0]
    kept = {name: container[name] for name in ("Image", "Framework") if name in container}
    types = ("SupportedContentTypes", "SupportedResponseMIMETypes")
    return {
        "Containers": [{**kept, "ModelDataUrl": model}],
        **{name: specification[name] for name in types if specification.get(name)},
    }


def _registered(target: Account) -> list[dict[str, Any]]:
    group = target.settings.model_package_group
    pages = target.pages(
        "sagemaker",
        "list_model_packages",
        f"list the versions of {group}",
        ModelPackageGroupName=group,
        SortBy="CreationTime",
        SortOrder="Descending",
    )
    return [one for page in pages for one in page["ModelPackageSummaryList"]]


def _properties(target: Account, version: Version, package: Package) -> Mapping[str, str]:
    """What was known of the version, and where it is from."""
    bucket = Bucket(target, target.settings.deployments_bucket)
    known = {k: v for k, v in version.properties.items() if not k.startswith(versions.PREFIX)}
    known[versions.PACKAGE_URL] = bucket.address(place(target, package.version))
    known[ORIGIN] = version.arn
    return known


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
