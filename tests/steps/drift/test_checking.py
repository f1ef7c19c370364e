"""The check on simulated devices that answer as the demo's model did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.devices import Fleet, Outcomes, Shift, count, draw_reference
from steps.drift import distance
from steps.drift.checking import check_cell
from steps.drift.config import DriftConfig
from steps.drift.figures import FIGURES, figures_of
from steps.drift.references import Reference
from steps.drift.windows import Window
from tests.steps.drift.conftest import NOON, config

DAILY = distance.alpha(config("", "").checks_per_quarter, len(FIGURES))
"""What ships: one version, checked once a day."""


@pytest.fixture
def fleet(outcomes: dict[str, Outcomes]) -> Callable[..., Fleet]:
    def make(devices: int = 50, utterances: float = 30, seed: int = 11) -> Fleet:
        return Fleet(outcomes, devices, utterances, np.random.default_rng(seed))

    return make


def check(reference: Reference, windows: list[Window], alpha: float = DAILY) -> dict[str, Any]:
    return check_cell(count(reference, windows), settings(), alpha)


def settings(**changes: Any) -> DriftConfig:
    return config("", "", **changes)


def drifted(result: dict[str, Any]) -> set[str]:
    return {figure["name"] for figure in result["figures"] if figure["status"] == "drift"}


def test_two_hundred_windows_without_a_shift_raise_two_alarms_at_most(
    outcomes: dict[str, Outcomes],
) -> None:
    """Two fleets of fifty devices that differ, a hundred days each, each with a reference of its
    own: what the devices and the test split have by chance stays with them."""
    alarms: list[set[str]] = []
    for seed in range(2):
        generator = np.random.default_rng(seed)
        reference = draw_reference(outcomes["test"], generator, 263)
        devices = Fleet(outcomes, 50, 30, generator)
        for _ in range(100):
            result = check(reference, devices.windows(NOON))
            assert result["status"] in ("drift", "no drift")
            alarms.append(drifted(result))
    assert len(alarms) == 200
    assert sum(bool(one) for one in alarms) <= 2


@pytest.mark.parametrize(
    ("shift", "figure"),
    [
        (Shift(0.5, "new"), "out_of_scope"),
        (Shift(0.6, "typos"), "tokens"),
    ],
)
def test_a_shift_is_seen_within_two_windows(
    fleet: Callable[..., Fleet], reference: Reference, shift: Shift, figure: str
) -> None:
    devices = fleet()
    assert check(reference, devices.windows(NOON))["status"] == "no drift"
    seen = [drifted(check(reference, devices.windows(NOON, shift=shift))) for _ in range(2)]
    assert figure in seen[0] | seen[1]


def test_other_intents_are_seen_where_windows_name_them(
    fleet: Callable[..., Fleet], reference: Reference
) -> None:
    """Half of all that is asked becomes one intent; every figure but *intents* could miss that."""
    devices = fleet(utterances=120)
    before = check(reference, devices.windows(NOON, size=120))
    windows = [moved(window, "timer_set", 0.5) for window in devices.windows(NOON, size=120)]
    after = check(reference, windows)
    assert "intents" not in drifted(before)
    assert drifted(after) == {"intents"}
    found = next(one for one in after["figures"] if one["name"] == "intents")
    assert "timer_set" in found["message"]


def moved(window: Window, intent: str, share: float) -> Window:
    """The same window with a share of every other intent's count under ``intent``."""
    intents = {name: round(number * (1 - share)) for name, number in window.intents.items()}
    other = round(window.other * (1 - share))
    inside = window.utterances - window.out_of_scope
    rest = inside - other - sum(number for name, number in intents.items() if name != intent)
    return Window(
        window.id, window.thing, window.version, window.model, window.ended, window.utterances,
        window.out_of_scope, window.histograms, {**intents, intent: rest}, other,
    )  # fmt: skip


def test_one_noisy_device_among_a_thousand_raises_no_alarm(
    fleet: Callable[..., Fleet], reference: Reference
) -> None:
    """It sends a hundred thousand answers, all out of scope, with no energy at all."""
    windows = fleet(1000, 15).windows(NOON)
    quiet = check(reference, windows)
    noisy = check(reference, [*windows, noise(windows[0], "noisy", 100_000)])
    assert quiet["status"] == noisy["status"] == "no drift"
    assert noisy["cut_down_devices"] == quiet["cut_down_devices"] + 1
    assert noisy["utterances"] == quiet["utterances"] + 100_000
    assert noisy["counted_utterances"] < quiet["counted_utterances"] * 1.01
    # the same from every device is drift
    everywhere = [noise(window, window.thing, window.utterances) for window in windows]
    assert {"out_of_scope", "energy"} < drifted(check(reference, everywhere))


def noise(window: Window, thing: str, utterances: int) -> Window:
    histograms = window.histograms or {}
    lowest = {name: [utterances, *[0] * (len(bins) - 1)] for name, bins in histograms.items()}
    return Window(
        "noise-" + thing, thing, window.version, window.model, window.ended, utterances,
        utterances, lowest, {}, 0,
    )  # fmt: skip


def test_too_small_a_sample_says_what_is_missing(
    fleet: Callable[..., Fleet], reference: Reference
) -> None:
    few = check(reference, fleet(10, 12).windows(NOON))
    assert few["status"] == "not enough"
    assert few["message"].startswith("not enough utterances: ")
    assert few["message"].endswith(" of 200")
    assert few["figures"] == []
    one = check(reference, fleet(2, 500).windows(NOON))
    assert "devices: 2 of 5" in one["message"]
    assert check(reference, [])["message"] == "not enough utterances: 0 of 200, devices: 0 of 5"


def test_small_windows_name_too_few_intents_and_that_is_said(
    fleet: Callable[..., Fleet], reference: Reference
) -> None:
    result = check(reference, fleet().windows(NOON, size=8))
    intents = next(one for one in result["figures"] if one["name"] == "intents")
    assert intents["status"] == "not enough"
    assert intents["message"].endswith("longer windows name more")
    assert result["status"] == "no drift"
    assert result["message"] == "5 figures within their thresholds"


def test_bins_are_grouped_until_each_holds_enough_of_the_reference(reference: Reference) -> None:
    for figure in figures_of(reference):
        assert sum(figure.reference) == figure.utterances
        positions = np.concatenate(figure.groups)
        assert len(positions) == len(set(positions.tolist()))
        if figure.name not in ("unknown", "out_of_scope"):
            assert min(figure.reference) >= 5
            assert 3 < len(figure.groups) <= 50
    intents = figures_of(reference)[0]
    assert intents.utterances == reference.utterances - reference.out_of_scope


def test_the_result_does_not_depend_on_the_order_of_windows(
    fleet: Callable[..., Fleet], reference: Reference
) -> None:
    windows = fleet().windows(NOON)
    assert check(reference, windows) == check(reference, windows[::-1])
