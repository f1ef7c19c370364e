"""Where ``s3://bucket/key`` is: a folder under the home, with the same rules as S3.

An address names either one object or everything below it. Whatever is published appears whole:
it is written (or moved) beside its place and renamed into it. Objects of a prefix that exists
already are replaced one by one, as S3 does. A job works on copies, made by reference where the
file system can (FICLONE), so that it can never alter what is stored; hard links could not
promise that. S3 itself, or an emulator of it, is in ``s3.py``.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from pipeline.local.errors import StorageError
from pipeline.local.fingerprints import FileHashes

_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?", re.S)
_FICLONE = 0x40049409
"""ioctl of Linux that makes a copy share its blocks with the original until one is written."""
_INCOMING = ".incoming"

Manifest = dict[str, dict[str, str]]
"""What is stored at an address: for every file its relative name and what identifies it."""
Pulse = Callable[[], None]
"""Called between files; raises to give up a long transfer."""


@dataclass(frozen=True)
class Address:
    """A bucket and a key without empty parts; an empty key is the whole bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def parse_address(uri: str) -> Address:
    """Read ``s3://bucket/key``.

    Raises:
        StorageError: It is not an address, or its key would leave the bucket.
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        raise StorageError(f"{uri!r} is not an address: write s3://bucket/key.")
    parts = [part for part in (match["key"] or "").split("/") if part]
    if any(part in {".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise StorageError(f"{uri!r} is not accepted: a key has no '.' or '..' parts.")
    return Address(match["bucket"], "/".join(parts))


class Mirror(Protocol):
    """Keeps a folder of checkpoints in step with a store that is no folder."""

    def restore(self, pulse: Pulse) -> None: ...
    def store(self) -> None: ...


class Storage(Protocol):
    """What the runner needs of a store; see FolderStorage for the meaning of each."""

    def fetch(self, uri: str, folder: Path, pulse: Pulse) -> None: ...
    def publish_folder(self, folder: Path, uri: str, kms_key: str | None, pulse: Pulse) -> None: ...
    def publish_file(self, file: Path, uri: str, kms_key: str | None) -> None: ...
    def read(self, uri: str) -> bytes: ...
    def manifest(self, uri: str, pulse: Pulse) -> Manifest: ...
    def unchanged(self, uri: str, recorded: Mapping[str, Mapping[str, str]]) -> bool: ...
    def shared_folder(self, uri: str) -> Path | None: ...
    def mirror(self, folder: Path, uri: str, kms_key: str | None) -> Mirror | None: ...


class FolderStorage:
    """Addresses as files below ``home/s3``."""

    def __init__(self, home: Path, hashes: FileHashes) -> None:
        self._root = home / "s3"
        self._hashes = hashes

    def path(self, uri: str) -> Path:
        """The file or folder of an address, whether or not anything is there."""
        address = parse_address(uri)
        return self._root / address.bucket / address.key

    def fetch(self, uri: str, folder: Path, pulse: Pulse) -> None:
        """Copy the object, or everything below the address, into ``folder``.

        Raises:
            StorageError: Nothing is stored there, or the disk is full.
        """
        source = self._existing(uri)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, file in _files(source):
                pulse()
                copy_file(file, folder / name)

    def publish_folder(self, folder: Path, uri: str, kms_key: str | None, pulse: Pulse) -> None:
        """Move the content of ``folder`` to the address; at once where nothing is there yet.

        ``folder`` has to lie on the same disk as the store, as everything of a home does.
        """
        target = self.path(uri)
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace_links(folder)
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return
            for name, file in _files(folder):
                pulse()
                destination = target / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                file.replace(destination)
            shutil.rmtree(folder)

    def publish_file(self, file: Path, uri: str, kms_key: str | None) -> None:
        """Move one file to the address."""
        target = self.path(uri)
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def upload(self, source: Path, uri: str) -> None:
        """Put a copy of a user's file or folder at the address, in place of what was there."""
        target = self.path(uri)
        incoming = self._root / _INCOMING / uuid.uuid4().hex
        new = incoming / "new" if source.is_dir() else incoming / "new" / source.name
        try:
            with disk_errors(target):
                (incoming / "new").mkdir(parents=True)
                for name, file in _files(source):
                    copy_file(file, incoming / "new" / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                if self._same(new, target):
                    return  # another run reads it, perhaps at this moment
                if target.exists():
                    target.rename(incoming / "old")
                new.rename(target)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _same(self, one: Path, other: Path) -> bool:
        if not other.exists() or one.is_dir() != other.is_dir():
            return False
        first, second = dict(_files(one)), dict(_files(other))
        return first.keys() == second.keys() and all(
            self._hashes.sha256(file) == self._hashes.sha256(second[name])
            for name, file in first.items()
        )

    def read(self, uri: str) -> bytes:
        """The content of one object."""
        path = self._existing(uri)
        if path.is_dir():
            raise StorageError(f"{uri} is a folder, and one object is needed: {path}.")
        return path.read_bytes()

    def manifest(self, uri: str, pulse: Pulse) -> Manifest:
        """Size, time of change and SHA-256 of everything at the address.

        Raises:
            StorageError: Nothing is stored there.
        """
        entries: Manifest = {}
        for name, file in _files(self._existing(uri)):
            pulse()
            entries[name] = {"sha256": self._hashes.sha256(file), **_stamp(file)}
        return entries

    def unchanged(self, uri: str, recorded: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether what is stored is what a manifest recorded; reads only files that look new."""
        path = self.path(uri)
        files = dict(_files(path)) if path.exists() else {}
        if not path.exists() or files.keys() != recorded.keys():
            return False
        for name, file in files.items():
            stamp = _stamp(file)
            if any(recorded[name].get(key) != value for key, value in stamp.items()) and (
                self._hashes.sha256(file) != recorded[name].get("sha256")
            ):
                return False
        return True

    def shared_folder(self, uri: str) -> Path | None:
        """A folder that is itself the stored one: what is written there is stored at once."""
        path = self.path(uri)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def mirror(self, folder: Path, uri: str, kms_key: str | None) -> Mirror | None:
        """None: the shared folder needs no mirror."""
        return None

    def _existing(self, uri: str) -> Path:
        path = self.path(uri)
        if not path.exists():
            raise StorageError(f"Nothing is stored at {uri}: {path} does not exist.")
        return path


def read_identity(manifest: Manifest) -> dict[str, str]:
    """What a manifest says about content alone: the part that belongs into a cache key."""
    return {name: entry.get("sha256") or entry["etag"] for name, entry in manifest.items()}


def copy_file(source: Path, target: Path) -> None:
    """Copy content and time of change, sharing blocks where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _clone(source, target):
        shutil.copyfile(source, target)
    status = source.stat()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _clone(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:  # ext4, another disk, an old kernel: an ordinary copy will do
            return False
    return True


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turn a failing disk into one sentence that names the file, or else ``path``."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"The disk is full while writing {where}: free some space, then resume."
            ) from None
        raise StorageError(f"{where} cannot be read or written: {error.strerror}.") from None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file at or below ``path`` with its name relative to it, in a fixed order."""
    if not path.is_dir():
        yield path.name, path
        return
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in linked + sorted(names):
            file = Path(folder) / name
            if not file.is_file():
                raise StorageError(f"{file} is not a plain file and cannot be stored: remove it.")
            yield file.relative_to(path).as_posix(), file


def _replace_links(folder: Path) -> None:
    """Put the content in place of links to files: what they point at may be gone tomorrow."""
    for _, file in _files(folder):
        if file.is_symlink():
            content = file.resolve()
            file.unlink()
            copy_file(content, file)


def _raise(error: OSError) -> NoReturn:
    raise error


def _stamp(file: Path) -> dict[str, str]:
    status = file.stat()
    return {"size": str(status.st_size), "changed": str(status.st_mtime_ns)}
