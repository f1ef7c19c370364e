"""How long one utterance takes, from text to answer, on one thread.

What it leaves out: other runtimes; ``benchmarks/prediction.py`` measures those side by side.
"""

from __future__ import annotations

import random
import time

from edge.classifier import IntentClassifier

SAMPLE = 200
"""Utterances that are timed."""
WARM_UP = 20


def measure(classifiers: dict[str, IntentClassifier], texts: list[str]) -> dict[str, object]:
    """Median and 95th percentile, in milliseconds, over a seeded sample of ``texts``.

    The classifiers take turns at each utterance, so that a busy moment of the machine meets all.
    """
    chosen = random.Random(0).choices(texts, k=SAMPLE)  # noqa: S311 - a sample, no secret
    times: dict[str, list[float]] = {name: [] for name in classifiers}
    for index, text in enumerate([*chosen[:WARM_UP], *chosen]):
        for name, classifier in classifiers.items():
            start = time.perf_counter()
            classifier.predict(text)
            elapsed = (time.perf_counter() - start) * 1000
            if index >= WARM_UP:
                times[name].append(elapsed)
    result: dict[str, object] = {"rows": SAMPLE, "threads": 1}
    for name, values in times.items():
        ordered = sorted(values)
        result[name] = {
            "median_ms": round(ordered[len(ordered) // 2], 3),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)], 3),
        }
    return result
