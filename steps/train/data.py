"""The prepared rows as *train* uses them, and the order in which it walks through them.

Rows come from ``prepared/`` (docs/architecture.md). Batches hold utterances of like length, so that
little time goes into padding, and their order depends on the seed and the epoch alone: a job
that resumes at (epoch, step) sees the batches that it would have seen. What it leaves out:
sharding by file; every process reads all rows and takes its share of each batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from steps.contract import OUT_OF_SCOPE_LABEL, StepError, read_json

_POOL = 64
"""Batches whose rows are sorted by length together: enough for hardly any padding, few enough
that the make-up of a batch stays random."""

_COLUMNS = {"text", "label", "input_ids"}


@dataclass(frozen=True)
class Rows:
    """Token ids of many utterances, end to end, and their labels (-1: out of scope)."""

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    """Where each row begins in ``tokens``; one longer than there are rows."""
    labels: NDArray[np.int64]
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def select(self, chosen: NDArray[np.int64]) -> Rows:
        """A copy that holds the rows ``chosen``, in that order."""
        parts = [self.tokens[self.starts[row] : self.starts[row + 1]] for row in chosen]
        tokens = np.concatenate(parts) if parts else self.tokens[:0]
        starts = np.concatenate([[0], np.cumsum(self.lengths[chosen])]).astype(np.int64)
        return Rows(tokens, starts, self.labels[chosen], self.pad_id)

    def in_scope(self) -> Rows:
        return self.select(np.flatnonzero(self.labels != OUT_OF_SCOPE_LABEL))

    def out_of_scope(self) -> Rows:
        return self.select(np.flatnonzero(self.labels == OUT_OF_SCOPE_LABEL))

    def batch(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and mask [rows, longest], padded on the right, and labels [rows]."""
        lengths = self.lengths[chosen]
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = self.select(chosen).tokens
        return (
            torch.from_numpy(ids),
            torch.from_numpy(mask.astype(np.int64)),
            torch.from_numpy(self.labels[chosen]),
        )


def join(first: Rows, second: Rows) -> Rows:
    """The rows of both, one after the other."""
    return Rows(
        np.concatenate([first.tokens, second.tokens]),
        np.concatenate([first.starts, first.starts[-1] + second.starts[1:]]),
        np.concatenate([first.labels, second.labels]),
        first.pad_id,
    )


@dataclass(frozen=True)
class PreparedData:
    """What *train* takes from the folder that *prepare* wrote; the test split stays unread."""

    train: Rows
    """In scope only: what the classes are learned from."""
    validation: Rows
    """In scope only: for early stopping, temperature and threshold."""
    out_of_scope: Rows
    """Of train and validation together, for the threshold only: never a class."""
    intents: list[str]
    dataset_sha256: str
    retokenized: bool
    """Whether *prepare* had used another tokenizer or length than this job."""

    def with_validation_in_train(self) -> PreparedData:
        """All in-scope rows to train on, and none left to validate with."""
        none = np.empty(0, dtype=np.int64)
        return dataclasses.replace(
            self,
            train=join(self.train, self.validation),
            validation=self.validation.select(none),
            out_of_scope=self.out_of_scope.select(none),
        )


def read_prepared(folder: Path, tokenizer: Any, tokenizer_sha256: str, max_length: int):
    """Read the prepared folder for a base model's tokenizer.

    The token ids in the folder are used when they were made by the same tokenizer and for the
    same length; otherwise the texts are tokenized again.

    Args:
        folder: The channel ``prepared``.
        tokenizer: The base model's transformers tokenizer.
        tokenizer_sha256: Of that tokenizer's ``tokenizer.json``.
        max_length: Longest input in tokens, special tokens included.

    Raises:
        StepError: A file is missing or not as *prepare* writes it, or there is nothing to learn.
    """
    statistics = read_json(folder / "statistics.json", "The statistics of the prepared data")
    listed = read_json(folder / "intents.json", "The list of intents of the prepared data")
    try:
        intents, dataset_sha256 = list(listed["intents"]), str(statistics["dataset_sha256"])
    except (KeyError, TypeError) as error:
        raise StepError(
            f"The prepared data in {folder} lacks {error} in statistics.json or intents.json: "
            "run prepare again."
        ) from None
    same = (
        statistics.get("tokenizer_sha256") == tokenizer_sha256
        and statistics.get("max_length") == max_length
    )
    encode = None if same else _Encoder(tokenizer, max_length)
    pad_id = tokenizer.pad_token_id or 0
    train = _read_split(folder / "train.parquet", encode, pad_id, len(intents))
    validation = _read_split(folder / "validation.parquet", encode, pad_id, len(intents))
    data = PreparedData(
        train=train.in_scope(),
        validation=validation.in_scope(),
        out_of_scope=join(train.out_of_scope(), validation.out_of_scope()),
        intents=intents,
        dataset_sha256=dataset_sha256,
        retokenized=not same,
    )
    _check_classes(data, folder)
    return data


