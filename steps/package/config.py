"""What *package* is told: its folders and its arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from steps.contract import StepError

_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,128}")
"""What CreateComponentVersion accepts as a component's name."""
_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()\-]+)*")
"""A bucket and plain key parts: the address goes into a recipe."""


@dataclass(frozen=True)
class PackagePaths:
    """Where the step reads and writes."""

    compiled: Path
    registration: Path
    output: Path
    """Where the *package* folder goes."""


@dataclass(frozen=True)
class PackageConfig:
    """The step's arguments.

    Raises:
        StepError: A value that Greengrass would not take.
    """

    component_name: str = "slm.edge.IntentModel"
    publisher: str = "slm-edge"
    artifact_prefix: str = "s3://slm-edge-deployments/components"
    """Where the zip will lie: the recipe names ``PREFIX/COMPONENT/VERSION/COMPONENT.zip``.
    Whoever deploys to another bucket rewrites it there."""

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
