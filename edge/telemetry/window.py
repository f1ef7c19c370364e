"""One window of counts: what is added while it is open, and the JSON it becomes.

What it leaves out: when a window ends, and where it goes.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edge.telemetry.bins import EDGES, SPECIAL_TOKENS, find_bin
from edge.telemetry.disclosure import name_intents

FORMAT = 1
ERRORS = (
    "bad_request",  # refused: no JSON, wrong types, blank text, an unknown path
    "too_large",  # a body, a text or a batch over its limit
    "slow_request",  # a client that did not send its request in time
    "overload",  # turned away, because enough others waited
    "deadline",  # accepted, but not answered in time
    "internal",  # the service's own fault
    "other",
)
"""The kinds of errors that are counted; any other word counts as ``other``."""
MOST_INTENTS = 4096
"""Intents that are counted apart in one window: a bound on memory, far above any model's."""
CLOCK_SET = 1_704_067_200
"""2024-01-01 in seconds: a clock before it was never set since the device was switched on."""

_confidence, _energy, _characters, _tokens, _unknown, _milliseconds = EDGES.values()


class Observed(Protocol):
    """The part of a prediction that is counted."""

    @property
    def intent(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def out_of_scope(self) -> bool: ...
    @property
    def energy(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def unknown_tokens(self) -> int: ...


@dataclass(frozen=True)
class Origin:
    """Who counts: the same in all windows of a process."""

    thing: str
    component: str
    model: str
    minimum_count: int


@dataclass(frozen=True)
class Lost:
    """Windows that the spool let go since the last one was written."""

    overflow: int = 0
    """There was no room for them, on disk or in memory."""
    damaged: int = 0
    """Their files could not be read any more."""
    refused: int = 0
    """The receiver refused them again and again; they are set aside."""

    def __bool__(self) -> bool:
        return bool(self.overflow or self.damaged or self.refused)


class Window:
    """Counts since ``started``, in seconds of the monotonic clock. Not safe for threads."""

    def __init__(self, started: float, identity: str = "") -> None:
        self.id = identity or str(uuid.uuid4())
        self.started = started
        self.utterances = 0
        self.out_of_scope = 0
        self.intents: dict[str, int] = {}
        self.unnamed = 0
        self.tokens = 0
        self.unknown_tokens = 0
        self.histograms = {name: [0] * len(edges) for name, edges in EDGES.items()}
        self.errors: dict[str, int] = {}
        self.changes = 0
        """Observations and errors: whether there is anything new to write."""

    def add(self, seen: Observed, characters: int, seconds: float) -> None:
        """Count one answered utterance."""
        histograms = self.histograms
        own = max(seen.tokens - SPECIAL_TOKENS, 1)
        # every value before any count: a prediction that is none leaves the window as it was
        places = (
            find_bin(_confidence, seen.confidence),
            find_bin(_energy, seen.energy),
            find_bin(_characters, characters),
            find_bin(_tokens, seen.tokens),
            find_bin(_unknown, seen.unknown_tokens / own),
            find_bin(_milliseconds, seconds * 1000),
        )
        for counts, place in zip(histograms.values(), places, strict=True):
            counts[place] += 1
        self.changes += 1
        self.utterances += 1
        self.tokens += seen.tokens
        self.unknown_tokens += seen.unknown_tokens
        intent = seen.intent
        if seen.out_of_scope:
            self.out_of_scope += 1
        elif intent in self.intents or len(self.intents) < MOST_INTENTS:
            self.intents[intent] = self.intents.get(intent, 0) + 1
        else:
            self.unnamed += 1

    def error(self, kind: str) -> None:
        """Count one error."""
        kind = kind if kind in ERRORS else "other"
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.changes += 1

    def copy(self) -> Window:
        """The counts as they are now, to be written while others go on being counted."""
        twin = Window(self.started, self.id)
        twin.__dict__.update(self.__dict__)
        twin.intents, twin.errors = dict(self.intents), dict(self.errors)
        twin.histograms = {name: list(counts) for name, counts in self.histograms.items()}
        return twin

    def counts(self, minimum: int) -> dict[str, Any] | None:
        """What may be told of the utterances, or None of fewer than ``minimum``.

        The bins of a single utterance, all together, would be a weak fingerprint of its text.
        """
        if self.utterances < minimum:
            return None
        intents, other = name_intents(self.intents, minimum)
        return {
            "out_of_scope": self.out_of_scope,
            "intents": intents,
            "other": other + self.unnamed,
            "token_sum": self.tokens,
            "unknown_token_sum": self.unknown_tokens,
            **self.histograms,
        }


def encode(
    window: Window,
    origin: Origin,
    *,
    sequence: int,
    now: float,
    complete: bool = True,
    lost: Lost = Lost(),
    reports: tuple[Mapping[str, str], ...] = (),
) -> bytes:
    """The window as it is kept and sent: JSON on one line.

    Args:
        window: The counts.
        origin: Who counts.
        sequence: The window's number on this device, from 1.
        now: The monotonic clock's seconds.
        complete: False for what a later writing of the same window will replace.
        lost: What happened to earlier windows.
        reports: Kind and version of updates that went wrong.
    """
    seconds = max(round(now - window.started, 3), 0.0)
    ended = time.time()
    is_set = ended >= CLOCK_SET
    value = {
        "format": FORMAT,
        "id": window.id,
        "thing": origin.thing,
        "component": origin.component,
        "model": origin.model,
        "sequence": sequence,
        "seconds": seconds,
        "complete": complete,
        "clock": "set" if is_set else "unset",
        "started": _iso(ended - seconds) if is_set else None,
        "ended": _iso(ended) if is_set else None,
        "minimum_count": origin.minimum_count,
        "utterances": window.utterances,
        "counts": window.counts(origin.minimum_count),
        "errors": dict(sorted(window.errors.items())),
        "reports": [dict(report) for report in reports],
        "lost": {"overflow": lost.overflow, "damaged": lost.damaged, "refused": lost.refused},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
