"""What *package* is told: its folders and its arguments."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from steps.contract import StepError

PYTHON = "3.11"
"""The Python that the component's wheels are made for."""
WHEELS_VARIABLE = "SLM_WHEELS"
NO_WHEELS = "none"
"""The variable's value for a component that carries none."""
_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,128}")
"""What CreateComponentVersion accepts as a component's name."""
_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()\-]+)*")
"""A bucket and plain key parts: the address goes into a recipe."""


def requirements_file() -> Path:
    """What the device installs; it lies with the code that needs it."""
    import edge

    return Path(edge.__file__).with_name("requirements.txt")


def wheels_folder() -> Path:
    """Where wheels lie: the variable says it (``none``: nowhere), else the checkout has a place.

    Raises:
        StepError: The variable names no folder.
    """
    told = os.environ.get(WHEELS_VARIABLE, "")
    if told and told != NO_WHEELS and not Path(told).is_dir():
        raise StepError(
            f"{WHEELS_VARIABLE} names {told}, which is no folder: run "
            f"python -m steps.package.wheels {told}, or leave the variable out."
        )
    return Path(told) if told else Path(__file__).resolve().parents[2] / "build" / "wheels"


@dataclass(frozen=True)
class PackagePaths:
    """Where the step reads and writes."""

    compiled: Path
    registration: Path
    output: Path
    """Where the *package* folder goes."""
    wheels: Path
    """May be absent: then the component has none."""
    requirements: Path


@dataclass(frozen=True)
class PackageConfig:
    """The step's arguments.

    Raises:
        StepError: A value that Greengrass would not take.
    """

    component_name: str = "slm.edge.IntentModel"
    publisher: str = "slm-edge"
    artifact_prefix: str = "s3://slm-edge-deployments/components"
    """Where the artifacts will lie: the recipe names ``PREFIX/COMPONENT/VERSION/FILE``. Whoever
    deploys to another bucket rewrites it there."""
    signing_key: str = field(default="", repr=False)
    """See :mod:`steps.package.signing`; empty for a component that is not signed."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.component_name):
            raise StepError(
                f"The component name {self.component_name!r} is not one that Greengrass accepts: "
                "use 1 to 128 letters, digits, dots, hyphens and underscores."
            )
        if not self.publisher.strip():
            raise StepError("The publisher is empty: give the name of who publishes the component.")
        if not _PREFIX.fullmatch(self.artifact_prefix):
            raise StepError(
                f"The artifact prefix {self.artifact_prefix!r} is not s3://BUCKET/PREFIX."
            )
