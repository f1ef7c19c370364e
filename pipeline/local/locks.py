"""A lock on a file that the operating system releases when its last holder is gone."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Lock:
    """An exclusive lock; processes that inherit ``descriptor`` hold it too."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path, shared: bool = False) -> Lock:
        """Take the lock at once; several may hold it when all of them share it.

        Raises:
            BlockingIOError: Another process holds it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, shared)
        except OSError:
            os.close(descriptor)
            raise BlockingIOError(str(path)) from None
        return cls(descriptor)

    @classmethod
    def is_held(cls, path: Path) -> bool:
        """Whether some process holds the lock."""
        if not path.exists():
            return False
        try:
            cls.acquire(path, shared=True).release()
        except BlockingIOError:
            return True
        return False

    def release(self) -> None:
        """Give up this process's hold."""
        os.close(self.descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, shared: bool) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
