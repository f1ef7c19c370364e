"""One device's window, read and checked: nothing is counted that does not add up.

What devices send is input from outside: a file may be half a file, a number negative, a clock
wrong, a sum not the sum. Each such window is refused whole, with its reason. What it leaves out:
duplicates, versions and whether a reference knows the window's intents, which take more than one
window to tell (:mod:`steps.drift.adding`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.telemetry.bins import EDGES
from edge.telemetry.window import FORMAT, MOST_INTENTS
from steps.drift.config import parse_time

MOST_BYTES = 262_144
"""A window takes some 2,000 bytes; one of IoT Core's messages at most 131,072."""
MOST_UTTERANCES = 100_000_000
"""In one window, which lasts a week at most: no device answers more."""
FUTURE = timedelta(days=1)
"""How far a device's clock may be ahead."""
HISTOGRAMS = tuple(EDGES)

_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_THING = re.compile(r"[A-Za-z0-9:_.-]{1,128}")
_DAY = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/[^/]*$")


class RefusedError(Exception):
    """A window that is not counted: a phrase that says why, which holds nothing of its content."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one window says; ``counts`` is None where it told of too few utterances."""

    id: str
    thing: str
    version: str
    model: str
    ended: datetime
    utterances: int
    out_of_scope: int
    histograms: dict[str, list[int]] | None
    intents: dict[str, int]
    other: int


def read_window(data: bytes, path: str, now: datetime) -> Window:
    """Read and check one window.

    Args:
        data: The file, or the line of it.
        path: Where it lay: its folders may say on which day it arrived.
        now: A window that ended more than a day later is from the future.

    Raises:
        RefusedError: It is not counted, and why.
    """
    value = _object(data)
    if value.get("format") != FORMAT:
        raise RefusedError(f"its format is not {FORMAT}")
    identity = _text(value, "id", _ID)
    thing = _text(value, "thing", _THING)
    if "sender" in value and value["sender"] != thing:
        raise RefusedError("another thing sent it")
    version, model = (_text(value, key, _VERSION) for key in ("component", "model"))
    if model == "unknown":
        raise RefusedError("it is of an unknown version")
    utterances = _count(value, "utterances", MOST_UTTERANCES)
    ended = _ended(value, path)
    if ended > now + FUTURE:
        raise RefusedError("it is from the future")
    minimum = _count(value, "minimum_count", MOST_UTTERANCES)
    counts = value.get("counts")
    if counts is None:
        if utterances >= max(minimum, 1):
            raise RefusedError("its counts are missing")
        return Window(identity, thing, version, model, ended, utterances, 0, None, {}, 0)
    if not isinstance(counts, dict):
        raise RefusedError("its counts are not an object")
    return _counted(identity, thing, version, model, ended, utterances, counts)


def _counted(
    identity: str,
    thing: str,
    version: str,
    model: str,
    ended: datetime,
    utterances: int,
    counts: dict[str, Any],
) -> Window:
    histograms: dict[str, list[int]] = {}
    for name in HISTOGRAMS:
        histograms[name] = _histogram(counts.get(name), name, utterances)
    outside, other = (_count(counts, key, utterances) for key in ("out_of_scope", "other"))
    intents = counts.get("intents")
    if not isinstance(intents, dict) or len(intents) > MOST_INTENTS:
        raise RefusedError("its intents are not an object of counts")
    if not all(type(count) is int and count >= 0 for count in intents.values()):
        raise RefusedError("a count of an intent is negative or is no number")
    if sum(intents.values()) + other + outside != utterances:
        raise RefusedError("its intents do not add up to its utterances")
    tokens = _count(counts, "token_sum", 10**12)
    if _count(counts, "unknown_token_sum", 10**12) > tokens:
        raise RefusedError("it has more unknown tokens than tokens")
    return Window(
        identity, thing, version, model, ended, utterances, outside, histograms, intents, other
    )


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise RefusedError(f"it is longer than {MOST_BYTES:,} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise RefusedError("it is not JSON") from None
    if not isinstance(value, dict):
        raise RefusedError("it is not a JSON object")
    return value


def _text(value: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not pattern.fullmatch(text):
        if key in ("component", "model"):
            raise RefusedError("it is of an unknown version")
        raise RefusedError(f"its {key} is missing or malformed")
    return text


def _count(value: dict[str, Any], key: str, most: int) -> int:
    number = value.get(key)
    if type(number) is not int:  # true and false are integers to Python
        raise RefusedError(f"its {key} is no whole number")
    if number < 0:
        raise RefusedError(f"its {key} is negative")
    if number > most:
        raise RefusedError(f"its {key} is too large")
    return number


def _histogram(counts: Any, name: str, utterances: int) -> list[int]:
    if not isinstance(counts, list) or len(counts) != len(EDGES[name]):
        raise RefusedError(f"its {name} has not the bins of format {FORMAT}")
    if not all(type(count) is int for count in counts):
        raise RefusedError(f"a bin of its {name} is no whole number")
    if min(counts) < 0:
        raise RefusedError(f"a bin of its {name} is negative")
    if sum(counts) != utterances:
        raise RefusedError(f"its {name} does not add up to its utterances")
    return counts


def _ended(value: dict[str, Any], path: str) -> datetime:
    """When the window ended, by the device's clock, or by the day of its arrival if that was not
    set."""
    if value.get("clock") == "unset":
        day = _DAY.search(path)
        if day is None:
            raise RefusedError("its clock was not set, and its path names no day")
        try:
            year, month, number = (int(part) for part in day.groups())
            return datetime(year, month, number, 12, tzinfo=UTC)
        except ValueError:
            raise RefusedError("its clock was not set, and its path names no day") from None
    try:
        started, ended = parse_time(value["started"]), parse_time(value["ended"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise RefusedError("its times are missing or malformed") from None
    if ended < started:
        raise RefusedError("it ended before it began")
    return ended
