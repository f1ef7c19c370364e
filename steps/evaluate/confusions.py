"""What the model mistakes for what: the worst pairs with examples, and the part worth drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.evaluate.metrics import Array
from steps.evaluate.scoring import Rows, Scores, in_scope

DRAWN = 18
"""A matrix of more intents than this shows only the most confused."""
_PAIRS = 12
_EXAMPLES = 3
_LISTED = 6
_LONGEST = 140


@dataclass(frozen=True)
class Example:
    """An utterance, shortened, and what the model said of it."""

    text: str
    taken_for: str
    confidence: float
    energy: float


@dataclass(frozen=True)
class Pair:
    """An intent that was taken for another."""

    intent: str
    taken_for: str
    rows: int
    of: int
    """Test rows of the intent."""
    examples: list[Example]


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix, or the part of it with the most confused intents."""

    intents: list[str]
    cells: list[list[int]]
    elsewhere: list[int]
    """Rows of each intent that were taken for an intent that is not drawn."""
    whole: bool


def example(row: int, rows: Rows, scores: Scores, intents: list[str]) -> Example:
    """Row ``row`` of the test split."""
    text = rows.texts[row]
    return Example(
        text=text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…",
        taken_for=intents[scores.predicted[row]],
        confidence=float(scores.confidence[row]),
        energy=float(scores.energy[row]),
    )


def worst_pairs(confusion: Array, rows: Rows, scores: Scores, intents: list[str]) -> list[Pair]:
    """The pairs with most rows, each with its most confident mistakes."""
    apart = confusion - np.diag(np.diag(confusion))
    found: list[Pair] = []
    for flat in np.argsort(-apart, axis=None, kind="stable")[:_PAIRS].tolist():
        true, taken = divmod(flat, len(intents))
        if not apart[true, taken]:
            break
        wrong = np.flatnonzero((rows.labels == true) & (scores.predicted == taken))
        surest = wrong[np.argsort(-scores.confidence[wrong], kind="stable")][:_EXAMPLES]
        found.append(
            Pair(
                intent=intents[true],
                taken_for=intents[taken],
                rows=int(apart[true, taken]),
                of=int(confusion[true].sum()),
                examples=[example(row, rows, scores, intents) for row in surest.tolist()],
            )
        )
    return found


def matrix(confusion: Array, intents: list[str]) -> Matrix:
    """The whole matrix, or that of the most confused intents, a pair's two side by side."""
    whole = len(intents) <= DRAWN
    chosen = list(range(len(intents))) if whole else _most_confused(confusion)
    part = confusion[np.ix_(chosen, chosen)]
    return Matrix(
        intents=[intents[label] for label in chosen],
        cells=part.tolist(),
        elsewhere=(confusion[chosen].sum(axis=1) - part.sum(axis=1)).tolist(),
        whole=whole,
    )


def _most_confused(confusion: Array) -> list[int]:
    both = np.triu(confusion + confusion.T, k=1)
    chosen: list[int] = []
    for flat in np.argsort(-both, axis=None, kind="stable").tolist():
        pair = [label for label in divmod(flat, len(confusion)) if label not in chosen]
        if len(chosen) + len(pair) > DRAWN or not both.flat[flat]:
            break
        chosen += pair
    return chosen


def accepted(rows: Rows, scores: Scores, intents: list[str], threshold: float) -> list[Example]:
    """Out-of-scope utterances that an intent claimed, the highest energy first."""
    wrong = np.flatnonzero(~in_scope(rows.labels) & (scores.energy >= threshold))
    order = wrong[np.argsort(-scores.energy[wrong], kind="stable")][:_LISTED]
    return [example(row, rows, scores, intents) for row in order.tolist()]


def rejected(
    rows: Rows, scores: Scores, intents: list[str], threshold: float
) -> list[tuple[str, Example]]:
    """In-scope utterances that were rejected, with their intent, the lowest energy first."""
    wrong = np.flatnonzero(in_scope(rows.labels) & (scores.energy < threshold))
    order = wrong[np.argsort(scores.energy[wrong], kind="stable")][:_LISTED]
    return [(rows.intents[row], example(row, rows, scores, intents)) for row in order.tolist()]
