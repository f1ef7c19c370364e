"""Where windows lie: a folder or a prefix in S3, read one after the other, never all at once.

A file is one window (``.json``) or one a line (``.jsonl``). Both places are walked in one order, so
that the same files give the same report. What it leaves out: what a window says.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from steps.contract import StepError
from steps.drift.aws import client, errors, split_address
from steps.drift.windows import MOST_BYTES

Given = TypeVar("Given")
Got = TypeVar("Got")

AT_ONCE = 32
"""Requests to S3 that are under way together."""


class Item(NamedTuple):
    """A window before it is read."""

    path: str
    """Where it lay, below the folder or prefix; of a line, with its number."""
    data: bytes


def open_windows(location: str, since: date) -> Iterator[Item]:
    """The windows at ``location`` of days from ``since`` on, as far as paths tell the day.

    Raises:
        StepError: The folder is missing, or S3 refused.
    """
    if location.startswith("s3://"):
        return _in_s3(location, since)
    folder = Path(location)
    if not folder.is_dir():
        raise StepError(f"{folder} is no folder of windows: name one with --windows.")
    return _in_folder(folder, since)


def _in_folder(folder: Path, since: date) -> Iterator[Item]:
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if _is_older(name, since):
            continue
        with path.open("rb") as file:
            if path.suffix == ".jsonl":
                yield from _lines(name, file)
            else:
                # a byte more than is accepted is enough to see that it is too long
                yield Item(name, file.read(min(path.stat().st_size, MOST_BYTES) + 1))


def _files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.name.endswith((".json", ".jsonl")) and entry.is_file():
            yield Path(entry.path)


def _lines(name: str, file: Any) -> Iterator[Item]:
    for number in itertools.count(1):
        line = file.readline(MOST_BYTES + 1)
        if not line:
            return
        whole = line
        while line and not line.endswith(b"\n"):  # the rest of one that is too long
            line = file.readline(MOST_BYTES)
        if whole.strip():
            yield Item(f"{name}:{number}", whole)


def _is_older(name: str, since: date) -> bool:
    """Whether the folders of ``name`` say a day before ``since``."""
    parts = name.split("/")
    for year, month, day in zip(parts, parts[1:], parts[2:], strict=False):
        if len(year) == 4 and len(month) == len(day) == 2 and (year + month + day).isdecimal():
            return f"{year}-{month}-{day}" < since.isoformat()
    return False


def _in_s3(location: str, since: date) -> Iterator[Item]:
    bucket, prefix = split_address(location)
    s3 = client("s3")

    def keys_of(folder: str) -> list[str]:
        """A device's keys: its days are in the order of their names, so old ones are not listed."""
        start = f"{folder}{since:%Y/%m/%d}"
        with errors(f"list s3://{bucket}/{folder}"):
            pages = s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=folder, StartAfter=start
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(key: str) -> Iterable[Item]:
        name = key.removeprefix(prefix)
        with errors(f"read s3://{bucket}/{key}"):
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
            if key.endswith(".jsonl"):
                return _lines(name, _Lines(body))  # which may be long: read where it is wanted
            return [Item(name, body.read(MOST_BYTES + 1))]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        devices = _few_at_once(pool, keys_of, _folders(s3, bucket, prefix))
        keys = (
            key
            for found in devices
            for key in found
            if key.endswith((".json", ".jsonl")) and not _is_older(key, since)
        )
        for items in _few_at_once(pool, read, keys):
            with errors(f"read windows in {location}"):
                yield from items


class _Lines:
    """``readline`` of what S3 streams."""

    def __init__(self, body: Any) -> None:
        self._chunks = body.iter_chunks(65_536)
        self._rest = b""

    def readline(self, most: int) -> bytes:
        while b"\n" not in self._rest and len(self._rest) < most:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        end = self._rest.find(b"\n", 0, most)
        end = end + 1 if end >= 0 else min(most, len(self._rest))
        line, self._rest = self._rest[:end], self._rest[end:]
        return line


def _folders(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    with errors(f"list s3://{bucket}/{prefix}"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter="/"
        )
        for page in pages:
            for entry in page.get("CommonPrefixes", []):
                yield entry["Prefix"]


def _few_at_once(
    pool: ThreadPoolExecutor, work: Callable[[Given], Got], given: Iterable[Given]
) -> Iterator[Got]:
    """``map`` in order, which takes from ``given`` only as fast as its results are taken."""
    source = iter(given)
    waiting = [pool.submit(work, one) for one in itertools.islice(source, AT_ONCE)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(work, one) for one in itertools.islice(source, 1)]
