"""What a window says, and what it must not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.telemetry.bins import EDGES, find_bin
from edge.telemetry.disclosure import LONGEST, name_intents
from edge.telemetry.window import CLOCK_SET, Lost, Origin, Window, encode

ORIGIN = Origin("kitchen-1", "1.0.3", "3", minimum_count=5)


@dataclass(frozen=True)
class Answer:
    intent: str = "lights_off"
    confidence: float = 0.97
    out_of_scope: bool = False
    energy: float = 7.5
    tokens: int = 8
    unknown_tokens: int = 0


def said(window: Window, **options: Any) -> dict[str, Any]:
    return json.loads(encode(window, ORIGIN, sequence=1, now=window.started + 60, **options))


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 40), max_size=30),
    st.integers(1, 12),
)
def test_no_small_count_is_told_nor_can_be_worked_out(counts: dict[str, int], least: int) -> None:
    named, other = name_intents(counts, least)
    assert sum(named.values()) + other == sum(counts.values())
    assert all(counts[intent] == count >= least for intent, count in named.items())
    hidden = [intent for intent in counts if intent not in named]
    # what is left is large enough, and of two intents at least unless nothing had to be hidden
    assert other == 0 or other >= least or not named
    assert len(hidden) != 1 or counts[hidden[0]] >= least or not named


def test_named_intents_fit_a_message() -> None:
    counts = {f"an_intent_with_a_long_name_{number}": 10 for number in range(1000)}
    named, other = name_intents(counts, 5)
    assert len(json.dumps(named, separators=(",", ":"))) <= LONGEST + 2
    assert sum(named.values()) + other == 10_000


@given(st.floats(allow_nan=False), st.sampled_from(sorted(EDGES)))
def test_every_value_has_a_bin(value: float, name: str) -> None:
    edges = EDGES[name]
    place = find_bin(edges, value)
    assert 0 <= place < len(edges)
    assert place == 0 or edges[place] <= value
    assert place == len(edges) - 1 or value < edges[place + 1]


def test_a_window_adds_up() -> None:
    window = Window(100.0)
    for number in range(20):
        window.add(Answer(intent=f"i{number % 2}"), 30, 0.0012)
    for _ in range(6):
        window.add(Answer(out_of_scope=True, unknown_tokens=3), 12, 0.002)
    window.error("overload")
    window.error("a word that nobody counts")
    found = said(window)
    counts = found["counts"]
    assert found["utterances"] == 26
    assert counts["intents"] == {"i0": 10, "i1": 10}
    assert counts["out_of_scope"] == 6
    assert counts["other"] == 0
    assert (counts["token_sum"], counts["unknown_token_sum"]) == (26 * 8, 18)
    for name in EDGES:
        assert sum(counts[name]) == 26, name
    assert counts["milliseconds"][find_bin(EDGES["milliseconds"], 1.2)] == 20
    assert counts["unknown"][find_bin(EDGES["unknown"], 0.5)] == 6
    assert found["errors"] == {"other": 1, "overload": 1}


def test_of_too_few_utterances_nothing_but_their_number_is_told() -> None:
    window = Window(0.0)
    for _ in range(4):
        window.add(Answer(), 30, 0.001)
    found = said(window)
    assert (found["utterances"], found["counts"]) == (4, None)


def test_a_prediction_that_is_none_leaves_the_window_as_it_was() -> None:
    window = Window(0.0)
    with pytest.raises(TypeError):
        window.add(Answer(confidence=None), 30, 0.001)  # type: ignore[arg-type]
    assert (window.utterances, window.changes) == (0, 0)
    assert all(sum(counts) == 0 for counts in window.histograms.values())


def test_more_intents_than_any_model_has_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.telemetry.window.MOST_INTENTS", 3)
    window = Window(0.0)
    for number in range(10):
        for _ in range(6):
            window.add(Answer(intent=f"i{number}"), 30, 0.001)
    counts = said(window)["counts"]
    assert set(counts["intents"]) == {"i0", "i1", "i2"}
    assert counts["other"] == 42


def test_a_clock_that_was_never_set_tells_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(0.0)
    window.error("overload")
    monkeypatch.setattr("edge.telemetry.window.time.time", lambda: 12.0)
    found = said(window, lost=Lost(overflow=2))
    assert (found["clock"], found["started"], found["ended"]) == ("unset", None, None)
    assert found["lost"] == {"overflow": 2, "damaged": 0, "refused": 0}
    assert found["seconds"] == 60
    monkeypatch.setattr("edge.telemetry.window.time.time", lambda: CLOCK_SET + 60.0)
    found = said(window)
    assert (found["started"], found["ended"]) == ("2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z")
