"""How long one utterance takes, from text to answer, on one thread.

What it leaves out: other runtimes; ``benchmarks/prediction.py`` measures those side by side.
"""

from __future__ import annotations

import random
import time

from edge.classifier import IntentClassifier

SAMPLE = 200
"""Utterances that are timed."""
BLOCK = 50
"""Utterances that one classifier answers before it is the next one's turn."""
WARM_UP = 10
"""Of those, asked once before they are timed."""


def measure(classifiers: dict[str, IntentClassifier], texts: list[str]) -> dict[str, object]:
    """Median and 95th percentile, in milliseconds, over a seeded sample of ``texts``.

    The classifiers take turns, so that a busy moment of the machine meets all, but in blocks: a
    device has one model, whose weights stay in the processor's caches.
    """
    chosen = random.Random(0).choices(texts, k=SAMPLE)  # noqa: S311 - a sample, no secret
    times: dict[str, list[float]] = {name: [] for name in classifiers}
    for start in range(0, SAMPLE, BLOCK):
        block = chosen[start : start + BLOCK]
        for name, classifier in classifiers.items():
            for text in block[:WARM_UP]:
                classifier.predict(text)
            for text in block:
                began = time.perf_counter()
                classifier.predict(text)
                times[name].append((time.perf_counter() - began) * 1000)
    result: dict[str, object] = {"rows": SAMPLE, "threads": 1}
    for name, values in times.items():
        ordered = sorted(values)
        result[name] = {
            "median_ms": round(ordered[len(ordered) // 2], 3),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)], 3),
        }
    return result
