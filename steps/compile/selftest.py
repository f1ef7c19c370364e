"""The questions that a device asks its model before it serves: ``selftest.json``.

They are utterances of the test split with the compiled model's own answers, so that a device whose
processor, libraries or storage change an answer notices. Chosen are clear cases: the most likely
intent well ahead of the next and the energy far from the threshold, which another processor's last
digits do not turn. What it leaves out: whether the answers are right, which parity is about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.classifier import IntentClassifier
from steps.compile.parity import Reference, energy

SELFTEST = "selftest.json"
FORMAT = 1
TOLERANCE = 0.25
"""By how much an energy may differ: rounding between processors gives a few thousandths."""
CASES = 12
LEAST = 8
OUT_OF_SCOPE_CASES = 2


def build(
    classifier: IntentClassifier,
    found: NDArray[np.float32],
    reference: Reference,
    threshold: float,
) -> dict[str, Any]:
    """What stands in ``selftest.json``.

    Args:
        classifier: The compiled model, which answers one utterance at a time.
        found: Its logits, [rows, intents], of the reference's rows.
        reference: The test split.
        threshold: The energy below which an utterance is out of scope.
    """
    cases: list[dict[str, Any]] = []
    for row in choose(found, reference, threshold):
        text = reference.texts[row]
        answer = classifier.predict(text, 1)
        cases.append(
            {
                "text": text,
                "intent": answer.top[0].intent,
                "out_of_scope": answer.out_of_scope,
                "energy": round(answer.energy, 4),
            }
        )
    return {"format": FORMAT, "tolerance": TOLERANCE, "cases": cases}


def choose(found: NDArray[np.float32], reference: Reference, threshold: float) -> list[int]:
    """Rows of the test split: the clearest of some intents and two that are out of scope.

    Intents are spread evenly over all; where there are few, each gives more than one row. Fewer
    than eight rows are chosen only where the test split has no more.
    """
    order = sorted(range(len(found)), key=lambda row: (-_clearness(found[row], threshold), row))
    outside = [row for row in order if reference.labels[row] < 0][:OUT_OF_SCOPE_CASES]
    queues: dict[int, list[int]] = {}
    for row in order:
        if reference.labels[row] >= 0:
            queues.setdefault(int(reference.labels[row]), []).append(row)
    places = CASES - len(outside)
    intents = sorted(queues)
    step = max(1, len(intents) / places)
    spread = [intents[int(number * step)] for number in range(min(places, len(intents)))]
    inside = [queues[intent].pop(0) for intent in spread]
    while len(inside) + len(outside) < LEAST and any(queues[intent] for intent in spread):
        inside += [queues[intent].pop(0) for intent in spread if queues[intent]]
    return [*inside, *outside]


def _clearness(logits: NDArray[np.float32], threshold: float) -> float:
    """The smaller of the best intent's lead and of the energy's distance from the threshold."""
    second, best = np.sort(logits.astype(np.float64))[-2:]
    distance = abs(float(energy(logits[None])[0]) - threshold)
    return min(float(best - second), distance)
