"""The figures, each a plain function of numpy arrays.

Nothing here knows of files, models or intents' names. Out of scope is told by *energy*
(logsumexp of the logits): higher means in scope. What leaves this module is never NaN: a figure
that cannot be measured is not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CALIBRATION_BINS = 15
"""Equal width, as in Guo et al. 2017 (arXiv:1706.04599), so that figures compare with published
ones. Bins of equal mass would be finer where an accurate model is, near 1, but on a test split
of a few hundred rows they mostly measure their own noise."""


def energy(logits: Array) -> Array:
    """Logsumexp of each row of ``logits`` [rows, intents], as float64 [rows]."""
    rows = logits.astype(np.float64)
    top = rows.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(rows - top).sum(axis=1))


def confidence(logits: Array, temperature: float = 1.0) -> Array:
    """The largest probability of softmax(logits / temperature), float64 [rows]."""
    rows = logits.astype(np.float64) / temperature
    return np.exp(rows.max(axis=1) - energy(rows))


@dataclass(frozen=True)
class Counts:
    """What precision, recall and F are made of, [intents] or [intents, resamples] each."""

    right: Array
    support: Array
    """Rows that are of the intent."""
    predicted: Array
    """Rows that were taken for it."""

    @classmethod
    def of(cls, confusion: Array) -> Counts:
        """From a confusion matrix [true, predicted]."""
        return cls(np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0))

    def precision(self) -> Array:
        """0 where nothing was taken for the intent."""
        return _ratio(self.right, self.predicted)

    def recall(self) -> Array:
        """0 where no row is of the intent."""
        return _ratio(self.right, self.support)

    def f_score(self, beta: float = 1.0) -> Array:
        squared = beta * beta
        return _ratio((1 + squared) * self.right, squared * self.support + self.predicted)

    def macro(self, values: Array) -> Array:
        """The plain mean over the intents that have rows; the others cannot be judged."""
        present = self.support > 0
        return (values * present).sum(axis=0) / present.sum(axis=0)

    def weighted(self, values: Array) -> Array:
        """The mean over intents, weighted by their rows."""
        return (values * self.support).sum(axis=0) / self.support.sum(axis=0)


def confusion_matrix(labels: Array, predicted: Array, intents: int) -> Array:
    """How often intent [row] was taken for intent [column]."""
    flat = np.bincount(labels.astype(np.int64) * intents + predicted, minlength=intents * intents)
    return flat.reshape(intents, intents)


def auroc(in_scope: Array, out_of_scope: Array) -> float:
    """How likely an in-scope row has the higher score than an out-of-scope row; ties are half."""
    ordered = np.sort(in_scope)
    below = np.searchsorted(ordered, out_of_scope, side="left")
    not_above = np.searchsorted(ordered, out_of_scope, side="right")
    wins = len(ordered) - (below + not_above) / 2
    return float(wins.sum() / (len(ordered) * len(out_of_scope)))


def roc_curve(in_scope: Array, out_of_scope: Array) -> tuple[Array, Array]:
    """Share of out-of-scope rows accepted and of in-scope rows kept, at every threshold.

    Both ascend from 0 to 1.
    """
    thresholds = np.unique(np.concatenate([in_scope, out_of_scope]))[::-1]
    kept = _share_at_least(in_scope, thresholds)
    accepted = _share_at_least(out_of_scope, thresholds)
    return np.concatenate([[0.0], accepted]), np.concatenate([[0.0], kept])


def accepted_at_kept(in_scope: Array, out_of_scope: Array, kept: float = 0.95) -> float:
    """Share of out-of-scope rows accepted where ``kept`` of the in-scope rows are kept.

    The out-of-distribution literature's "FPR at 95 % TPR" (Hendrycks & Gimpel 2017), in which
    in scope is the positive class.
    """
    descending = np.sort(in_scope)[::-1]
    threshold = descending[int(np.ceil(kept * len(descending))) - 1]
    return float((out_of_scope >= threshold).mean())


@dataclass(frozen=True)
class Rejection:
    """What the energy threshold does; out of scope is what is to be found."""

    recall: float
    """Share of out-of-scope rows that are rejected."""
    precision: float | None
    """Share of rejected rows that are out of scope; None where nothing is rejected."""
    in_scope_rejected: float
    """Share of in-scope rows that are rejected."""
    in_scope_accuracy: float
    """Share of in-scope rows that are kept and right."""
    accuracy: float
    """Share of all rows that are answered rightly: kept and right, or rejected and out of scope."""


def rejection(right: Array, in_scope: Array, out_of_scope: Array, threshold: float) -> Rejection:
    """What ``threshold`` does to in-scope rows (energy, and whether argmax is right) and others."""
    refused, wrongly_refused = out_of_scope < threshold, in_scope < threshold
    found, lost = int(refused.sum()), int(wrongly_refused.sum())
    kept_right = int((right & ~wrongly_refused).sum())
    return Rejection(
        recall=found / len(out_of_scope),
        precision=found / (found + lost) if found + lost else None,
        in_scope_rejected=lost / len(in_scope),
        in_scope_accuracy=kept_right / len(in_scope),
        accuracy=(kept_right + found) / (len(in_scope) + len(out_of_scope)),
    )


def calibration_bin(confidences: Array) -> Array:
    """The bin of each confidence: bin k is (k / 15, (k + 1) / 15]."""
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    return np.searchsorted(edges, confidences, side="left")


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram: [bins] each, 0 where a bin has no row."""

    rows: Array
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> float:
        """Expected calibration error: the gap between both, weighted by rows."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((gaps * self.rows).sum() / self.rows.sum())


def reliability(confidences: Array, right: Array) -> Reliability:
    """Mean confidence and accuracy in each of the bins of equal width."""
    bins = calibration_bin(confidences)
    rows = np.bincount(bins, minlength=CALIBRATION_BINS)
    summed = np.bincount(bins, weights=confidences, minlength=CALIBRATION_BINS)
    hits = np.bincount(bins, weights=right.astype(float), minlength=CALIBRATION_BINS)
    return Reliability(rows, _ratio(summed, rows), _ratio(hits, rows))


def expected_calibration_error(confidences: Array, right: Array) -> float:
    """See :class:`Reliability`."""
    return reliability(confidences, right).error


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


def _share_at_least(values: Array, thresholds: Array) -> Array:
    return 1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)
