from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.devices import Fleet, encode, read_outcomes
from edge.telemetry.window import Origin, Window
from edge.telemetry.window import encode as encode_on_the_device
from steps.drift.windows import MOST_BYTES, RefusedError, read_window
from tests.steps.drift.conftest import NOON, UNTIL

PATH = "device-00001/2026/11/23/x.json"


GOOD = encode(Fleet(read_outcomes(), 1, 60, np.random.default_rng(3)).windows(NOON)[0])


@pytest.fixture
def value() -> dict[str, Any]:
    """A good window."""
    return json.loads(json.dumps(GOOD))


def read(value: Any, path: str = PATH) -> Any:
    return read_window(json.dumps(value).encode(), path, UNTIL)


def test_a_window_is_read_as_the_device_writes_it() -> None:
    class Answer:
        intent, confidence, out_of_scope, energy = "lights", 0.97, False, 9.5
        tokens, unknown_tokens = 6, 1

    window = Window(0.0)
    for _ in range(7):
        window.add(Answer(), 20, 0.002)
    origin = Origin("lamp-1", "1.0.7", "7", 5)
    read = read_window(encode_on_the_device(window, origin, sequence=1, now=60.0), "", UNTIL)
    assert (read.thing, read.version, read.model) == ("lamp-1", "1.0.7", "7")
    assert (read.utterances, read.out_of_scope, read.other) == (7, 0, 0)
    assert read.intents == {"lights": 7}
    assert read.histograms == window.histograms


def test_a_window_of_too_few_utterances_tells_of_none() -> None:
    data = encode_on_the_device(Window(0.0), Origin("a", "1.0.7", "7", 5), sequence=1, now=1.0)
    assert read_window(data, "", UNTIL).histograms is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "its format is not 1"),
        ({"id": "../etc"}, "its id is missing or malformed"),
        ({"thing": None}, "its thing is missing or malformed"),
        ({"sender": "somebody-else"}, "another thing sent it"),
        ({"component": ""}, "it is of an unknown version"),
        ({"component": "<script>"}, "it is of an unknown version"),
        ({"model": "unknown"}, "it is of an unknown version"),
        ({"utterances": -1}, "its utterances is negative"),
        ({"utterances": True}, "its utterances is no whole number"),
        ({"utterances": 1e3}, "its utterances is no whole number"),
        ({"utterances": 10**15}, "its utterances is too large"),
        ({"ended": "2026-11-25T04:00:01Z"}, "it is from the future"),
        ({"ended": "9999-12-31T23:59:59-23:00"}, "its times are missing or malformed"),
        ({"ended": "yesterday"}, "its times are missing or malformed"),
        ({"started": "2026-11-23T13:00:00Z"}, "it ended before it began"),
        ({"counts": None}, "its counts are missing"),
        ({"counts": [1]}, "its counts are not an object"),
    ],
)
def test_what_cannot_be_is_refused(
    value: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    read(value)
    with pytest.raises(RefusedError) as refusal:
        read({**value, **changes})
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"out_of_scope": -1}, "its out_of_scope is negative"),
        ({"other": 1_000}, "its other is too large"),
        ({"intents": {"lights_on": -3}}, "a count of an intent is negative or is no number"),
        ({"intents": {"lights_on": 10**6}}, "its intents do not add up to its utterances"),
        ({"intents": ["lights_on"]}, "its intents are not an object of counts"),
        ({"energy": [1, 2]}, "its energy has not the bins of format 1"),
        ({"tokens": None}, "its tokens has not the bins of format 1"),
        ({"unknown_token_sum": 10**9}, "it has more unknown tokens than tokens"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(
    value: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        read({**value, "counts": {**value["counts"], **changes}})
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bins: [-bins[0] - 1, *bins[1:]], "a bin of its {} is negative"),
        (lambda bins: [*bins[:-1], bins[-1] + 1], "its {} does not add up to its utterances"),
        (lambda bins: [*bins[:-1], 0.5], "a bin of its {} is no whole number"),
    ],
)
@pytest.mark.parametrize("name", ["confidence", "energy", "milliseconds"])
def test_a_histogram_is_checked_bin_by_bin(
    value: dict[str, Any], name: str, change: Any, reason: str
) -> None:
    value["counts"][name] = change(value["counts"][name])
    with pytest.raises(RefusedError) as refusal:
        read(value)
    assert str(refusal.value) == reason.format(name)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="it is not JSON"):
        read_window(data, PATH, UNTIL)


def test_what_is_no_window_is_refused() -> None:
    with pytest.raises(RefusedError, match="it is not a JSON object"):
        read_window(b"[]", PATH, UNTIL)
    with pytest.raises(RefusedError, match="longer than"):
        read_window(b" " * (MOST_BYTES + 1), PATH, UNTIL)


def test_a_clock_that_was_never_set_gives_way_to_the_day_of_arrival(value: dict[str, Any]) -> None:
    value |= {"clock": "unset", "started": None, "ended": None}
    assert read(value, "a/2026/11/22/x.json").ended == NOON.replace(day=22)
    for path in ("x.json", "a/2026/13/41/x.json"):
        with pytest.raises(RefusedError, match="its clock was not set, and its path names no day"):
            read(value, path)


def test_a_clock_that_is_some_hours_ahead_is_no_future(value: dict[str, Any]) -> None:
    assert read({**value, "ended": "2026-11-25T03:59:59Z"}).ended > UNTIL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(data=st.data())
def test_nothing_that_arrives_ends_the_check(data: st.DataObject) -> None:
    """Any part of a good window replaced by anything: it is read, or refused with a phrase."""
    window = copy.deepcopy(GOOD)
    place = window if data.draw(st.booleans()) else window["counts"]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    with contextlib.suppress(RefusedError):
        assert read(window).utterances >= 0
