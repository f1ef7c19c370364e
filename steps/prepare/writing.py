"""Writes the splits: one Parquet file each, a row group at a time, and counts as it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from steps.contract import OUT_OF_SCOPE, OUT_OF_SCOPE_LABEL
from steps.prepare.cleaning import SPLITS
from steps.prepare.parquet import parquet_writer
from steps.prepare.reference import SplitStatistics
from steps.prepare.resolving import SPLIT_CODES
from steps.prepare.tokenizing import TextTokenizer

SCHEMA = pa.schema(
    [
        ("row", pa.string()),
        ("text", pa.string()),
        ("intent", pa.string()),
        ("label", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
        ("tokens", pa.int32()),
        ("characters", pa.int32()),
        ("locale", pa.string()),
    ]
)
_ROW_GROUP = 50_000
_ROW_ID_BYTES = 8


class SplitFiles:
    """The three splits' files and counts; made by :func:`open_splits`."""

    def __init__(
        self, writers: dict[str, Any], intents: Sequence[str], tokenizer: TextTokenizer
    ) -> None:
        self.statistics = {split: SplitStatistics(tokenizer) for split in SPLITS}
        self._writers = writers
        self._labels = {intent: label for label, intent in enumerate(intents)}
        self._labels[OUT_OF_SCOPE] = OUT_OF_SCOPE_LABEL
        self._content = hashlib.sha256()
        self._held: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}

    @property
    def dataset_sha256(self) -> str:
        """Over every row's split, intent and text, in the order of the texts' hashes."""
        return self._content.hexdigest()

    def add(
        self,
        rows: pa.RecordBatch,
        splits: NDArray[np.int8],
        ids: NDArray[np.int32],
        lengths: NDArray[np.int32],
    ) -> None:
        """Add a batch: text, intent, digest and locale, with each row's split code and ids."""
        texts, intents = rows.column("text").to_pylist(), rows.column("intent").to_pylist()
        names = dict(zip(SPLIT_CODES.values(), SPLIT_CODES, strict=True))
        for code, text, intent in zip(splits.tolist(), texts, intents, strict=True):
            self._content.update(f"{names[code]}\t{intent}\t{text}\n".encode())
        table = self._table(rows, texts, intents, ids, lengths)
        for split in SPLITS:
            places = np.flatnonzero(splits == SPLIT_CODES[split])
            if len(places) == 0:
                continue
            part = table.take(pa.array(places))
            self.statistics[split].add(
                part.column("intent").to_pylist(),
                part.column("input_ids").combine_chunks().flatten().to_numpy(),
                part.column("tokens").to_numpy(),
                part.column("characters").to_numpy(),
            )
            self._held[split].append(part)
            if sum(held.num_rows for held in self._held[split]) >= _ROW_GROUP:
                self._flush(split)

    def _table(
        self,
        rows: pa.RecordBatch,
        texts: list[str],
        intents: list[str],
        ids: NDArray[np.int32],
        lengths: NDArray[np.int32],
    ) -> pa.Table:
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        columns: list[Any] = [
            [digest[:_ROW_ID_BYTES].hex() for digest in rows.column("digest").to_pylist()],
            rows.column("text"),
            rows.column("intent"),
            [self._labels[intent] for intent in intents],
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids)),
            lengths,
            [len(text) for text in texts],
            rows.column("locale"),
        ]
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, kind)
            for column, kind in zip(columns, SCHEMA.types, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    def flush(self) -> None:
        """Write what is held in memory."""
        for split in SPLITS:
            self._flush(split)

    def _flush(self, split: str) -> None:
        if self._held[split]:
            whole = pa.concat_tables(self._held[split]).combine_chunks()
            self._writers[split].write_table(whole, row_group_size=whole.num_rows)
            self._held[split].clear()


@contextmanager
def open_splits(
    folder: Path, intents: Sequence[str], tokenizer: TextTokenizer
) -> Iterator[SplitFiles]:
    """``train|validation|test.parquet`` in ``folder``, complete when the context ends well."""
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                parquet_writer(folder / f"{split}.parquet", SCHEMA, ["intent", "locale"])
            )
            for split in SPLITS
        }
        files = SplitFiles(writers, intents, tokenizer)
        yield files
        files.flush()
