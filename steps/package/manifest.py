"""What the component is made of, and the manifest that names every file of it.

One manifest serves both zips: a wheel names its architecture, and each zip has its own only. What
it leaves out: the signature, which is made over the manifest's bytes and lies beside the zip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.package.config import PYTHON
from steps.package.recipe import ARCHITECTURES
from steps.package.requirements import Pin

FORMAT = 2
MANIFEST = "manifest.json"
Content = bytes | Path
"""What a file holds, or the file that has it."""


@dataclass(frozen=True)
class Component:
    """A component before it is packed."""

    name: str
    version: str
    model_version: str
    pins: tuple[Pin, ...]
    files: Mapping[str, Content]
    """What every zip has, by its path in it."""
    wheels: Mapping[str, Mapping[str, Content]]
    """What the zip of an architecture has beside that; empty where pip is to use its index."""

    def manifest(self) -> bytes:
        """The bytes of ``manifest.json``."""
        files = {path: describe(content) for path, content in self.files.items()}
        for architecture, wheels in self.wheels.items():
            for path, content in wheels.items():
                files[path] = {**describe(content), "architecture": architecture}
        document = {
            "format": FORMAT,
            "component": self.name,
            "version": self.version,
            "model_version": self.model_version,
            "python": PYTHON,
            "architectures": sorted(ARCHITECTURES),
            "requires": {pin.name: pin.version for pin in self.pins},
            "files": files,
        }
        return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()

    def contents(self, architecture: str) -> dict[str, Content]:
        """Every file of the zip of an architecture."""
        own = self.wheels.get(architecture, {})
        return {**self.files, **own, MANIFEST: self.manifest()}


def describe(content: Content) -> dict[str, Any]:
    """SHA-256 and size in bytes."""
    if isinstance(content, bytes):
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": content.stat().st_size}
