"""The first pass: reads and cleans every row once and spreads the good ones over buckets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from steps.prepare import cleaning
from steps.prepare.buckets import Buckets, digest_of
from steps.prepare.config import PrepareConfig
from steps.prepare.quarantine import Quarantine
from steps.prepare.reading import Row, read_rows
from steps.prepare.resolving import ALSO_IN_REGRESSION, SPLIT_CODES

_PROGRESS_ROWS = 100_000
_Cleaned = tuple[str, str, str | None, str | None]  # text, intent, published split, locale


@dataclass
class Scan:
    """What the first pass learned of the data as a whole."""

    rows: int = 0
    published: set[int] = field(default_factory=set)
    """Codes of the splits that the data publishes."""


class Progress:
    """Says now and then how far a pass is."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._started = time.monotonic()
        self._next = _PROGRESS_ROWS

    def reached(self, rows: int) -> None:
        if rows >= self._next:
            seconds = time.monotonic() - self._started
            speed = rows / seconds if seconds > 0 else 0.0
            print(f"{self._verb} {rows:,} rows ({speed:,.0f} rows/s)", flush=True)
            self._next += _PROGRESS_ROWS


def scan(
    files: dict[str, Path],
    config: PrepareConfig,
    buckets: Buckets,
    quarantine: Quarantine,
    regression: frozenset[bytes] = frozenset(),
) -> Scan:
    """Read ``files`` (by their name in the raw folder) into ``buckets`` and ``quarantine``.

    ``regression`` has the digests of the texts that the regression set keeps for itself.
    """
    found = Scan()
    progress = Progress("read")
    for number, (name, path) in enumerate(files.items()):
        for row in read_rows(path, name):
            found.rows += 1
            if found.rows % _PROGRESS_ROWS == 0:
                progress.reached(found.rows)
            cleaned = clean_row(row, config.max_characters)
            if isinstance(cleaned, str):
                quarantine.add(name, row.line, row.text, row.intent, cleaned)
                continue
            text, intent, split, locale = cleaned
            digest = digest_of(cleaning.normalise(text))
            if digest in regression:
                quarantine.add(name, row.line, text, intent, ALSO_IN_REGRESSION)
                continue
            code = SPLIT_CODES[split]
            found.published.add(code)
            buckets.add((digest, text, intent, code, locale, number, row.line), len(text))
    return found


def clean_row(row: Row, max_characters: int) -> _Cleaned | str:
    """The row's cells cleaned, or the reason for which it is refused."""
    if row.problem is not None:
        return row.problem
    raw = row.text or ""
    if not cleaning.decodable(raw):
        return cleaning.UNDECODABLE
    intent, problem = cleaning.clean_intent(row.intent)
    if problem is not None:
        return problem
    split, problem = cleaning.clean_split(row.split)
    if problem is not None:
        return problem
    text = cleaning.clean(raw)
    problem = cleaning.refuse(text, max_characters)
    if problem is not None:
        return problem
    return text, intent, split, cleaning.clean_locale(row.locale)
