"""A zip whose bytes depend on nothing but its files' names and contents.

Greengrass component versions are immutable: packing the same model twice has to give the same
bytes. Files are stored, not deflated, because deflate's output differs between builds of zlib; the
weights would hardly shrink anyway. What it leaves out: reading.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can name."""
_FILE_MODE = 0o100644 << 16
_UNIX = 3


def write_zip(path: Path, files: dict[str, bytes | Path]) -> None:
    """Write ``files`` (name in the zip to content, or to the file that has it) to ``path``."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, date_time=_EPOCH)
                info.create_system = _UNIX
                info.external_attr = _FILE_MODE
                content = files[name]
                data = content.read_bytes() if isinstance(content, Path) else content
                archive.writestr(info, data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
