"""SageMaker's model registry, over boto3: in an account, or at ``AWS_ENDPOINT_URL``.

A group is a model package group and a version is a model package. What the registry has no field
for (metrics, data hash, parameters, lineage) stands in CustomerMetadataProperties, cut to the
service's limits; ``evaluation.json`` is the package's model-quality statistics, which Studio draws.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from steps.archive import MODEL_ARCHIVE
from steps.contract import StepError, upload_arguments
from steps.registry import ModelPackage, RegistryEntry, check_download, check_status

HASH_PROPERTY = "model_sha256"
METRIC_PROPERTY = "metric."

# limits of CreateModelPackage and UpdateModelPackage, from the service model
_PROPERTIES = 50
_RESERVED = 14
"""Of those, for what is noted later: where the package is, and how the version was promoted."""
_KEY_LENGTH = 128
_VALUE_LENGTH = 256
_TEXT_LENGTH = 1024
_REFUSED = re.compile(r"[^\w .:/=+\-@]")

FALLBACK_IMAGE = "localhost/slm-edge/processing:local"
"""The registry asks for an image; outside a SageMaker job none is known."""


class SageMakerRegistry:
    """A model package group of SageMaker; see :class:`steps.registry.Registry`."""

    kind = "sagemaker"

    def __init__(self, group: str) -> None:
        self.group = group
        with _aws("open the model registry"):
            import boto3
            from botocore.config import Config

            # an endpoint of one's own rarely answers for one host name per bucket
            names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
            self._emulated = any(name in os.environ for name in names)
            style = "path" if self._emulated else "auto"
            retries = {"mode": "standard", "max_attempts": 5}
            session = boto3.Session()
            self._sagemaker = session.client("sagemaker", config=Config(retries=retries))
            self._s3 = session.client(
                "s3", config=Config(retries=retries, s3={"addressing_style": style})
            )

    def champion(self) -> ModelPackage | None:
        newest = next(self._list(ModelApprovalStatus="Approved"), None)
        return None if newest is None else self._package(newest["ModelPackageArn"])

    def register(self, entry: RegistryEntry) -> ModelPackage:
        check_status(entry.status)
        self._create_group()
        found = self._find(entry)
        if found is not None:
            return self._package(found)
        evaluation_url = self._upload(entry)
        request = _request(self.group, entry, evaluation_url)
        with _aws(f"register the model in the group {self.group}"):
            created = self._sagemaker.create_model_package(**request)
        return self._package(created["ModelPackageArn"])

    def reject(self, name: str, reason: str) -> None:
        described = self._describe(name)
        with _aws(f"reject the model package {name}"):
            self._sagemaker.update_model_package(
                ModelPackageArn=name,
                ModelApprovalStatus="Rejected",
                ApprovalDescription=reason[:_TEXT_LENGTH],
                # unchanged, and said so: an emulator drops what is left out
                CustomerMetadataProperties=described.get("CustomerMetadataProperties", {}),
            )

    def note(self, name: str, properties: dict[str, str]) -> None:
        described = self._describe(name)
        kept = described.get("CustomerMetadataProperties", {})
        # an emulator drops what is left out; in an account a job's role may not name the status
        fields = ("ModelApprovalStatus", "ApprovalDescription") if self._emulated else ()
        unchanged = {field: described[field] for field in fields if field in described}
        with _aws(f"note {', '.join(properties)} with the model package {name}"):
            self._sagemaker.update_model_package(
                ModelPackageArn=name,
                CustomerMetadataProperties={**kept, **_clean(properties)},
                **unchanged,
            )

    def download(self, package: ModelPackage, folder: Path) -> Path:
        described = self._describe(package.name)
        containers = described.get("InferenceSpecification", {}).get("Containers", [])
        url = next((one["ModelDataUrl"] for one in containers if one.get("ModelDataUrl")), "")
        if not url:
            raise StepError(
                f"The model package {package.name} names no model in S3: "
                "register it again with its ModelDataUrl."
            )
        bucket, key = _bucket_and_key(url)
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / MODEL_ARCHIVE
        with _aws(f"download {url}"):
            self._s3.download_file(bucket, key, str(archive))
        properties = described.get("CustomerMetadataProperties", {})
        check_download(archive, properties.get(HASH_PROPERTY), package.name)
        return folder

    def _create_group(self) -> None:
        from botocore.exceptions import ClientError

        with _aws(f"create the model package group {self.group}"):
            try:
                self._sagemaker.describe_model_package_group(ModelPackageGroupName=self.group)
                return
            except ClientError as error:
                if not _is_missing(error):
                    raise
            try:
                self._sagemaker.create_model_package_group(
                    ModelPackageGroupName=self.group,
                    ModelPackageGroupDescription="Intent classifiers for the edge",
                )
            except ClientError as error:  # two executions may be the first at the same time
                if "already exists" not in str(error):
                    raise

    def _list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Summaries of the group's packages, newest first; none when there is no such group."""
        from botocore.exceptions import ClientError

        pages = self._sagemaker.get_paginator("list_model_packages")
        with _aws(f"list the model packages of the group {self.group}"):
            try:
                for page in pages.paginate(
                    ModelPackageGroupName=self.group,
                    SortBy="CreationTime",
                    SortOrder="Descending",
                    **filters,
                ):
                    yield from page["ModelPackageSummaryList"]
            except ClientError as error:
                if not _is_missing(error):
                    raise

    def _find(self, entry: RegistryEntry) -> str | None:
        """The ARN of the version that ``entry`` made before; its key ends the description."""
        for summary in self._list():
            if summary.get("ModelPackageDescription", "").endswith(_mark(entry)):
                return summary["ModelPackageArn"]
        return None

    def _describe(self, name: str) -> dict[str, Any]:
        with _aws(f"find the model package {name}"):
            return self._sagemaker.describe_model_package(ModelPackageName=name)

    def _upload(self, entry: RegistryEntry) -> str:
        """Put into S3 what is not there yet.

        Returns:
            The S3 URI of ``evaluation.json``, or an empty string when the model has none.
        """
        if not entry.model_data_url:
            raise StepError(
                "SageMaker's registry keeps the S3 address of a model, not the model: "
                "say with --model-data-url where model.tar.gz lies or shall lie."
            )
        self._upload_model(entry)
        evaluation = next((path for path in entry.files if path.name == "evaluation.json"), None)
        if evaluation is None or entry.evaluation_url:
            return entry.evaluation_url
        folder = entry.model_data_url.rpartition("/")[0]
        url = f"{folder}/registered/{entry.key}/{evaluation.name}"
        bucket, key = _bucket_and_key(url)
        with _aws(f"upload {url}"):
            self._s3.upload_file(str(evaluation), bucket, key, ExtraArgs=upload_arguments())
        return url

    def _upload_model(self, entry: RegistryEntry) -> None:
        from botocore.exceptions import ClientError

        url = entry.model_data_url
        bucket, key = _bucket_and_key(url)
        with _aws(f"look for the model at {url}"):
            try:
                size = self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                    raise
                self._s3.upload_file(str(entry.model), bucket, key, ExtraArgs=upload_arguments())
                return
        if size != entry.model.stat().st_size:
            raise StepError(
                f"The model at {url} has {size} bytes but the one to register has "
                f"{entry.model.stat().st_size}: register the model that the training job wrote."
            )

    def _package(self, name: str) -> ModelPackage:
        described = self._describe(name)
        properties = described.get("CustomerMetadataProperties", {})
        return ModelPackage(
            name=described["ModelPackageArn"],
            version=int(described["ModelPackageVersion"]),
            status=described["ModelApprovalStatus"],
            metrics={
                key.removeprefix(METRIC_PROPERTY): float(value)
                for key, value in properties.items()
                if key.startswith(METRIC_PROPERTY)
            },
            created=described["CreationTime"].astimezone(UTC).isoformat(),
        )


