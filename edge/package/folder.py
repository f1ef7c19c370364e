"""Reads a package that lies unpacked in a folder: from a nucleus, or as an installed version.

Links are not followed, and nothing but plain files is opened. Byte code that an interpreter left
(``__pycache__``) is not looked at: it is neither copied nor, in an installed version, ever read
(see :mod:`edge.updates.launch`).

What it leaves out: writing, and the zip (:mod:`edge.package.archive`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.package.errors import UnreadableError, UnsafeError
from edge.package.manifest import FILES, INSTALLED, MANIFEST, MANIFEST_BYTES, SIGNATURE

CHUNK = 1 << 18
BYTE_CODE = "__pycache__"
_NOT_ITS_OWN = frozenset((MANIFEST, SIGNATURE, INSTALLED, f".{INSTALLED}.new"))
"""The last is what a power cut leaves of the installer's note while it is replaced."""
_DEPTH = 16


class Folder:
    """An unpacked package: its files by name, with their sizes."""

    def __init__(self, path: Path) -> None:
        """List the folder.

        Raises:
            UnreadableError: It cannot be listed.
            UnsafeError: Something in it is neither a file nor a folder, or there is too much.
        """
        self._path = path
        self._sizes: dict[str, int] = {}
        self._list(path, "", 0)

    def sizes(self) -> dict[str, int]:
        """Every file but the manifest and what belongs to it, and its size in bytes."""
        return dict(self._sizes)

    def manifest(self) -> bytes:
        """The bytes of ``manifest.json``, as many as a manifest may have and one more."""
        found = b""
        for chunk in self.chunks(MANIFEST):
            found += chunk
            if len(found) > MANIFEST_BYTES:
                break
        return found

    def chunks(self, name: str) -> Iterator[bytes]:
        """Stream one file.

        Raises:
            UnreadableError: It cannot be read, or became a link since it was listed.
        """
        path = self._path / name
        try:
            # O_NONBLOCK: a pipe that took a file's place is not waited for
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(number, "rb") as stream:
                if not stat.S_ISREG(os.fstat(number).st_mode):
                    raise UnsafeError(f"{path} is not a file: it is no package's.")
                while chunk := stream.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read: {error.strerror}.") from None

    def _list(self, folder: Path, prefix: str, depth: int) -> None:
        try:
            with os.scandir(folder) as items:
                found = list(items)
        except OSError as error:
            raise UnreadableError(f"{folder} cannot be read: {error.strerror}.") from None
        for item in found:
            name = f"{prefix}{item.name}"
            if item.is_dir(follow_symlinks=False):
                if item.name == BYTE_CODE:
                    continue
                if depth == _DEPTH:
                    raise UnsafeError(f"{folder} is deeper than any package: it is none.")
                self._list(Path(item.path), f"{name}/", depth + 1)
            elif not item.is_file(follow_symlinks=False):
                raise UnsafeError(f"{item.path!a} is neither a file nor a folder.")
            elif name not in _NOT_ITS_OWN:
                self._sizes[name] = item.stat(follow_symlinks=False).st_size
        if len(self._sizes) > FILES:
            raise UnsafeError(f"{self._path} has more than {FILES} files: it is no package.")
