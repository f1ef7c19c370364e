"""A Parquet file that is written a piece at a time, and that a failure leaves quietly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema, repetitive: list[str]) -> Iterator[Any]:
    """A writer for ``path``; ``repetitive`` columns are stored as dictionaries.

    The file is a Python file, so that a full disk keeps its error number.
    """
    with path.open("wb") as file:
        options: dict[str, Any] = {"compression": "zstd", "use_dictionary": repetitive}
        writer = pq.ParquetWriter(file, schema, **options)
        try:
            yield writer
            writer.close()
        finally:
            writer.is_open = False  # else its __del__ would write to the closed file, and complain
