"""The fixed edges of a window's histograms, and where a value falls.

Fixed, so that windows of any device, version and month can be added up, and compared by shares
with a reference that was counted with the same edges. Other edges are another ``format``.

Each tuple holds the lower edges: bin k counts edge k <= value < edge k + 1. The last bin is open
above; the first also takes what lies below its edge.
"""

from __future__ import annotations

from bisect import bisect_right

CONFIDENCE = (
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999,
)  # fmt: skip
"""Calibrated probability of the best candidate. Finer towards 1, where half of all answers are."""
ENERGY = tuple(float(edge) for edge in range(25))
"""logsumexp of the logits, in steps of 1 from "below 1" to "24 and more".

Absolute, not relative to the model's threshold: a threshold is tuned again without the model's
answers changing, and such a window would look like drift. A reference belongs to a model version
anyway, and the share of rejections is counted beside. The energies of a model of 150 intents on
CLINC150 lie between 4.7 and 19.3, those of one of 18 intents between 2.3 and 15.1."""
CHARACTERS = (0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Length of the cleaned utterance; the edges of *prepare*'s ``statistics.json``."""
TOKENS = (
    0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24, 28, 32, 40, 48, 64, 128, 256,
)  # fmt: skip
"""What the model saw, its special tokens included, cut at its ``max_length``. *prepare* counts
every length on its own; its counts add up to these bins."""
UNKNOWN = (0.0, 1e-9, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Share of an utterance's own tokens that the tokenizer does not know; the first bin is "none"."""
MILLISECONDS = (
    0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1000,
)  # fmt: skip
"""From the accepted utterance to its answer."""

SPECIAL_TOKENS = 2
"""Of every utterance's tokens: the one that begins it and the one that ends it."""

EDGES: dict[str, tuple[float, ...]] = {
    "confidence": CONFIDENCE,
    "energy": ENERGY,
    "characters": CHARACTERS,
    "tokens": TOKENS,
    "unknown": UNKNOWN,
    "milliseconds": MILLISECONDS,
}
"""By the name that a histogram has in a window."""


def find_bin(edges: tuple[float, ...], value: float) -> int:
    """The bin that counts ``value``."""
    return max(bisect_right(edges, value) - 1, 0)
