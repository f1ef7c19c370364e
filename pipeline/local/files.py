"""Small files that are always whole: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write ``text`` so that a reader, or a crash, sees the old content or the new."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON; see :func:`write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
