"""Spreads rows over files on disk by a hash of their normalised text.

All duplicates of a text meet in one bucket, so that each bucket can be resolved alone and memory
is bounded by a bucket. Buckets are ranges of the hash: going through them in turn and through
each in order of the hash gives one order of all rows, whatever the number of buckets and the
order of the files were.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

DIGEST_BYTES = 16  # 128 bits: at a thousand million texts a collision is still out of reach
_BUCKET_BYTES = 16 * 2**20  # of raw data
_MAX_BUCKETS = 256  # open files
_FLUSH_ROWS = 200_000
_FLUSH_CHARACTERS = 32 * 2**20


def digest_of(key: bytes) -> bytes:
    """The hash by which a normalised text is found again."""
    return blake2b(key, digest_size=DIGEST_BYTES).digest()


def buckets_for(size: int) -> int:
    """How many buckets ``size`` bytes of raw data are spread over."""
    return min(_MAX_BUCKETS, 1 + size // _BUCKET_BYTES)


class Buckets:
    """A folder of Arrow streams with the columns of ``schema``; the first is the digest."""

    def __init__(self, folder: Path, schema: pa.Schema, count: int) -> None:
        folder.mkdir(parents=True)
        self._schema = schema
        self._count = count
        self._rows: list[list[tuple[Any, ...]]] = [[] for _ in range(count)]
        self._held_rows = self._held_characters = 0
        self._paths = [folder / f"{index:03d}.arrow" for index in range(count)]
        self._files = [path.open("wb") for path in self._paths]
        self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]

    def __enter__(self) -> Buckets:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        for file in self._files:
            file.close()

    def add(self, row: tuple[Any, ...], characters: int) -> None:
        """Put ``row`` where its digest belongs; ``characters`` bounds what is held in memory."""
        digest: bytes = row[0]
        self._rows[(digest[0] << 8 | digest[1]) * self._count >> 16].append(row)
        self._held_rows += 1
        self._held_characters += characters
        if self._held_rows >= _FLUSH_ROWS or self._held_characters >= _FLUSH_CHARACTERS:
            self._flush()

    def finish(self) -> None:
        """Write what is held; from here on the buckets can be read."""
        self._flush()
        for writer, file in zip(self._writers, self._files, strict=True):
            writer.close()
            file.close()

    def read(self, index: int) -> Iterator[pa.RecordBatch]:
        """The batches of one bucket, in the order in which they were written."""
        with self._paths[index].open("rb") as file, pa.ipc.open_stream(file) as reader:
            yield from reader

    def drop(self, index: int) -> None:
        """Give one bucket's disk space back."""
        self._paths[index].unlink()

    def __len__(self) -> int:
        return self._count

    def _flush(self) -> None:
        for rows, writer in zip(self._rows, self._writers, strict=True):
            if rows:
                columns = zip(*rows, strict=True)
                types = self._schema.types
                arrays = [pa.array(c, kind) for c, kind in zip(columns, types, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
                rows.clear()
        self._held_rows = self._held_characters = 0
