"""Bootstrap intervals: how far each figure would move with another test split of this size.

1,000 seeded resamples of the test rows, drawn with replacement; the interval is the 2.5th to
the 97.5th percentile (Efron & Tibshirani 1993, chapter 13). A resample is a column of weights,
so that every figure of all resamples is a few sparse products and no loop over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy import sparse

from steps.evaluate.metrics import CALIBRATION_BINS, Array, Counts, auroc, calibration_bin

RESAMPLES = 1000
_CELLS = 4_000_000
"""At most this many weights in memory at a time, 16 MB: large test splits are drawn in parts."""


@dataclass(frozen=True)
class Interval:
    """A figure, its 95 % bootstrap interval and standard deviation."""

    value: float
    low: float
    high: float
    standard_deviation: float

    @classmethod
    def of(cls, value: float, resampled: Array) -> Interval:
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(float(value), float(low), float(high), float(resampled.std()))

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def resample_weights(
    rows: int, generator: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[Array]:
    """How often each row was drawn, float32 [rows, part of the resamples], part by part."""
    part = max(1, min(resamples, _CELLS // rows))
    for start in range(0, resamples, part):
        columns = min(part, resamples - start)
        drawn = generator.integers(0, rows, size=(columns, rows), dtype=np.int64)
        drawn += np.arange(columns)[:, None] * rows
        counts = np.bincount(drawn.ravel(), minlength=columns * rows)
        yield counts.reshape(columns, rows).T.astype(np.float32)


def classification(
    labels: Array,
    predicted: Array,
    confidences: dict[str, Array],
    intents: int,
    seed: int,
) -> dict[str, Interval]:
    """Intervals of accuracy, the F family and calibration, all from the same resamples.

    Args:
        labels: True label of each in-scope row, [rows].
        predicted: Label taken, [rows].
        confidences: Figure's name to the confidences whose calibration error it is, [rows] each.
        intents: How many intents there are.
        seed: Of the resamples.

    Returns:
        ``accuracy``, ``macro_f1``, ``weighted_precision``, ``weighted_recall``,
        ``weighted_f0_5``, ``weighted_f1``, ``weighted_f2`` and a name for each of
        ``confidences``.
    """
    right = labels == predicted
    members = {
        "right": _membership(labels, intents, right),
        "support": _membership(labels, intents),
        "predicted": _membership(predicted, intents),
    }
    gaps = {
        name: _membership(calibration_bin(values), CALIBRATION_BINS, right - values)
        for name, values in confidences.items()
    }

    def figures(weights: Array) -> dict[str, Array]:
        counts = Counts(**{name: member @ weights for name, member in members.items()})
        rows = weights.sum(axis=0)
        errors = {name: np.abs(gap @ weights).sum(axis=0) / rows for name, gap in gaps.items()}
        return _figures_of(counts) | errors

    once = figures(np.ones((len(labels), 1)))
    generator = np.random.default_rng(seed)
    parts = [figures(weights) for weights in resample_weights(len(labels), generator)]
    return {
        name: Interval.of(float(value[0]), np.concatenate([part[name] for part in parts]))
        for name, value in once.items()
    }


def _figures_of(counts: Counts) -> dict[str, Array]:
    return {
        "accuracy": counts.right.sum(axis=0) / counts.support.sum(axis=0),
        "macro_f1": counts.macro(counts.f_score()),
        "weighted_precision": counts.weighted(counts.precision()),
        "weighted_recall": counts.weighted(counts.recall()),
        "weighted_f0_5": counts.weighted(counts.f_score(0.5)),
        "weighted_f1": counts.weighted(counts.f_score()),
        "weighted_f2": counts.weighted(counts.f_score(2.0)),
    }


def separation(in_scope: Array, out_of_scope: Array, seed: int) -> Interval:
    """The interval of the out-of-scope AUROC; both kinds of rows are resampled on their own."""
    levels, where = np.unique(np.concatenate([in_scope, out_of_scope]), return_inverse=True)
    kept = _membership(where[: len(in_scope)], len(levels))
    others = _membership(where[len(in_scope) :], len(levels))
    first, second = np.random.default_rng(seed).spawn(2)
    part = max(1, min(RESAMPLES, _CELLS // (len(in_scope) + len(out_of_scope))))
    parts: list[Array] = []
    for start in range(0, RESAMPLES, part):
        columns = min(part, RESAMPLES - start)
        # one part of either kind, because a part has room for both kinds' rows
        inside = kept @ next(resample_weights(len(in_scope), first, columns))
        outside = others @ next(resample_weights(len(out_of_scope), second, columns))
        # in-scope rows above each level, those on it counted half
        above = len(in_scope) - np.cumsum(inside, axis=0, dtype=np.float64) + inside / 2
        parts.append((above * outside).sum(axis=0) / (len(in_scope) * len(out_of_scope)))
    return Interval.of(auroc(in_scope, out_of_scope), np.concatenate(parts))


def of_share(right: Array, seed: int) -> Interval:
    """The interval of a plain share: its bootstrap distribution is the binomial one."""
    value = float(right.mean())
    drawn = np.random.default_rng(seed).binomial(len(right), value, size=RESAMPLES)
    return Interval.of(value, drawn / len(right))


def _membership(groups: Array, count: int, weights: Array | None = None) -> sparse.csr_array:
    """[groups, rows]: the row's weight, 1 if none is given, where the row is of the group."""
    rows = len(groups)
    values = np.ones(rows) if weights is None else weights.astype(np.float64)
    return sparse.csr_array((values, (groups, np.arange(rows))), shape=(count, rows))
