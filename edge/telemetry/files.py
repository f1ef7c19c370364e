"""What the spool asks of a file system: a file that is whole or not there, and locks.

What it leaves out: systems without ``flock``. A device runs Linux; elsewhere locks lock nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Generator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where only tests of other things run
    fcntl = None

PARTIAL = ".partial"


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds all of it, or what it held before, at any power cut.

    Raises:
        OSError: The disk is full or cannot be written; ``path`` is as before.
    """
    beside = path.with_name(path.name + PARTIAL)
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or removed in ``folder`` outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(data: bytes) -> bytes:
    """``data`` below a line with its checksum."""
    return b"%08x\n%s\n" % (zlib.crc32(data), data)


def unseal(sealed: bytes) -> bytes | None:
    """What was sealed, or None if a bit of it changed."""
    head, _, data = sealed.removesuffix(b"\n").partition(b"\n")
    return data if head == b"%08x" % zlib.crc32(data) and data else None


class Lock:
    """A lock on a file, which the kernel lets go of when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def take(self) -> bool:
        """Take the lock if nobody else holds it.

        Raises:
            OSError: The file cannot be made.
        """
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held, or a file system without locks
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def let_go(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def held(lock: Lock, patience: float = 5.0) -> Generator[None]:
    """Hold ``lock`` for a moment.

    Raises:
        OSError: Another process did not let go of it within ``patience`` seconds.
    """
    end = time.monotonic() + patience
    while not lock.take():
        if time.monotonic() > end:
            raise OSError("another process keeps the lock")
        time.sleep(0.01)
    try:
        yield
    finally:
        lock.let_go()
