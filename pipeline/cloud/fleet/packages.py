"""The *package* step's output as a component version: read, checked, uploaded, registered.

Nothing is uploaded that devices would refuse: the zips are what package.json says, and the
signature is of the key that devices of this account trust. A component version never changes: the
same package again is found and left, another one of that number is refused.

Leaves out: looking into the zips; the device does (edge/package).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.fleet.provisioning import signing_key
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.errors import UsageError

VERSION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}")
SIGNATURE, MANIFEST, RECIPE, SUMMARY, REFERENCE = (
    "manifest.sig",
    "manifest.json",
    "recipe.json",
    "package.json",
    "reference.json",
)
_DEPLOYABLE_SECONDS = 60


@dataclass(frozen=True)
class Package:
    """A package on this machine.

    Attributes:
        files: Path and SHA-256 of every artifact, by name.
        beside: The same of what is no artifact: recipe, summary, and the reference that windows of
            this version are compared with.
    """

    folder: Path
    name: str
    version: str
    recipe: dict[str, Any]
    files: dict[str, tuple[Path, str]]
    beside: dict[str, tuple[Path, str]]


def read(folder: Path, component: str) -> Package:
    """Read the step's output and compare the zips with what it says of them.

    Raises:
        UsageError: It is no such folder, it is another component's, or a file is not what it was.
    """
    summary, recipe = _json(folder / SUMMARY), _json(folder / RECIPE)
    try:
        name, version = str(summary["name"]), str(summary["version"])
        archives = cast("dict[str, dict[str, Any]]", summary["archives"])
        expected = {str(one["zip"]): str(one["sha256"]) for one in archives.values()}
        expected[MANIFEST] = str(summary["manifest_sha256"])
        of_recipe = (recipe["ComponentName"], recipe["ComponentVersion"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{folder} is no package of this format ({error} in {SUMMARY} or {RECIPE}): name the "
            "output folder of the package step."
        ) from None
    if name != component or not VERSION.fullmatch(version) or of_recipe != (name, version):
        raise UsageError(
            f"{folder} holds {name} {version}, not a version of {component}: check --env and "
            "the folder."
        )
    found = _compare(folder, expected)
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise UsageError(f"{folder} is not signed, and devices would refuse it: package it again.")
    found[SIGNATURE] = (signature, _sha256(signature))
    named = ((RECIPE, "recipe_sha256"), (REFERENCE, "reference_sha256"))
    beside = _compare(folder, {file: str(summary[key]) for file, key in named if key in summary})
    for file in (RECIPE, SUMMARY):  # an older package does not name the recipe's hash
        beside[file] = (folder / file, _sha256(folder / file))
    return Package(folder, name, version, recipe, found, beside)


def _compare(folder: Path, expected: dict[str, str]) -> dict[str, tuple[Path, str]]:
    """Every file with its hash, which is as expected."""
    found: dict[str, tuple[Path, str]] = {}
    for file, sha256 in expected.items():
        path = folder / file
        if not path.is_file() or Path(file).name != file or _sha256(path) != sha256:
            raise UsageError(
                f"{path} is missing or is not the file that {SUMMARY} names: package it again."
            )
        found[file] = (path, sha256)
    return found


def check_signature(account: Account, package: Package) -> None:
    """Refuse what devices would refuse.

    Raises:
        CloudError: Another key than the account's signed it, or it was altered.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_der_public_key(signing_key(account))
    alias = account.settings.signing_alias
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CloudError(f"{alias} is not a key for ECDSA: deploy the foundation stack.")
    signature, manifest = (package.files[name][0].read_bytes() for name in (SIGNATURE, MANIFEST))
    try:
        key.verify(signature, manifest, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise CloudError(
            f"{package.folder} was not signed with {alias}, the key that devices trust: run the "
            "pipeline in the account, or the package step with SLM_SIGNING_KEY set to "
            f"{account.settings.signing_key_arn}."
        ) from None


def publish(account: Account, package: Package) -> bool:
    """Upload the package and make the component version; False when it was there already.

    Raises:
        CloudError: The account refused something, or has another package of that version.
    """
    settings = account.settings
    bucket = Bucket(account, settings.deployments_bucket)
    bucket.check()
    place = f"{settings.components_prefix}/{package.name}/{package.version}"
    there = exists(account, package.version)
    if there and bucket.hash_of(f"{place}/{MANIFEST}") != package.files[MANIFEST][1]:
        raise CloudError(
            f"{package.name} {package.version} is in {account.place} already, made of another "
            "package: a version never changes, so package this one under a new version."
        )
    if REFERENCE in package.beside:
        path, sha256 = package.beside[REFERENCE]
        bucket.upload(path, f"{settings.references_prefix}/{package.version}.json", sha256)
    if there:
        _wait_until_deployable(account, package.version)  # an earlier call may have been cut off
        return False
    for name, (path, sha256) in package.files.items():
        bucket.upload(path, f"{place}/{name}", sha256)
    recipe = with_addresses(package.recipe, bucket.address(place))
    account.call(
        "greengrassv2",
        "create_component_version",
        f"make {package.name} {package.version}",
        inlineRecipe=json.dumps(recipe).encode(),
        tags=settings.all_tags,
    )
    _wait_until_deployable(account, package.version)
    return True


def with_addresses(recipe: dict[str, Any], place: str) -> dict[str, Any]:
    """The recipe with every artifact at ``place``."""
    copy: dict[str, Any] = json.loads(json.dumps(recipe))
    for manifest in copy["Manifests"]:
        for artifact in manifest["Artifacts"]:
            artifact["Uri"] = f"{place}/{artifact['Uri'].rpartition('/')[2]}"
    return copy


def component_arn(account: Account, version: str | None = None) -> str:
    """Of the component, or of one of its versions."""
    settings = account.settings
    owner = f"arn:{settings.partition}:greengrass:{settings.region}:{settings.account}"
    whole = f"{owner}:components:{settings.component_name}"
    return f"{whole}:versions:{version}" if version else whole


def exists(account: Account, version: str) -> bool:
    """Whether the account has that version of the component."""
    return _state(account, version) is not None


def _state(account: Account, version: str) -> dict[str, Any] | None:
    doing = f"look for {account.settings.component_name} {version}"
    try:
        answer = account.call(
            "greengrassv2", "describe_component", doing, arn=component_arn(account, version)
        )
    except MissingError:
        return None
    return answer["status"]


def _wait_until_deployable(account: Account, version: str) -> None:
    deadline = time.monotonic() + _DEPLOYABLE_SECONDS
    while True:
        status = _state(account, version) or {}
        if status.get("componentState") == "DEPLOYABLE":
            return
        if status.get("componentState") == "FAILED" or time.monotonic() > deadline:
            said = status.get("message") or status.get("componentState") or "no answer"
            raise CloudError(
                f"{account.settings.component_name} {version} is not deployable ({said}): "
                "repeat the command."
            )
        time.sleep(1)


def _json(path: Path) -> dict[str, Any]:
    try:
        value: object = json.loads(path.read_bytes())
    except OSError:
        value = None
    except ValueError:
        raise UsageError(f"{path} is not JSON: package it again.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is missing: name the output folder of the package step.")
    return cast("dict[str, Any]", value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
