"""Which split a row goes to: published splits are honoured, the others are drawn by a hash.

What is promised, for one seed and as long as the data publishes the same splits:

1. A row with a published split is in that split. A split that the data does not publish is drawn
   from the rows published as train or without a split; a published one gets nothing more.
2. The draw looks at nothing but the seed and the row's normalised text: keyed BLAKE2b gives a
   number in [0, 1), below ``test_share`` is test, below ``test_share + validation_share`` is
   validation, the rest is train. So a row keeps its split when rows are added, removed,
   relabelled or reordered, and each intent's shares come out as asked, give or take chance.
3. Stratified: an intent that chance leaves without a row in a drawn split is lent the train row
   with its lowest number (test before validation), as long as train keeps one; an intent without
   a train row gets back the highest. Nothing else moves. Loans are the one exception to 2: when
   an intent grows, a row that was lent may return to train or lend its place to another, once
   the intent has rows of its own there. With the default shares one intent in 26 of 20 examples
   is lent a test row, and one in 10 million of 100. Publish the splits to rule it out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.prepare.resolving import TEST, TRAIN, VALIDATION

_RANGE = 2**63  # numbers fit a signed 64-bit column


def draw(digest: bytes, seed: int) -> int:
    """The number in [0, 2**63) that a normalised text's digest draws under ``seed``."""
    key = seed.to_bytes(8, "big")
    return int.from_bytes(blake2b(digest, digest_size=8, key=key).digest(), "big") >> 1


@dataclass(frozen=True)
class Thresholds:
    """Draws below ``test`` are test, then below ``validation`` validation, the rest train."""

    test: int
    validation: int

    @classmethod
    def of(cls, test_share: float, validation_share: float, published: Iterable[int]) -> Thresholds:
        """Shares of splits that the data publishes are not drawn."""
        test = 0.0 if TEST in published else test_share
        validation = 0.0 if VALIDATION in published else validation_share
        return cls(round(test * _RANGE), round((test + validation) * _RANGE))

    def split(self, number: int) -> int:
        if number < self.test:
            return TEST
        return VALIDATION if number < self.validation else TRAIN


@dataclass
class _Drawn:
    """One intent's rows that may be split; only what the loans need is kept."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # by split code
    lowest_train: list[tuple[int, bytes]] = field(default_factory=list)  # at most two
    highest_other: tuple[int, bytes] | None = None
    published: int = 0  # rows published as validation or test


class Splitter:
    """Sees every row once (:meth:`see`), then assigns splits (:meth:`assign`)."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._intents: dict[str, _Drawn] = {}
        self._loans: dict[bytes, int] = {}

    def see(self, digest: bytes, intent: str, published: int, number: int) -> None:
        drawn = self._intents.get(intent)
        if drawn is None:
            drawn = self._intents[intent] = _Drawn()
        if published < TRAIN:
            drawn.published += 1
            return
        split = self._thresholds.split(number)
        drawn.counts[split] += 1
        if split != TRAIN:
            drawn.highest_other = max(drawn.highest_other or (-1, b""), (number, digest))
        elif len(drawn.lowest_train) < 2 or number < drawn.lowest_train[-1][0]:
            drawn.lowest_train = heapq.nsmallest(2, [*drawn.lowest_train, (number, digest)])

    @property
    def examples(self) -> dict[str, int]:
        """Of each intent, the rows to learn from: all but those published as held out."""
        return {intent: sum(drawn.counts) for intent, drawn in self._intents.items()}

    @property
    def rows(self) -> dict[str, int]:
        """Of each intent, all rows."""
        return {name: sum(d.counts) + d.published for name, d in self._intents.items()}

    @property
    def lent(self) -> dict[bytes, int]:
        """Digest and split code of the rows that are not where their draw would put them."""
        return dict(self._loans)

    def settle(self) -> None:
        """Give every intent what chance kept from it; call it when all rows were seen."""
        wanted = []
        if self._thresholds.test > 0:
            wanted.append(TEST)
        if self._thresholds.validation > self._thresholds.test:
            wanted.append(VALIDATION)
        for drawn in self._intents.values():
            if drawn.counts[TRAIN] == 0 and drawn.highest_other is not None:
                self._loans[drawn.highest_other[1]] = TRAIN
                continue
            train = drawn.counts[TRAIN]
            candidates = list(drawn.lowest_train)
            for split in wanted:
                if drawn.counts[split] == 0 and train > 1:
                    self._loans[candidates.pop(0)[1]] = split
                    train -= 1

    def assign(
        self, digests: Sequence[bytes], published: NDArray[Any], numbers: NDArray[Any]
    ) -> NDArray[np.int8]:
        """The split code of each row, [rows]."""
        drawn = np.full(len(digests), TRAIN, np.int8)
        drawn[numbers < self._thresholds.validation] = VALIDATION
        drawn[numbers < self._thresholds.test] = TEST
        splits = np.where(published < TRAIN, published, drawn).astype(np.int8)
        if self._loans:
            for place, digest in enumerate(digests):
                if digest in self._loans:
                    splits[place] = self._loans[digest]
        return splits