def _check_classes(data: PreparedData, folder: Path) -> None:
    if len(data.intents) < 2:
        raise StepError(
            f"The prepared data in {folder} has {len(data.intents)} intent(s), but a classifier "
            "needs at least two: add utterances of another intent."
        )
    present = np.bincount(data.train.labels, minlength=len(data.intents))
    if not present.all():
        missing = data.intents[int(np.argmin(present))]
        raise StepError(
            f"The intent {missing!r} has no training row in {folder}: run prepare again on data "
            "with more utterances of it."
        )


class _Encoder:
    """Tokenizes texts as *prepare* does, for another tokenizer or another length."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length

    def __call__(self, texts: list[str]) -> list[list[int]]:
        if not texts:  # transformers' tokenizers take no empty list
            return []
        encoded = self._tokenizer(texts, truncation=True, max_length=self._max_length)
        return encoded["input_ids"]


def _read_split(path: Path, encode: _Encoder | None, pad_id: int, intents: int) -> Rows:
    try:
        schema = pq.read_schema(path)
        missing = sorted(_COLUMNS - set(schema.names))
        if missing:
            raise StepError(f"{path} has no column {missing[0]!r}: run prepare again.")
        column = "input_ids" if encode is None else "text"
        table = pq.read_table(path, columns=[column, "label"])
    except FileNotFoundError:
        raise StepError(
            f"The prepared data is missing: {path} does not exist; run prepare first."
        ) from None
    except pa.ArrowInvalid as error:
        raise StepError(
            f"{path} is not a readable Parquet file: {error}; run prepare again."
        ) from None
    labels = table.column("label").to_numpy().astype(np.int64)
    if len(labels) and not (labels.min() >= OUT_OF_SCOPE_LABEL and labels.max() < intents):
        raise StepError(f"{path} has a label outside intents.json: run prepare again.")
    ids = table.column(column)
    lists = ids if encode is None else pa.chunked_array([encode(ids.to_pylist())], _IDS)
    return _flatten(lists.cast(_IDS).combine_chunks(), labels, pad_id)


_IDS = pa.list_(pa.int32())


def _flatten(lists: Any, labels: NDArray[np.int64], pad_id: int) -> Rows:
    # flatten() drops what the offsets skip, so the starts are counted from the lengths
    lengths = lists.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    tokens = lists.flatten().to_numpy().astype(np.int32)
    if (empty := lengths == 0).any():  # a tokenizer without special tokens and an odd text
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        tokens = np.insert(tokens, starts[empty], pad_id)
        lengths = np.maximum(lengths, 1)
    return Rows(tokens, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), labels, pad_id)


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: shuffled, each of like length, every row once.

    Depends on its arguments alone. The rows are shuffled, sorted by length within pools of
    ``_POOL`` batches, cut into batches, and the batches shuffled.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    pool = batch_size * _POOL
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def walk_by_length(
    lengths: NDArray[np.int64], batch_size: int, rank: int = 0, world: int = 1
) -> Iterator[NDArray[np.int64]]:
    """This process's share of all rows, in batches from the longest rows to the shortest."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size * world):
        share = order[start : start + batch_size * world][rank::world]
        if len(share):
            yield share


def sample_per_class(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Row numbers with at most ``most`` rows of each label, drawn by ``seed``; 0 takes all."""
    if most == 0:
        return np.arange(len(labels))
    order = np.random.default_rng([seed]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    ordered = labels[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)  # within its own label
    return np.sort(order[place < most])
