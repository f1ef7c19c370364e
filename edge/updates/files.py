"""Writes and removes files so that a power cut leaves the old or the new, and locks a root.

What it leaves out: what the files say. Only small modules of the standard library are imported.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from edge.updates.errors import BusyError, StateError


def write_json(path: Path, value: object) -> None:
    """Replace a file: whoever reads it finds the old content or the new, also after a power cut.

    Raises:
        OSError: The disk is full, or the like; the old content is still there.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def read_json(path: Path, limit: int = 1_000_000) -> dict[str, Any] | None:
    """A JSON object from a file; ``None`` if there is none that can be read."""
    try:
        with path.open("rb") as file:
            value: Any = json.loads(file.read(limit))
    except (OSError, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def sync_folder(path: Path) -> None:
    """See a rename or a removal in ``path`` onto the disk."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove_tree(path: Path) -> None:
    """Take a folder away, as far as that can be done; links in it are not followed."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            with suppress(OSError):
                (Path(folder) / name).unlink()
        for name in folders:
            # a link to a folder is taken away, not what it points to
            below = Path(folder) / name
            with suppress(OSError):
                below.unlink() if below.is_symlink() else below.rmdir()
    with suppress(OSError):
        path.rmdir()


@contextmanager
def locked(path: Path, refusal: str | None = None) -> Generator[None]:
    """Hold a lock that ends with the process, however that ends.

    Args:
        path: Made if it is not there; it stays.
        refusal: What to say if another process holds it; ``None`` to wait for it.

    Raises:
        BusyError: Another process holds it.
        StateError: The file cannot be made.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateError(
            f"{path} cannot be made: {error.strerror}; name a folder that can be written to."
        ) from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise BusyError(refusal or "") from None
        yield
    finally:
        os.close(number)
