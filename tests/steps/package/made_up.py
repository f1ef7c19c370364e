"""Made-up wheels: the names and versions of ``edge/requirements.txt`` with a few bytes each."""

from __future__ import annotations

import hashlib
from pathlib import Path

from steps.package.config import requirements_file
from steps.package.requirements import Pin, read_pins

ARCHITECTURES = ("x86_64", "aarch64")


def write_wheels(folder: Path) -> Path:
    """A wheel of every distribution for each architecture, and ``requirements.txt`` of them."""
    lines = "".join(_write(folder, pin) for pin in read_pins(requirements_file()))
    (folder / "requirements.txt").write_text(f"# made up\n{lines}")
    return folder


def _write(folder: Path, pin: Pin) -> str:
    pure = len(pin.hashes) == 1
    hashes: list[str] = []
    for architecture in ARCHITECTURES:
        tag = "py3-none-any" if pure else f"cp311-cp311-manylinux_2_28_{architecture}"
        content = f"{pin.name} {tag}".encode() * 100
        path = folder / architecture / f"{pin.name}-{pin.version}-{tag}.whl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        hashes.append(hashlib.sha256(content).hexdigest())
    return Pin(pin.name, pin.version, frozenset(hashes)).line
