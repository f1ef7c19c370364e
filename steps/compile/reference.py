"""What devices are compared with later: ``reference.json``, the test split as a device counts it.

Each utterance of the test split is asked of the compiled model, one by one, and counted by the
device's own code (edge/telemetry): the same bins, the same shares. It lies beside the model and
outside the component, so that a device carries none of it and a component's bytes do not depend on
it. What it leaves out: latency, which is this machine's, and any text.
"""

from __future__ import annotations

from typing import Any

from edge.classifier import IntentClassifier
from edge.cleaning import clean
from edge.telemetry.bins import EDGES
from edge.telemetry.window import FORMAT as WINDOW_FORMAT
from edge.telemetry.window import Window
from steps.compile.parity import Reference

REFERENCE = "reference.json"
FORMAT = 1
TIMED = "milliseconds"


def build(classifier: IntentClassifier, reference: Reference, model_version: str) -> dict[str, Any]:
    """What stands in ``reference.json``; the same model and split give the same bytes.

    Unlike a window it names every intent that was predicted, however seldom: the test split is no
    person's, and what is drawn from few utterances is known better when their number is.
    """
    window = Window(0.0)
    for text in reference.texts:
        window.add(classifier.predict(text, 1), len(clean(text)), 0.0)
    counts = window.counts(1)
    if counts is None:  # there is an utterance in scope, parity has made sure of it
        raise ValueError("the test split is empty")
    counts |= {"intents": dict(sorted(window.intents.items())), "other": window.unnamed}
    del counts[TIMED]
    return {
        "format": FORMAT,
        "window_format": WINDOW_FORMAT,
        "model_version": model_version,
        "utterances": window.utterances,
        "counts": counts,
        "edges": {name: list(edges) for name, edges in EDGES.items() if name != TIMED},
        "intents": sorted(classifier.intents),
    }
