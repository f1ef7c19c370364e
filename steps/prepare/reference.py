"""Counts, while the splits are written, what drift is later measured against.

Histograms and shares only, never a text. Lengths in tokens count special tokens and stop at
``max_length``; the reference for traffic is the train split, the others stand beside it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.prepare.tokenizing import TextTokenizer

CHARACTER_EDGES = (0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Lower edges of the bins; the last bin is open."""


class SplitStatistics:
    """One split's counts; batches are added as they are written."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self.rows = 0
        self.intents: Counter[str] = Counter()
        self.ids = np.zeros(tokenizer.vocabulary_size, np.int64)
        self._tokens = np.zeros(tokenizer.max_length + 1, np.int64)
        self._characters = np.zeros(len(CHARACTER_EDGES), np.int64)

    def add(
        self,
        intents: list[str],
        ids: NDArray[np.int32],
        tokens: NDArray[np.int32],
        characters: NDArray[np.int32],
    ) -> None:
        self.rows += len(intents)
        self.intents.update(intents)
        self.ids += np.bincount(ids, minlength=len(self.ids))
        self._tokens += np.bincount(tokens, minlength=len(self._tokens))
        bins = np.searchsorted(CHARACTER_EDGES, characters, side="right") - 1
        self._characters += np.bincount(bins, minlength=len(self._characters))

    def to_json(self) -> dict[str, Any]:
        own = int(self.ids.sum()) - self.rows * self._tokenizer.special_tokens
        unknown = self._tokenizer.unknown_id
        unknowns = 0 if unknown is None else int(self.ids[unknown])
        return {
            "rows": self.rows,
            "tokens": {"counts": self._tokens.tolist()},
            "characters": {
                "lower_edges": list(CHARACTER_EDGES),
                "counts": self._characters.tolist(),
            },
            "unknown_token_rate": _share(unknowns, own),
            "at_max_length": _share(int(self._tokens[-1]), self.rows),
            "intents": dict(sorted(self.intents.items())),
            "intent_shares": {
                intent: _share(count, self.rows) for intent, count in sorted(self.intents.items())
            },
            "vocabulary_used": _share(int(np.count_nonzero(self.ids)), len(self.ids)),
        }

    def unseen_rate(self, train: SplitStatistics) -> float:
        """The share of this split's tokens that never occur in ``train``."""
        return _share(int(self.ids[train.ids == 0].sum()), int(self.ids.sum()))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
