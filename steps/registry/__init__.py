"""The model registry as *evaluate*, *register* and *compile* see it.

Two registries stand behind one interface: MLflow's, in a SQLite file on a laptop, and SageMaker's,
in an account or behind any endpoint that speaks its protocol. The variable ``SLM_REGISTRY`` says
which (``sagemaker`` unless told otherwise); nothing else in a step knows which one it has.

What it leaves out: approving a version. A person or the promotion pipeline does that, in MLflow's
or SageMaker's own interface.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

from steps.contract import StepError

REGISTRY_VARIABLE = "SLM_REGISTRY"

ApprovalStatus = Literal["PendingManualApproval", "Approved", "Rejected"]
APPROVAL_STATUSES: tuple[str, ...] = get_args(ApprovalStatus)
"""SageMaker's own words, used in both registries."""

_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
"""What CreateModelPackageGroup accepts, so that a name that works locally works in an account."""


@dataclass(frozen=True)
class ModelPackage:
    """One registered version of a model."""

    name: str
    """MLflow's ``models:/GROUP/VERSION`` or SageMaker's ARN; what :meth:`Registry.reject` takes."""
    version: int
    status: str
    metrics: dict[str, float]
    created: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class RegistryEntry:
    """A model to register, with everything that a person asks about it later."""

    model: Path
    """The packed model, ``model.tar.gz``."""
    model_sha256: str
    execution_id: str
    """Together with ``model_sha256`` it makes the registration idempotent: the same model from
    the same execution is one version, however often the step is started."""
    status: str = "PendingManualApproval"
    description: str = ""
    files: tuple[Path, ...] = ()
    """Kept beside the model: ``evaluation.json``, ``report.html``, ``training.json``."""
    metrics: dict[str, float] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    """Data hash, commit, parameters and lineage, as short text."""
    model_data_url: str = ""
    """Where the model lies, or shall lie, in S3. SageMaker's registry needs it."""
    evaluation_url: str = ""
    """Where ``evaluation.json`` lies in S3 already; empty to put it beside the model."""
    image: str = ""
    """The image that can load the model."""

    @property
    def key(self) -> str:
        """32 hexadecimal digits that name this registration."""
        return hashlib.sha256(f"{self.execution_id}/{self.model_sha256}".encode()).hexdigest()[:32]


class Registry(Protocol):
    """A group of model versions."""

    kind: str
    """``mlflow`` or ``sagemaker``."""

    def champion(self) -> ModelPackage | None:
        """The newest approved version, or None when nothing is approved yet."""
        ...

    def register(self, entry: RegistryEntry) -> ModelPackage:
        """Add a version, or return the one that this entry has made before."""
        ...

    def reject(self, name: str, reason: str) -> None:
        """Mark a version as rejected and keep the reason with it."""
        ...

    def note(self, name: str, properties: dict[str, str]) -> None:
        """Add properties to a version, as short text; others stay as they are."""
        ...

    def download(self, package: ModelPackage, folder: Path) -> Path:
        """Leave the version's ``model.tar.gz`` in ``folder``, checked against its recorded hash.

        Returns:
            ``folder``.
        """
        ...


def open_registry(group: str) -> Registry:
    """The registry that the environment names, opened on one model package group.

    Raises:
        StepError: The group's name or the environment is not acceptable.
    """
    if not _GROUP.fullmatch(group) or len(group) > 63:
        raise StepError(
            f"The model package group {group!r} is not a name that a registry accepts: "
            "use 1 to 63 letters, digits and single hyphens between them."
        )
    kind = os.environ.get(REGISTRY_VARIABLE, "sagemaker")
    if kind == "mlflow":
        from steps.registry.mlflow_registry import MlflowRegistry

        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            raise StepError(
                f"{REGISTRY_VARIABLE} is mlflow but MLFLOW_TRACKING_URI is not set: "
                "set it to a SQLite file, for example sqlite:///mlflow.db."
            )
        return MlflowRegistry(group, uri)
    if kind == "sagemaker":
        from steps.registry.sagemaker_registry import SageMakerRegistry

        return SageMakerRegistry(group)
    raise StepError(
        f"{REGISTRY_VARIABLE} is {kind!r}, which is not a registry: set it to mlflow or sagemaker."
    )


def check_status(status: str) -> None:
    """Refuse an approval status that SageMaker does not know."""
    if status not in APPROVAL_STATUSES:
        raise StepError(
            f"{status!r} is not an approval status: use {', '.join(APPROVAL_STATUSES)}."
        )


def check_download(archive: Path, expected: str | None, name: str) -> None:
    """Delete and refuse an archive whose SHA-256 is not the one recorded at registration.

    ``expected`` is None for a version that somebody else registered without a hash.
    """
    if expected is None:
        return
    found = sha256_of(archive)
    if found != expected:
        archive.unlink()
        raise StepError(
            f"The model of {name} was changed after it was registered (SHA-256 {found[:12]}…, "
            f"registered as {expected[:12]}…): restore it or reject this version."
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
