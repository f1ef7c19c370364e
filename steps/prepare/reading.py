"""Reads rows from JSON Lines, CSV and Parquet, one at a time.

A file that is wholly wrong ends the job with a sentence; a row that is wrong is handed on with
its problem, so that it can go to quarantine. Blank lines are no rows. It leaves out any judgement
of what a text says (:mod:`steps.prepare.cleaning`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from steps.contract import StepError
from steps.prepare import manifest
from steps.prepare.cleaning import UNDECODABLE, decodable
from steps.regression.cases import NAME as REGRESSION

REQUIRED_COLUMNS = ("text", "intent")
OPTIONAL_COLUMNS = ("split", "locale")
COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS

MALFORMED = "malformed"
MISSING_COLUMN = "missing_column"

_MAX_LINE = 16 * 2**20
"""Bytes (CSV: characters) in a line; nobody's utterances need more, and memory stays bounded."""
_BATCH = 8192  # rows read from Parquet at a time
_NOT_DATA = {"readme", "readme.md", "license", "license.md", "license.txt", "manifest.json"}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One row as it stands in its file; ``line`` counts from 1 (in Parquet: the row)."""

    line: int
    text: str | None
    intent: str | None = None
    split: str | None = None
    locale: str | None = None
    problem: str | None = None
    """Why it cannot be used as it stands: malformed, missing_column or undecodable."""


def find_files(folder: Path) -> list[Path]:
    """The data files below ``folder``, sorted by their path in it.

    Where the folder has a manifest, the files that it lists. The regression set is none of them.

    Raises:
        StepError: There is none, or there is one that cannot be data.
    """
    if not folder.is_dir():
        raise StepError(
            f"There is no raw data: {folder} does not exist; point InputData at a folder "
            "of .jsonl, .csv or .parquet files."
        )
    candidates = manifest.listed_files(folder) or folder.rglob("*")
    inside = sorted((path.relative_to(folder).as_posix(), path) for path in candidates)
    files: list[Path] = []
    for name, path in inside:
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_dir() or hidden or path.name.lower() in _NOT_DATA:
            continue
        if name == REGRESSION:
            continue
        if path.name.lower() == REGRESSION:
            raise StepError(
                f"{name} in the raw data is not at the top of the folder, called {REGRESSION}, "
                "where a regression set belongs: move it there, or give it another name."
            )
        if path.suffix.lower() not in _READERS:
            raise StepError(
                f"{name} in the raw data is neither .jsonl, .csv nor .parquet: "
                "convert it, or move it out of the folder."
            )
        files.append(path)
    if not files:
        raise StepError(
            f"There is no raw data: {folder} holds no .jsonl, .csv or .parquet file; "
            "put at least one there."
        )
    return files


def read_rows(path: Path, name: str) -> Iterator[Row]:
    """Every row of one file, in order; ``name`` is what messages call the file.

    Raises:
        StepError: The file is not what its name says, lacks a column, or no row is readable.
    """
    rows = unreadable = 0
    first: Row | None = None
    for row in _READERS[path.suffix.lower()](path, name):
        rows += 1
        if row.problem is not None:
            unreadable += 1
            first = first or row
        yield row
    if first is not None and unreadable == rows:
        raise StepError(_wholly_wrong(path, name, rows, first))


def _wholly_wrong(path: Path, name: str, rows: int, first: Row) -> str:
    shown = f"line {first.line} reads {(first.text or '')[:60]!r}"
    counted = f"none of its {rows:,} rows" if rows > 1 else "its only row"
    if first.problem == MISSING_COLUMN:
        return (
            f"{name} has no column 'text' or no column 'intent': {counted} has both ({shown}); "
            "rename its columns."
        )
    kind = {".jsonl": "JSON Lines", ".csv": "CSV", ".parquet": "Parquet"}[path.suffix.lower()]
    return (
        f"{name} is not what its name says: {counted} can be read as {kind} in UTF-8 ({shown}); "
        "convert the file."
    )


def _read_jsonl(path: Path, name: str) -> Iterator[Row]:
    with path.open("rb") as file:
        _refuse_utf16(file, name)
        for number, line in enumerate(_bytes_lines(file, name), start=1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                shown = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                yield Row(number, shown, problem=UNDECODABLE)
                continue
            if not text.strip():
                continue
            yield _from_json(number, text)


def _from_json(number: int, line: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Row(number, line.rstrip("\r\n"), problem=MALFORMED)
    if not isinstance(value, dict):
        return Row(number, line.rstrip("\r\n"), problem=MALFORMED)
    if "text" not in value or "intent" not in value:
        return Row(number, line.rstrip("\r\n"), problem=MISSING_COLUMN)
    text, intent, split, locale = map(value.get, COLUMNS)
    for cell in (text, intent, split, locale):
        if cell is not None and not isinstance(cell, str):
            return Row(number, line.rstrip("\r\n"), problem=MALFORMED)
    return Row(number, text, intent, split, locale)


def _bytes_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            raise StepError(_line_too_long(name, number))
        yield line


def _line_too_long(name: str, number: int) -> str:
    return (
        f"{name} has a line of more than {_MAX_LINE // 2**20} MB (line {number}): "
        "is it what its name says? Take that line out."
    )


def _refuse_utf16(file: BinaryIO, name: str) -> None:
    """Leave ``file`` behind a UTF-8 byte order mark, if it has one."""
    start = file.read(3)
    if start.startswith(_UTF16_MARKS):
        raise StepError(f"{name} is UTF-16 text: save it as UTF-8.")
    if start != b"\xef\xbb\xbf":
        file.seek(0)


class _CsvLines:
    """The physical lines of a CSV, remembering those of the current record."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == _MAX_LINE and not line.endswith(("\n", "\r")):
            raise StepError(_line_too_long(self._name, self.number))
        self.record.append(line)
        return line


