"""What *register* is told: its folders and its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RegisterPaths:
    """Where the step reads and writes."""

    model: Path
    """A folder with ``model.tar.gz``, or a model folder (steps/register/model_folder.py)."""
    evaluation: Path | None = None
    """What *evaluate* wrote; None for a model that nobody has measured here."""
    prepared: Path | None = None
    """What *prepare* wrote; None for a model that was trained on other data."""
    output: Path | None = None
    """Where ``registration.json`` goes; None to write none."""
    job: Path | None = None
    """SageMaker's ``processingjobconfig.json``, read for lineage if it is there."""


@dataclass(frozen=True)
class RegisterConfig:
    """The step's arguments."""

    model_package_group: str = "slm-edge-intents"
    """The group, made if it is missing."""
    approval_status: str = "PendingManualApproval"
    """Of the new version: PendingManualApproval, Approved or Rejected."""
    model_data_url: str = ""
    """Where the model lies in S3, or is put if it is not there; SageMaker's registry needs it."""
    execution_id: str = ""
    """The pipeline execution; found out from the environment or the job's name when empty."""
    image: str = ""
    """The image that can load the model; this job's own when empty."""
    pooling: str = ""
    """``mean`` or ``last``, of a model from elsewhere whose folder does not say it."""
