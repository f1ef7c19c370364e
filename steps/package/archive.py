"""A zip whose bytes depend on nothing but its files' names and contents.

Greengrass component versions are immutable: packing the same model twice has to give the same
bytes, whatever the clock, the user's mask, the locale or the order of a folder's files. Wheels are
stored, because they are deflated themselves; the rest is deflated, whose output is the same for one
build of zlib, which is why an image is what packs for a fleet. What it leaves out: reading.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can name."""
_FILE_MODE = 0o100644 << 16
_UNIX = 3
_LEVEL = 9


def write_zip(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write ``files`` (name in the zip to content, or to the file that has it) to ``path``."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, date_time=_EPOCH)
                info.create_system = _UNIX
                info.external_attr = _FILE_MODE
                stored = name.endswith(".whl")
                info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                content = files[name]
                data = content.read_bytes() if isinstance(content, Path) else content
                archive.writestr(info, data, compresslevel=None if stored else _LEVEL)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename, so that no reader sees half a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