def _read_csv(path: Path, name: str) -> Iterator[Row]:
    with path.open("rb") as file:
        _refuse_utf16(file, name)
    csv.field_size_limit(_MAX_LINE)
    # undecodable bytes become surrogates here and are recognised by their row's cleaning
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _CsvLines(file, name)
        reader = csv.reader(lines, strict=True)
        places, width = _csv_columns(reader, name)
        while True:
            lines.record.clear()
            start = lines.number + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield _bad_record(lines, start, name, error)
                continue
            if cells is None:
                return
            if not cells:
                continue  # a blank line
            if len(cells) != width:
                yield Row(start, "".join(lines.record).rstrip("\r\n"), problem=MALFORMED)
                continue
            yield Row(start, *(None if place is None else cells[place] for place in places))


def _csv_columns(reader: Iterator[list[str]], name: str) -> tuple[list[int | None], int]:
    """Where each of COLUMNS stands, and how many columns there are."""
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise StepError(f"{name} is not what its name says: not CSV ({error}).") from None
    joined = "".join(header)
    if "\0" in joined or not decodable(joined):
        raise StepError(f"{name} is not what its name says: its first line is not text.")
    if not header:
        raise StepError(f"{name} is empty: give it a header line with 'text' and 'intent'.")
    _check_columns(header, name)
    repeated = [column for column in COLUMNS if header.count(column) > 1]
    if repeated:
        raise StepError(f"{name} has the column {repeated[0]!r} twice: take one out.")
    return [header.index(c) if c in header else None for c in COLUMNS], len(header)


def _bad_record(lines: _CsvLines, start: int, name: str, error: csv.Error) -> Row:
    if "unexpected end of data" in str(error):
        raise StepError(
            f"{name} opens a quotation mark in line {start} that is never closed: close it, or "
            "double it if it is part of the text."
        ) from None
    if "field limit" in str(error):
        raise StepError(_line_too_long(name, start)) from None
    return Row(start, "".join(lines.record).rstrip("\r\n"), problem=MALFORMED)


def _check_columns(header: Iterable[str], name: str) -> None:
    found = list(header)
    for column in REQUIRED_COLUMNS:
        if column not in found:
            has = ", ".join(repr(cell[:40]) for cell in found[:8])
            hint = "rename the column that holds it"
            if len(found) == 1 and any(mark in found[0] for mark in ";\t|"):
                hint = "separate its columns with commas"
            raise StepError(f"{name} has no column {column!r} (it has {has}): {hint}.")


def _read_parquet(path: Path, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_columns(schema.names, name)
            present = [column for column in COLUMNS if column in schema.names]
            for column in present:
                _check_type(schema.field(column).type, column, name)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=present):
                cells = [
                    _cells(batch.column(column)) if column in present else [None] * len(batch)
                    for column in COLUMNS
                ]
                for row in zip(*cells, strict=True):
                    number += 1
                    yield Row(number, *row)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise StepError(
            f"{name} is not what its name says: it cannot be read as Parquet ({reason})."
        ) from None


def _check_type(kind: Any, column: str, name: str) -> None:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = (types.is_string, types.is_large_string, types.is_string_view)
    binary = (types.is_binary, types.is_large_binary, types.is_null)
    if not any(test(kind) for test in tests + binary):
        raise StepError(f"{name} has a column {column!r} of type {kind}: it must hold text.")


def _cells(column: Any) -> list[str | None]:
    import pyarrow as pa

    # as bytes, because Arrow refuses a whole batch for one string that is not UTF-8
    cells = column.cast(pa.large_binary()).to_pylist()
    return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]


_READERS = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
