"""Turns published datasets into a *raw* folder: ``utterances.jsonl`` with text, intent, split.

CLINC150 (``data_full.json`` and its siblings), BANKING77 (``train.csv``, ``test.csv``) and any
CSV file by the names of its columns. Published splits are kept; CLINC150's ``oos`` becomes the
reserved intent ``out_of_scope``. Rows are copied as they are: cleaning is the business of the
step *prepare*.

A regression set that lies in the folder already (``regression.jsonl``) stays, named in the new
manifest. Leaves out: downloading. The files have to be on this machine.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.datasets_manifest import MANIFEST, dataset_name, write_manifest
from pipeline.local.errors import PipelineError

OUT_OF_SCOPE = "out_of_scope"
FILE = "utterances.jsonl"
REGRESSION = "regression.jsonl"
"""What a model must go on doing, written by hand; importing the rows anew does not touch it."""
_MAX_FIELD = 16 * 2**20  # characters; the csv module refuses more than 128 Ki unless told
_CLINC_SPLITS = {"train": "train", "val": "validation", "test": "test"}


class DatasetError(PipelineError):
    """A dataset that is not what it should be."""


@dataclass(frozen=True)
class Imported:
    """What was written."""

    folder: Path
    rows: int
    intents: int
    out_of_scope: int


@dataclass(frozen=True)
class _Row:
    text: str
    intent: str
    split: str | None = None

    def to_json(self) -> str:
        row = {"text": self.text, "intent": self.intent}
        if self.split:
            row["split"] = self.split
        return json.dumps(row, ensure_ascii=False)


def import_clinc150(path: Path, out: Path) -> Imported:
    """Write CLINC150 from ``data_full.json`` (or a folder that holds it) to ``out``.

    Raises:
        DatasetError: It is missing or is not CLINC150.
    """
    file = path / "data_full.json" if path.is_dir() else path
    try:
        content: object = json.loads(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from None
    except ValueError as error:
        raise DatasetError(f"{file} is not JSON: {error}; CLINC150 is data_full.json.") from None
    if not isinstance(content, dict) or "train" not in content:
        raise DatasetError(f"{file} is not CLINC150: it has no split train.")
    return _write(_clinc150(file, cast("dict[str, Any]", content)), out)


def _clinc150(file: Path, content: dict[str, Any]) -> Iterator[_Row]:
    for name, rows in content.items():
        split = _CLINC_SPLITS.get(name.removeprefix("oos_"))
        if split is None or not isinstance(rows, list):
            raise DatasetError(f"{file} is not CLINC150: {name!r} is not one of its splits.")
        for number, row in enumerate(cast("list[Any]", rows)):
            match row:
                case [str(text), str(intent)]:
                    yield _Row(text, OUT_OF_SCOPE if intent == "oos" else intent, split)
                case _:
                    raise DatasetError(
                        f"{file} is not CLINC150: row {number} of {name} is not [text, intent]."
                    )


def import_banking77(path: Path, out: Path) -> Imported:
    """Write BANKING77 from a folder with ``train.csv`` and ``test.csv`` to ``out``.

    Raises:
        DatasetError: A file is missing or lacks a column.
    """

    def rows() -> Iterator[_Row]:
        for split in ("train", "test"):
            for text, intent in _columns(path / f"{split}.csv", ("text", "category")):
                yield _Row(text, intent, split)

    return _write(rows(), out)


def import_csv(path: Path, out: Path, *, text: str, intent: str) -> Imported:
    """Write any CSV file, whose columns ``text`` and ``intent`` are called so, to ``out``.

    Raises:
        DatasetError: The file is missing, is not CSV in UTF-8, or lacks a column.
    """
    return _write((_Row(*values) for values in _columns(path, (text, intent))), out)


def _columns(file: Path, names: tuple[str, str]) -> Iterator[tuple[str, str]]:
    try:
        with _wide_fields(), file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            found = list(reader.fieldnames or [])
            for name in names:
                if name not in found:
                    raise DatasetError(
                        f"{file} has no column {name!r}: it has {', '.join(found) or 'none'}."
                    )
            for row in reader:
                values = row[names[0]], row[names[1]]
                if None in values:
                    raise DatasetError(f"{file}, line {reader.line_num}: the row is too short.")
                yield values
    except OSError as error:
        raise _unreadable(file, error) from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 (byte {error.start}): convert it first.") from None
    except csv.Error as error:
        raise DatasetError(f"{file} is not CSV: {error}.") from None


@contextmanager
def _wide_fields() -> Generator[None]:
    before = csv.field_size_limit(_MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _write(rows: Iterable[_Row], out: Path) -> Imported:
    """Write beside ``out`` and rename, so that there is never half a dataset."""
    if out.exists() and not (out.is_dir() and _is_ours(out)):
        raise DatasetError(f"{out} holds something else: name another folder with --out.")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    count, outside, intents = 0, 0, set[str]()
    try:
        partial.mkdir(parents=True)
        with (partial / FILE).open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(row.to_json() + "\n")
                count += 1
                outside += row.intent == OUT_OF_SCOPE
                intents.add(row.intent)
        if not count:
            raise DatasetError("The dataset has no rows: there is nothing to import.")
        if (out / REGRESSION).is_file():
            shutil.copyfile(out / REGRESSION, partial / REGRESSION)
        write_manifest(partial, dataset_name(out))
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Imported(out, count, len(intents - {OUT_OF_SCOPE}), outside)


def _is_ours(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {FILE, MANIFEST, REGRESSION}


def _unreadable(file: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{file} cannot be read: {error.strerror}.")
