"""Decides, bucket by bucket, which of the rows with one normalised text stays.

- Different intents for one text: all of its rows go (``conflicting_labels``).
- A text of the test split leaves train and validation (``also_in_test``), one of the validation
  split leaves train (``also_in_validation``). Rows without a split count as train here.
- Within a split the row whose text sorts first stays; the others are ``exact_duplicate`` (the
  same cleaned text) or ``normalised_duplicate``. Which of them stays depends on what the rows
  say and not on the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from steps.prepare.buckets import DIGEST_BYTES, Buckets
from steps.prepare.quarantine import Quarantine

CONFLICTING_LABELS = "conflicting_labels"
ALSO_IN_TEST = "also_in_test"
ALSO_IN_VALIDATION = "also_in_validation"
EXACT_DUPLICATE = "exact_duplicate"
NORMALISED_DUPLICATE = "normalised_duplicate"
ALSO_IN_REGRESSION = "also_in_regression"
REPEATS = (
    EXACT_DUPLICATE,
    NORMALISED_DUPLICATE,
    ALSO_IN_TEST,
    ALSO_IN_VALIDATION,
    ALSO_IN_REGRESSION,
)
"""Reasons that say a text was there already, not that anything is wrong with it."""

TEST, VALIDATION, TRAIN, UNPUBLISHED = 0, 1, 2, 3
"""Codes of a row's published split; of two rows with one text the lower code wins."""
SPLIT_CODES: dict[str | None, int] = {
    "test": TEST,
    "validation": VALIDATION,
    "train": TRAIN,
    None: UNPUBLISHED,
}

CLEANED = pa.schema(
    [
        ("digest", pa.binary(DIGEST_BYTES)),
        ("text", pa.string()),
        ("intent", pa.string()),
        ("published", pa.int8()),
        ("locale", pa.string()),
        ("file", pa.int32()),
        ("line", pa.int64()),
    ]
)
"""What the buckets hold: every row that could be read and cleaned."""

_Row = tuple[bytes, str, str, int, str | None, int, int]
_Place = tuple[int, str, int, int]  # split code, text, file, line: the least one stays


@dataclass(slots=True)
class _Group:
    """What is known of all rows with one normalised text."""

    intent: str
    best: _Place
    conflict: bool = False


def resolve(
    buckets: Buckets, index: int, files: Sequence[str], quarantine: Quarantine
) -> list[_Row]:
    """The rows of one bucket that stay, in order of their digest; the others go to quarantine.

    The bucket is read twice, so that only one group a distinct text is held and not every row.
    """
    groups: dict[bytes, _Group] = {}
    for digest, text, intent, published, _, file, line in _rows(buckets, index):
        place = (min(published, TRAIN), text, file, line)
        group = groups.get(digest)
        if group is None:
            groups[digest] = _Group(intent, place)
            continue
        group.conflict = group.conflict or intent != group.intent
        group.best = min(group.best, place)
    kept: list[_Row] = []
    for row in _rows(buckets, index):
        reason = _verdict(groups[row[0]], row)
        if reason is None:
            kept.append(row)
        else:
            quarantine.add(files[row[5]], row[6], row[1], row[2], reason)
    kept.sort(key=lambda row: row[0])
    return kept


def _verdict(group: _Group, row: _Row) -> str | None:
    _, text, _, published, _, file, line = row
    if group.conflict:
        return CONFLICTING_LABELS
    split, best_text, best_file, best_line = group.best
    if line == best_line and file == best_file:
        return None
    if min(published, TRAIN) > split:
        return ALSO_IN_TEST if split == TEST else ALSO_IN_VALIDATION
    return EXACT_DUPLICATE if text == best_text else NORMALISED_DUPLICATE


def _rows(buckets: Buckets, index: int) -> Iterator[_Row]:
    for batch in buckets.read(index):
        rows: Any = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        yield from rows
