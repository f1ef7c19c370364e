"""A dataset's ``manifest.json``: what a snapshot of raw data consists of.

It is uploaded last, so a folder whose manifest agrees with its files is complete; only the files
that it lists are read. A folder without one is read whole. Leaves out: writing it
(``slm import`` and ``slm upload`` do).
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from steps.contract import StepError, read_json

NAME = "manifest.json"


def listed_files(folder: Path, *, only: str | None = None) -> list[Path] | None:
    """The files that the manifest in ``folder`` lists, each with the size and hash it states.

    Args:
        folder: A dataset.
        only: Look for this one path alone.

    Returns:
        None where there is no manifest.

    Raises:
        StepError: The manifest is not one, or a file is missing, changed or not in the folder.
    """
    if not (folder / NAME).is_file():
        return None
    content = read_json(folder / NAME, "a dataset's manifest")
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, list) or not files or content.get("format") != 1:
        raise StepError(
            f"{NAME} in the raw data is not a dataset's manifest (format 1, with files): "
            "write it with slm import or slm upload, or remove it."
        )
    if only is not None:
        files = [e for e in files if isinstance(e, dict) and e.get("path") == only]
    return [_checked(folder, entry) for entry in files]


def _checked(folder: Path, entry: Any) -> Path:
    match entry:
        case {"path": str(name), "bytes": int(size), "sha256": str(digest)} if name:
            pass
        case _:
            raise StepError(
                f"{NAME} in the raw data has an entry without path, bytes and sha256: {entry!r}; "
                "write it with slm import or slm upload."
            )
    path = PurePosixPath(name)
    if "://" in name or path.is_absolute() or ".." in path.parts:
        raise StepError(
            f"{NAME} names {name}, which is not in the dataset's own folder: "
            "copy the file there and name it by its path in the folder."
        )
    file = folder / path
    if not file.is_file():
        raise StepError(f"{NAME} names {name}, which is missing: upload it, then the manifest.")
    if file.stat().st_size != size or _sha256(file) != digest:
        raise StepError(
            f"{name} is not the file that {NAME} describes (its size or SHA-256 differs): "
            "upload it again, then the manifest."
        )
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
