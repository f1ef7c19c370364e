"""Which versions the devices run: by their newest windows, and by versions that exist."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from edge.telemetry.bins import EDGES, MILLISECONDS
from steps.drift.fleet import Fleet, percentile, version_order
from steps.drift.windows import Window
from tests.steps.drift.conftest import NOON

KNOWN = {"1.0.9", "1.0.10"}


def window(
    thing: str, version: str, *, ended: datetime = NOON, bins: dict[int, int] | None = None
) -> Window:
    """A window of as many utterances as its latencies; without them it tells of none."""
    histograms = None
    if bins is not None:
        histograms = {name: [0] * len(edges) for name, edges in EDGES.items()}
        for place, count in bins.items():
            histograms["milliseconds"][place] = count
    utterances = sum((bins or {}).values())
    return Window(
        f"{thing}-{ended:%H%M}", thing, version, "7", ended, utterances, 0, histograms, {}, 0
    )


def fleet(*windows: Window) -> Fleet:
    noted = Fleet()
    for one in windows:
        noted.note(one, is_newest=True)
    return noted


def test_a_device_runs_what_its_newest_window_says_in_whatever_order_they_arrive() -> None:
    later = NOON + timedelta(hours=1)
    noted = fleet(window("a", "1.0.10", ended=later), window("a", "1.0.9"), window("b", "1.0.9"))
    found = noted.summary(KNOWN)
    assert (found["devices"], found["behind"], found["newest"]) == (2, 1, "1.0.10")
    assert [(one["version"], one["devices"]) for one in found["versions"]] == [
        ("1.0.10", 1),
        ("1.0.9", 1),
    ]


def test_versions_are_ordered_as_numbers() -> None:
    assert sorted(["1.0.10", "1.0.9", "0.9", "dev"], key=version_order) == [
        "dev", "0.9", "1.0.9", "1.0.10",
    ]  # fmt: skip


def test_a_version_that_a_device_made_up_makes_no_other_device_old() -> None:
    found = fleet(window("a", "1.0.10"), window("b", "1.0.10"), window("c", "999.0")).summary(KNOWN)
    assert found["behind"] == 0
    assert found["newest"] == "1.0.10"
    assert found["devices"] == 3


def test_after_a_roll_back_nobody_is_behind() -> None:
    later = NOON + timedelta(hours=1)
    noted = fleet(window("a", "1.0.10"), window("a", "1.0.9", ended=later), window("b", "1.0.9"))
    assert noted.summary(KNOWN)["behind"] == 0


def test_without_windows_nothing_is_claimed() -> None:
    assert Fleet().summary(KNOWN) == {
        "devices": 0,
        "behind": 0,
        "newest": "",
        "p95_milliseconds": None,
        "versions": [],
    }


def test_latency_and_utterances_are_of_the_newest_period() -> None:
    noted = fleet(window("a", "1.0.10", bins={7: 100}))
    noted.note(
        window("a", "1.0.10", ended=NOON - timedelta(days=1), bins={16: 900}), is_newest=False
    )
    [version] = noted.summary(KNOWN)["versions"]
    assert version["utterances"] == 100
    assert MILLISECONDS[7] <= version["p95_milliseconds"] <= MILLISECONDS[8]


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        ({4: 100}, 1 + 0.95 * 0.5),  # all in one bin, of 1 to 1.5 ms
        ({0: 95, 10: 5}, 0.25),  # exactly 95 of 100 in the first
        ({0: 90, 7: 10}, 3 + 0.5 * 2),  # half way into the bin of 3 to 5 ms
        ({0: 1, len(MILLISECONDS) - 1: 99}, MILLISECONDS[-1]),  # the last is open above
    ],
)
def test_the_percentile_is_spread_within_its_bin(bins: dict[int, int], expected: float) -> None:
    counts = np.zeros(len(MILLISECONDS), np.int64)
    for place, count in bins.items():
        counts[place] = count
    assert percentile(counts) == pytest.approx(expected)
