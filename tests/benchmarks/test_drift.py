"""The drift benchmark in small: that it runs, and that PSI is PSI."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import drift
from benchmarks.devices import Fleet, Shift, count, draw_reference, read_outcomes


def test_psi_grows_with_a_shift_and_with_a_smaller_sample() -> None:
    outcomes = read_outcomes()
    generator = np.random.default_rng(3)
    reference = draw_reference(outcomes["test"], generator, 5000)
    fleet = Fleet(outcomes, 200, 30, generator)
    calm = drift.psi(reference, count(reference, fleet.windows(drift.NOON)))
    shifted = fleet.windows(drift.NOON, shift=Shift(0.5, "new"))
    few = Fleet(outcomes, 4, 15, generator).windows(drift.NOON)
    assert drift.psi(reference, count(reference, shifted)) > 0.25
    assert calm < 0.05
    assert drift.psi(reference, count(reference, few)) > 3 * calm


def test_a_sweep_prints_its_points_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = argparse.Namespace(
        panels=["new:263"], shares=[0.5], devices=[30], tries=1, periods=2,
        json=tmp_path / "points.json", picture=tmp_path / "delay.svg",
    )  # fmt: skip
    drift.sweep(given)
    (point,) = json.loads(given.json.read_text())
    assert (point["delays"], point["false_alarms"]) == ([1], 0.0)
    assert "new          263    50%       30" in capsys.readouterr().out
    picture = given.picture.read_text()
    assert "share of utterances that shift" in picture
    drift.draw([drift.Point(**point)], 2, given.picture)
    assert given.picture.read_text() == picture


def test_scale_counts_every_window_that_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    drift.scale(argparse.Namespace(devices=1500))
    said = capsys.readouterr().out
    assert "1,500 windows written" in said
    assert "1,500 read, 0 in quarantine" in said