def _request(group: str, entry: RegistryEntry, evaluation_url: str) -> dict[str, Any]:
    """The arguments of CreateModelPackage."""
    container = {
        "Image": entry.image or FALLBACK_IMAGE,
        "ModelDataUrl": entry.model_data_url,
        "Framework": "PYTORCH",
    }
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": _description(entry),
        "ModelApprovalStatus": entry.status,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "CustomerMetadataProperties": _properties(entry),
        "MetadataProperties": {"GeneratedBy": entry.execution_id[:_TEXT_LENGTH]},
        "ClientToken": entry.key,
    }
    commit = entry.properties.get("commit", "")
    if commit:
        request["MetadataProperties"]["CommitId"] = commit[:_TEXT_LENGTH]
    if evaluation_url:
        statistics = {"ContentType": "application/json", "S3Uri": evaluation_url}
        request["ModelMetrics"] = {"ModelQuality": {"Statistics": statistics}}
    return request


def _mark(entry: RegistryEntry) -> str:
    return f" [{entry.key}]"


def _description(entry: RegistryEntry) -> str:
    mark = _mark(entry)
    return " ".join(entry.description.split())[: _TEXT_LENGTH - len(mark)] + mark


def _properties(entry: RegistryEntry) -> dict[str, str]:
    """CustomerMetadataProperties, cut to what the service takes; the hash and metrics come first.

    A value that would be cut is still recorded whole in the model's own ``training.json``.
    """
    wanted = {
        HASH_PROPERTY: entry.model_sha256,
        **{METRIC_PROPERTY + name: f"{value:.6g}" for name, value in entry.metrics.items()},
        **entry.properties,
    }
    return dict(list(_clean(wanted).items())[: _PROPERTIES - _RESERVED])


def _clean(properties: dict[str, str]) -> dict[str, str]:
    """As the service takes them; an empty one is left out."""
    cleaned = {
        _REFUSED.sub("-", key)[:_KEY_LENGTH]: _REFUSED.sub(" ", value)[:_VALUE_LENGTH].strip()
        for key, value in properties.items()
    }
    return {key: value for key, value in cleaned.items() if value}


def _bucket_and_key(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    key = parts.path.lstrip("/")
    if parts.scheme != "s3" or not parts.netloc or not key or key.endswith("/"):
        raise StepError(
            f"{url!r} is not the address of an object in S3: use s3://BUCKET/PREFIX/{MODEL_ARCHIVE}."
        )
    return parts.netloc, key


def _is_missing(error: Any) -> bool:
    """Whether a ClientError says that the thing asked for is not there."""
    code = error.response["Error"]["Code"]
    message = error.response["Error"].get("Message", "")
    return code == "ResourceNotFound" or "does not exist" in message


@contextlib.contextmanager
def _aws(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into one sentence."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise StepError(
            f"Could not {doing}: {error}; check the name, the region and the role's permissions."
        ) from None
