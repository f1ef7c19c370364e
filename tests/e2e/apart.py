"""Python programs of the tests beside the test: the emulator, and devices by the dozen.

They run without measuring coverage: what is theirs is measured elsewhere, and fifty short-lived
measurements would cost more than the story that they are part of.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def unmeasured(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment (this one without credentials) less coverage's part, for one thread."""
    if environment is None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    own = {k: v for k, v in environment.items() if not k.startswith("COV")}
    return {**own, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


@contextmanager
def alive(
    module: str, folders: Iterable[Path], address: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A device for every folder, ``python -m MODULE FOLDER ADDRESS``, until the context ends."""
    command = [sys.executable, "-m", module]
    processes = [
        subprocess.Popen([*command, str(folder), address], cwd=folder.parent, env=unmeasured())
        for folder in folders
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)
