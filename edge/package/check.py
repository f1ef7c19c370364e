"""Is this package good? Opened, its signature checked, its files compared, and unpacked.

::

    with open_package(path) as package:
        package.check_signature(keys)      # who made it
        package.check_machine()            # is it for this machine
        package.check_files()              # every byte is what was signed
        package.unpack(folder)             # the same, while writing

A package is good when a trusted key signed the exact bytes of its ``manifest.json``, every file in
it is named there with its hash and size, every file that is named for this machine is there (wheels
may be missing), nothing else is there, and its Python and architecture are this machine's. Nothing
is written before names, sizes and signature were checked, and nothing of it is run here.

It may be a zip, an unpacked folder, or the *package* step's output folder. What it leaves out:
whether a version may be installed (:mod:`edge.updates.install`).
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

from edge.package.archive import open_archive
from edge.package.errors import AlteredError, SignatureError, UnreadableError, UnsuitableError
from edge.package.folder import Folder
from edge.package.manifest import MANIFEST, SIGNATURE, Entry, Manifest, is_wheel
from edge.package.signature import Signer, TrustedKeys, read_signature

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
"""What some systems call them."""


class Source(Protocol):
    """A zip or a folder."""

    def sizes(self) -> dict[str, int]: ...

    def manifest(self) -> bytes: ...

    def chunks(self, name: str) -> Iterator[bytes]: ...


class Package:
    """A package that was opened; get it from :func:`open_package`."""

    def __init__(self, path: Path, source: Source, signature: Path) -> None:
        self.path = path
        self.signature = signature
        self._source = source

    @cached_property
    def _raw(self) -> bytes:
        # read once: what was signed is what is then believed
        return self._source.manifest()

    @cached_property
    def _signature_bytes(self) -> bytes | None:
        return read_signature(self.signature) if self.signature.is_file() else None

    @cached_property
    def manifest(self) -> Manifest:
        """What the package says of itself.

        Raises:
            ManifestError: It is not of the known format.
        """
        return Manifest.parse(self._raw)

    def check_signature(self, keys: TrustedKeys | None) -> Signer | None:
        """Find out who signed it, before anything but the manifest is read.

        Args:
            keys: ``None`` where the configuration allows unsigned packages and there are no keys.

        Returns:
            ``None`` for an unsigned package with ``keys`` of ``None``.

        Raises:
            SignatureError: There is no signature, or it is not of a trusted key.
        """
        if keys is None:
            return None
        if self._signature_bytes is None:
            raise SignatureError(
                f"{self.path} has no signature (looked for {self.signature}): sign it, or name "
                "the file with --signature."
            )
        return keys.check(self._raw, self._signature_bytes)

    def check_machine(self) -> None:
        """Compare its Python and architectures with this machine's.

        Raises:
            UnsuitableError: They differ.
        """
        manifest, machine = self.manifest, this_architecture()
        if machine not in manifest.architectures:
            raise UnsuitableError(
                f"{self.path} is for {' and '.join(manifest.architectures)}, and this machine is "
                f"{machine}: get the package for it."
            )
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        if manifest.python != python:
            raise UnsuitableError(
                f"{self.path} is for Python {manifest.python}, and this is Python {python}: "
                f"run the installer with Python {manifest.python}."
            )

    def check_names(self) -> dict[str, Entry]:
        """Compare names and sizes with the manifest, reading no file.

        Returns:
            The files that are there, and what each must be.

        Raises:
            AlteredError: One is missing, too many or of another size.
        """
        sizes = self._source.sizes()
        expected = self.manifest.expected(this_architecture())
        for name, size in sizes.items():
            entry = expected.get(name)
            if entry is None:
                raise AlteredError(
                    f"{ascii(name)[:80]} in {self.path} is not named in its {MANIFEST}: "
                    "get the package again."
                )
            if entry.size != size:
                raise AlteredError(
                    f"{name} in {self.path} has {size} bytes, not the {entry.size} that were "
                    "signed: get the package again."
                )
        for name in expected:
            if name not in sizes and not is_wheel(name):
                raise AlteredError(f"{name} is missing in {self.path}: get the package again.")
        return {name: expected[name] for name in sizes}

    def check_files(self) -> None:
        """Read every file and compare it with the manifest.

        Raises:
            AlteredError: One is not the one that was signed.
        """
        for name, entry in self.check_names().items():
            for _ in self._checked(name, entry):
                pass

    def unpack(self, folder: Path, *, wheels: bool = False) -> None:
        """Write its files below ``folder``, each compared with the manifest while it is written.

        Args:
            folder: Exists and is empty. Every file and folder in it is on the disk afterwards.
            wheels: The wheels instead of everything else.

        Raises:
            AlteredError: A file is not the one that was signed; what is written is then no good.
            OSError: The disk is full, or the like.
        """
        entries = {n: e for n, e in self.check_names().items() if is_wheel(n) == wheels}
        for name, entry in entries.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, self._checked(name, entry))
        if not wheels:
            _write(folder / MANIFEST, iter((self.manifest.raw,)))
            if self._signature_bytes is not None:
                _write(folder / SIGNATURE, iter((self._signature_bytes,)))
        for parent, _, _ in os.walk(folder):
            _sync_folder(parent)

    def _checked(self, name: str, entry: Entry) -> Iterator[bytes]:
        """A file's bytes; after the last one, the error if they are not what was signed."""
        digest, length = hashlib.sha256(), 0
        for chunk in self._source.chunks(name):
            length += len(chunk)
            if length > entry.size:
                break
            digest.update(chunk)
            yield chunk
        if length != entry.size or digest.hexdigest() != entry.sha256:
            raise AlteredError(
                f"{name} in {self.path} is not the file that was signed (its SHA-256 differs): "
                "get the package again."
            )


@contextmanager
def open_package(path: Path, signature: Path | None = None) -> Generator[Package]:
    """Open a package; ``signature`` names its signature where that does not lie beside it.

    Raises:
        UnreadableError: There is no package.
        UnsafeError: It has what no package has.
    """
    path = _archive_in(path)
    if path.is_dir():
        yield Package(path, Folder(path), signature or path / SIGNATURE)
    else:
        with open_archive(path) as archive:
            yield Package(path, archive, signature or path.parent / SIGNATURE)


def this_architecture() -> str:
    """This machine's, as manifests call it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine.lower(), machine)


def _archive_in(path: Path) -> Path:
    """The zip for this machine in the *package* step's output; any other path as it is."""
    if not path.is_dir() or (path / "edge").is_dir():
        return path
    found = sorted(path.glob(f"*-{this_architecture()}.zip"))
    if len(found) == 1:
        return found[0]
    if (path / MANIFEST).is_file() and not any(path.glob("*.zip")):
        return path
    raise UnreadableError(
        f"{path} has {len(found) or 'no'} packages for {this_architecture()}: "
        "name a zip or an unpacked package."
    )


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
