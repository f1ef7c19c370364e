"""The nucleus that carries a recipe out, and what tests of components need beside it.

The nucleus itself is the project's (pipeline/cloud/delivery/nucleus.py), because delivery carries
the lifecycle of every package out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.cloud.delivery.nucleus import Nucleus, NucleusError, Result, search_path

__all__ = ["Nucleus", "NucleusError", "Result", "borrow_environment", "search_path", "wait_for"]


def borrow_environment(work: Path, name: str, packages: Path | None = None) -> None:
    """Put a finished environment where the install script would make one, in no time.

    Args:
        work: The component's work folder.
        name: Of the environment, see ``steps.package.recipe.environment_name``.
        packages: A virtual environment to link; None for this interpreter's own.
    """
    work.mkdir(parents=True, exist_ok=True)
    if packages is not None:
        (work / name).symlink_to(packages, target_is_directory=True)
        return
    python = work / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    # a script, because a link would not find the packages of the environment that it points to
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (work / name / ".complete").touch()


def wait_for(check: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)
