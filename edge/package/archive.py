"""Reads a package's zip without believing it.

Before a member is looked at, the end of the file must be the plain record that ``zipfile`` will
use: no comment, no Zip64, nothing before the first member or between the directory and its record.
That bounds what ``zipfile`` holds in memory, and leaves it no second directory to find. Names are
compared, never joined to a path: a member that the manifest does not name is refused, whatever it
is called.

What it leaves out: writing anything. :mod:`edge.package.check` streams members where they belong.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge.package.errors import PackageError, UnreadableError, UnsafeError
from edge.package.manifest import FILES, MANIFEST, MANIFEST_BYTES

ARCHIVE_BYTES = 1_000_000_000
DIRECTORY_BYTES = 1_000_000
"""Of the zip's central directory: some 500 bytes for each file that a manifest may name."""
CHUNK = 1 << 18
_END = struct.Struct("<4s4H2LH")
_LOCATOR = b"PK\x06\x07"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    ValueError,
    struct.error,
)
"""What ``zipfile`` raises for bytes that are no zip."""


class Archive:
    """An open zip: its members by name, with their declared sizes."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """See :func:`open_archive`."""
        self._path = path
        self._zip = _open(path, file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            _check_member(path, info)
            if info.filename in self._members:
                raise UnsafeError(f"{path} has {_shown(info.filename)} twice: it is no package.")
            self._members[info.filename] = info

    def sizes(self) -> dict[str, int]:
        """Every member but the manifest, and its size in bytes as the zip declares it."""
        return {n: info.file_size for n, info in self._members.items() if n != MANIFEST}

    def manifest(self) -> bytes:
        """The bytes of ``manifest.json``."""
        info = self._members.get(MANIFEST)
        if info is None:
            raise UnreadableError(f"{self._path} has no {MANIFEST}: it is no package.")
        if info.file_size > MANIFEST_BYTES:
            raise UnsafeError(f"{MANIFEST} of {self._path} is larger than {MANIFEST_BYTES} bytes.")
        return b"".join(self.chunks(MANIFEST))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Stream one member, never more than its declared size.

        Raises:
            UnreadableError: Its bytes are damaged.
        """
        try:
            with self._zip.open(self._members[name]) as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except (*_DAMAGE, OSError) as error:
            raise UnreadableError(
                f"{_shown(name)} in {self._path} is damaged ({_reason(error)}): "
                "get the package again."
            ) from None


@contextmanager
def open_archive(path: Path) -> Generator[Archive]:
    """Open a zip for as long as it is needed.

    Raises:
        UnreadableError: It cannot be read or is not a zip.
        UnsafeError: A member is none that a package has.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableError(f"The package {path} cannot be read: {error.strerror}.") from None
    with file:
        yield Archive(path, file)


def _open(path: Path, file: BinaryIO) -> zipfile.ZipFile:
    try:
        _check_end(path, file)
        return zipfile.ZipFile(file)
    except PackageError:
        raise
    except (*_DAMAGE, OSError) as error:
        raise UnreadableError(
            f"{path} is not a zip that can be read ({_reason(error)}): get the package again."
        ) from None


def _check_end(path: Path, file: BinaryIO) -> None:
    length = file.seek(0, 2)
    if length > ARCHIVE_BYTES:
        raise UnsafeError(f"{path} is larger than {ARCHIVE_BYTES} bytes: it is no package.")
    if length < _END.size:
        raise ValueError("it is too short")
    file.seek(max(0, length - _END.size - 20))
    tail = file.read()
    magic, disk, first, here, members, size, offset, comment = _END.unpack(tail[-_END.size :])
    if magic != b"PK\x05\x06" or comment or disk or first or here != members:
        raise ValueError("it does not end as a package does")
    if members > FILES + 1 or size > DIRECTORY_BYTES:
        raise UnsafeError(f"{path} has more members than any package: it is not unpacked.")
    if tail.startswith(_LOCATOR) or offset + size != length - _END.size:
        raise ValueError("its directory does not lie where it must")


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    problem = None
    if info.filename != info.orig_filename:
        problem = "has a name with a NUL"
    elif info.is_dir() or kind not in (0, stat.S_IFREG):
        problem = "is a link, a folder or a device"
    elif info.flag_bits & 0x1:
        problem = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = "is compressed in a way that no package uses"
    if problem:
        raise UnsafeError(f"{_shown(info.orig_filename)} in {path} {problem}: it is no package.")


def _shown(name: str) -> str:
    return ascii(name)[:80]


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:120]
