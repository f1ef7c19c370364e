"""The manifest of a dataset: which files it is made of, with size and SHA-256.

``manifest.json`` lies beside the files. In the account it is uploaded last and starts retraining;
*prepare* checks what it was given against it. The same folder gives the same bytes: there is no
time in it. ``dataset_sha256`` is the SHA-256 of what ``sha256sum`` prints for the files, sorted by
their path.

Leaves out: whether the rows make sense, which is the business of *prepare*.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pipeline.local.errors import PipelineError, UsageError
from pipeline.local.files import write_json

MANIFEST = "manifest.json"
FORMAT = 1
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What a dataset may be called: it is a folder's name in S3, and part of a schedule's."""
_DATA = frozenset({".jsonl", ".csv", ".parquet"})


def manifest_of(folder: Path, dataset: str | None = None) -> dict[str, Any]:
    """The manifest of the files below ``folder``, hidden ones left out.

    Args:
        folder: What ``slm import`` wrote, or any folder of .jsonl, .csv or .parquet files.
        dataset: Its name; else it is made of the folder's.

    Raises:
        UsageError: The folder is not one, holds no data, or its name is no dataset's.
        PipelineError: A file cannot be read.
    """
    name = dataset if dataset is not None else dataset_name(folder)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of a dataset: use 1 to 63 small letters, digits, - and _, "
            "as in clinc150."
        )
    entries = [_entry(path, relative) for relative, path in _files(folder)]
    if not any(Path(entry["path"]).suffix.lower() in _DATA for entry in entries):
        raise UsageError(f"{folder} holds no .jsonl, .csv or .parquet file: put at least one in.")
    total = hashlib.sha256()
    for entry in entries:
        total.update(f"{entry['sha256']}  {entry['path']}\n".encode())
    return {
        "format": FORMAT,
        "dataset": name,
        "files": entries,
        "dataset_sha256": total.hexdigest(),
    }


def write_manifest(folder: Path, dataset: str | None = None) -> Path:
    """Write ``manifest.json`` into ``folder``, in place of what was there; returns its path.

    Raises:
        UsageError: As :func:`manifest_of`.
        PipelineError: A file cannot be read or written.
    """
    path = folder / MANIFEST
    manifest = manifest_of(folder, dataset)
    try:
        write_json(path, manifest)
    except OSError as error:
        raise PipelineError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in ``folder`` as it stands; None if there is none.

    Raises:
        PipelineError: It is not a manifest.
    """
    path = folder / MANIFEST
    try:
        content: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path} cannot be read: {error}; import the dataset again.") from None
    known = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if known.get("format") != FORMAT or not isinstance(known.get("files"), list):
        raise PipelineError(
            f"{path} is not a manifest of format {FORMAT}: delete it or import the dataset again."
        )
    return known


def differences(recorded: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The paths that two manifests do not agree on, sorted."""
    first, second = (
        {str(entry.get("path")): entry.get("sha256") for entry in manifest["files"]}
        for manifest in (recorded, found)
    )
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))  # fmt: skip  # noqa: E501


def dataset_name(folder: Path) -> str:
    """The name of the dataset in ``folder``, where none is given: the folder's, made to fit."""
    return re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "data"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give one with .jsonl, .csv or .parquet files.")
    found = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    for name, path in found:
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not hidden and name != MANIFEST:
            yield name, path


def _entry(path: Path, name: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}.") from None
    return {"path": name, "bytes": size, "sha256": digest}
