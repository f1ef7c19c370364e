"""Whether what the canary counted with a version is good enough to go on.

A version that devices gave up, or that fails requests, is stopped as soon as that is seen. The
latency and the out-of-scope rate are compared with those of the version before on the same devices,
once enough utterances were told; where there is no version before, or it told too little, that is
said and not held against the new one. A version that was trained because the one before rejected
too much is meant to reject less: its rate may lie anywhere between that of the version before and
what it rejected of its own test split, its reference. When the time is over and too little was
told, nobody knows whether the version is good: that is said, and it goes no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.cloud.promotion.windows import Counts


@dataclass(frozen=True)
class Limits:
    """From the settings' ``[promotion]``, where each is described."""

    min_utterances: int
    max_error_rate: float
    max_latency_ratio: float
    max_out_of_scope_change: float


@dataclass(frozen=True)
class Verdict:
    """What is to be done, and why."""

    kind: Literal["wait", "good", "bad"]
    words: str


def judge(
    new: Counts,
    before: Counts | None,
    limits: Limits,
    *,
    over: bool,
    expected: float | None = None,
) -> Verdict:
    """Judge a version by what was counted with it.

    Args:
        before: Of the version before; None where there was none.
        over: Whether the time to watch is over.
        expected: The out-of-scope rate of the version's reference; None where it has none.
    """
    if new.gave_up:
        return Verdict("bad", f"{new.gave_up} devices gave it up after their own trial")
    enough = new.told >= limits.min_utterances
    # one that answers nothing tells nothing, but it fails
    if new.requests >= max(1, limits.min_utterances):
        rate = new.error_rate or 0.0
        if rate > limits.max_error_rate:
            return Verdict(
                "bad", f"error rate {rate:.2%} above {limits.max_error_rate:.2%} ({_sample(new)})"
            )
    if not enough:
        if not over:
            return Verdict("wait", f"{new.told} of {limits.min_utterances} utterances")
        return Verdict(
            "bad",
            f"not enough telemetry: {new.told} of {limits.min_utterances} utterances "
            f"({_sample(new)})",
        )
    compared = list(_compare(new, before, limits, expected))
    if worse := [words for words, good in compared if not good]:
        return Verdict("bad", f"{' and '.join(worse)} ({_sample(new)})")
    return Verdict("good", ", ".join([_sample(new), *(words for words, _ in compared)]))


def _compare(
    new: Counts, before: Counts | None, limits: Limits, expected: float | None
) -> Iterator[tuple[str, bool]]:
    """Each comparison in words, and whether it is good."""
    yield f"error rate {new.error_rate or 0.0:.2%}", True  # judged before
    if before is None or not before.told or before.told < limits.min_utterances:
        told = "none" if before is None else f"{before.told} utterances"
        yield f"nothing to compare with, the version before told of {told}", True
        return
    if new.p99 is not None and before.p99 is not None:
        good = new.p99 <= before.p99 * limits.max_latency_ratio
        relation = "after" if good else f"above {limits.max_latency_ratio:g} times"
        yield f"p99 latency {new.p99:.1f} ms {relation} {before.p99:.1f} ms", good
    if new.out_of_scope_rate is not None and before.out_of_scope_rate is not None:
        usual = [before.out_of_scope_rate, *([] if expected is None else [expected])]
        room = limits.max_out_of_scope_change
        good = min(usual) - room <= new.out_of_scope_rate <= max(usual) + room
        relation = "after" if good else "too far from"
        rates = f"{new.out_of_scope_rate:.1%} {relation} {before.out_of_scope_rate:.1%}"
        if expected is not None:
            rates += f" and {expected:.1%} of its reference"
        yield f"out-of-scope rate {rates}", good


def _sample(counts: Counts) -> str:
    left_out = f", {counts.unreadable} windows left out" if counts.unreadable else ""
    devices = f"{len(counts.devices)} devices"
    return f"{counts.utterances} utterances in {counts.windows} windows of {devices}{left_out}"
