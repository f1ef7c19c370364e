"""Builds small packages of format 2: with a stand-in for the worker, or with the real runtime.

The stand-in serves HTTP with the standard library alone and does what ``model/behaviour.json``
says: answers, never gets ready, crashes after a while. A package of it is some kilobytes, so that
thousands can be made, mutated and installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
STAND_IN = Path(__file__).resolve().parent / "stand_in"
"""The source of the stand-in worker's ``edge`` package."""
REPOSITORY = Path(__file__).resolve().parents[2]
COMPONENT = "slm.edge.IntentModel"
MACHINE = platform.machine()


def new_key(kind: str = "ed25519") -> PrivateKey:
    return Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(SECP256R1())


def trust(folder: Path, *keys: PrivateKey) -> Path:
    """A device's folder of trusted keys."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, key in enumerate(keys):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"key-{number}.pem").write_bytes(pem)
    return folder


def sign(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ECDSA(SHA256()))


@dataclass
class Draft:
    """A package before it is written; change anything, then :meth:`write` it."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    wheels: dict[str, bytes] = field(default_factory=dict)

    def manifest_bytes(self) -> bytes:
        return (json.dumps(self.manifest, indent=2, sort_keys=True) + "\n").encode()

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}

    def add(self, name: str, content: bytes, architecture: str | None = None) -> None:
        """Put a file in, and into the manifest."""
        self.files[name] = content
        self.manifest["files"][name] = self.entry(name, content)
        if architecture:
            self.manifest["files"][name]["architecture"] = architecture

    def write(self, folder: Path, key: PrivateKey | None) -> Path:
        """The package step's output folder: a zip for this machine and the signature beside it.

        Returns:
            The zip.
        """
        folder.mkdir(parents=True, exist_ok=True)
        raw = self.manifest_bytes()
        (folder / "manifest.json").write_bytes(raw)
        if key is not None:
            (folder / "manifest.sig").write_bytes(sign(key, raw))
        path = folder / f"{COMPONENT}-{MACHINE}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted({**self.files, "manifest.json": raw}.items()):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
        return path

    def write_folder(self, folder: Path, key: PrivateKey | None) -> Path:
        """The same, unpacked, as a nucleus leaves it."""
        raw = self.manifest_bytes()
        for name, content in {**self.files, "manifest.json": raw}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if key is not None:
            (folder / "manifest.sig").write_bytes(sign(key, raw))
        return folder


def draft(version: str = "1.0.1", *, behaviour: dict[str, Any] | None = None) -> Draft:
    """A package of the stand-in worker."""
    files = {
        f"edge/{path.relative_to(STAND_IN).as_posix()}": path.read_bytes()
        for path in STAND_IN.rglob("*.py")
    }
    files["model/model.onnx"] = hashlib.sha256(version.encode()).digest() * 64
    files["model/behaviour.json"] = json.dumps(behaviour or {}).encode()
    files["requirements.txt"] = b""
    return _draft(version, files)


def real_draft(version: str, compiled: Path) -> Draft:
    """A package of this repository's runtime with a compiled model."""
    names = ("model.onnx", "tokenizer.json", "intents.json", "compilation.json", "selftest.json")
    files = {
        f"edge/{path.relative_to(REPOSITORY / 'edge').as_posix()}": path.read_bytes()
        for path in (REPOSITORY / "edge").rglob("*.py")
    }
    for name in names:
        if (compiled / name).is_file():
            files[f"model/{name}"] = (compiled / name).read_bytes()
    files["requirements.txt"] = b""
    return _draft(version, files)


def _draft(version: str, files: dict[str, bytes]) -> Draft:
    made = Draft(
        {},
        {
            "format": 2,
            "component": COMPONENT,
            "version": version,
            "model_version": version.rpartition(".")[2],
            "python": ".".join(platform.python_version_tuple()[:2]),
            "architectures": ["aarch64", "x86_64"],
            "requires": {},
            "files": {},
        },
    )
    for name, content in files.items():
        made.add(name, content)
    return made


@dataclass
class Device:
    """A state root, its configuration and the key that it trusts."""

    home: Path
    key: PrivateKey
    trial_seconds: float = 0.5

    def __post_init__(self) -> None:
        trust(self.trusted, self.key)
        self.configure()

    @property
    def root(self) -> Path:
        return self.home / "state"

    @property
    def trusted(self) -> Path:
        return self.home / "trusted"

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    def configure(self, *, top: str = "", updates: str = "") -> None:
        self.config.write_text(
            f'{top}\nlisten = "unix:{self.home}/s"\n'
            "[limits]\ndrain_seconds = 2.0\n"
            f'[updates]\ntrusted_keys = "{self.trusted}"\n'
            f"trial_seconds = {self.trial_seconds}\n{updates}\n"
        )

    def package(self, version: str, **behaviour: Any) -> Path:
        """A signed zip of the stand-in."""
        return draft(version, behaviour=behaviour).write(
            self.home / f"package-{version}-{os.urandom(3).hex()}", self.key
        )

    def state(self) -> dict[str, Any]:
        return json.loads((self.root / "state.json").read_text())

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.root / "versions").iterdir())

    def wipe(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
