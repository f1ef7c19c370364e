"""Everything that is said of the device is measured, on the tiny model; no figure is judged."""

from __future__ import annotations

import pytest

from benchmarks import device
from benchmarks.prediction import Folders, table
from tests.benchmarks.made_up import contender


def test_every_bound_has_a_measurement(tiny_folders: Folders) -> None:
    said: list[str] = []
    found = device.run(tiny_folders, utterances=None, starts=1, say=said.append)
    assert set(found) == set(device.BOUNDS)
    assert all(value > 0 for name, value in found.items() if name != "points")
    text = "\n".join(said)
    for name in ("us: int8", "PyTorch eager", "ONNX Runtime", "scikit-learn", "serve --root"):
        assert name in text


def test_ratios_and_points_are_of_us_and_the_peer() -> None:
    us, eager, plain, svm = (
        contender("us", 1.0, right=4), contender("eager", 8.0, right=4),
        contender("plain", 3.0, right=4), contender("svm", 0.5, right=3),
    )  # fmt: skip
    found = device.compare([us, eager, plain, svm])
    assert found == {"eager": 8.0, "plain": 3.0, "svm": 0.5, "points": 25.0}
    assert "8.0" in table([us, eager])


@pytest.mark.parametrize(
    ("name", "value", "holds"),
    [("eager", 8.0, True), ("eager", 7.9, False), ("start", 0.6, True), ("start", 0.7, False)],
)
def test_a_bound_is_kept_or_missed(name: str, value: float, holds: bool) -> None:
    kept, line = device.BOUNDS[name].judge(value)
    assert kept is holds
    assert line.startswith("holds " if holds else "MISSED")
