"""Keeps every refused row, with where it stood and why, so that no row vanishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from steps.prepare.parquet import parquet_writer

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("text", pa.string()),
        ("intent", pa.string()),
        ("reason", pa.string()),
    ]
)
_FLUSH_ROWS = 50_000
_FLUSH_CHARACTERS = 32 * 2**20


class Quarantine:
    """Collects refused rows; made by :func:`open_quarantine`."""

    def __init__(self, writer: Any) -> None:
        self.reasons: Counter[str] = Counter()
        self._writer = writer
        self._rows: list[tuple[str, int, str | None, str | None, str]] = []
        self._characters = 0

    @property
    def rows(self) -> int:
        return self.reasons.total()

    def add(self, file: str, line: int, text: str | None, intent: str | None, reason: str) -> None:
        text, intent = _storable(text), _storable(intent)
        self.reasons[reason] += 1
        self._rows.append((file, line, text, intent, reason))
        self._characters += len(text or "")
        if len(self._rows) >= _FLUSH_ROWS or self._characters >= _FLUSH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory."""
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(c, kind) for c, kind in zip(columns, SCHEMA.types, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        self._rows.clear()
        self._characters = 0


@contextmanager
def open_quarantine(path: Path) -> Iterator[Quarantine]:
    """A quarantine that is written to ``path``, complete when the context ends well."""
    with parquet_writer(path, SCHEMA, repetitive=["file", "intent", "reason"]) as writer:
        quarantine = Quarantine(writer)
        yield quarantine
        quarantine.flush()


def _storable(text: str | None) -> str | None:
    """``text`` as it was; bytes that were no UTF-8 are spelled out as ``\\xNN``."""
    if text is None or text.isascii():
        return text
    raw = text.encode("utf-8", "surrogatepass")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text
