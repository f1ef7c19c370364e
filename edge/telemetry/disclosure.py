"""Which intents a window may name: the small counts, that could point at one person, are merged.

An intent that was predicted fewer than ``minimum`` times goes into ``other``. The sum of all counts
is known, so one intent alone in ``other`` could be worked out by whoever knows the model's intents,
and a small ``other`` would itself be a small count. So the next smallest intent goes there too
until ``other`` holds ``minimum`` predictions at least, which are then those of two intents or more.

What it leaves out: noise. The counts that are told are exact; differential privacy would cost the
small fleets that this is for more than it gave them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

LONGEST = 4500
"""Bytes that the named intents may take, so that a window fits a message of every nucleus: lite
takes 10,000 bytes with everything around them, encoded in base64."""


def name_intents(
    counts: Mapping[str, int], minimum: int, longest: int = LONGEST
) -> tuple[dict[str, int], int]:
    """What may be told of ``counts``.

    Args:
        counts: Predictions by intent.
        minimum: The smallest count that is told.
        longest: Bytes of JSON that the names and their counts may take.

    Returns:
        The named intents in alphabetical order with their counts, and the sum of all others.
    """
    # the largest first; among equals the name decides, which says nothing
    order = sorted(counts, key=lambda intent: (-counts[intent], intent))
    named: list[str] = []
    room = longest
    for intent in order:
        room -= len(json.dumps(intent)) + len(str(counts[intent])) + 2
        if counts[intent] < minimum or room < 0:
            break
        named.append(intent)
    other = sum(counts[intent] for intent in order[len(named) :])
    while named and 0 < other < minimum:
        other += counts[named.pop()]
    return {intent: counts[intent] for intent in sorted(named)}, other
