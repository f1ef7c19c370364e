"""What the approval shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pipeline.cloud.approving import Version
from pipeline.cloud.delivery import figures

NOW = datetime(2026, 11, 24, tzinfo=UTC)
METRICS = {"accuracy": 0.962, "out_of_scope_auroc": 0.984, "expected_calibration_error": 0.012}
NEW = Version("arn:9", "slm-edge-staging-intents", 9, "PendingManualApproval", "", NOW, METRICS, {})
OLD = replace(NEW, arn="arn:7", number=7, metrics={**METRICS, "accuracy": 0.959})
WHAT = {"commit": "0123456789abcdef" * 2 + "01234567", "sha256": "ab" * 32}


def test_each_figure_stands_beside_the_champions_with_the_difference():
    assert figures.line(NEW, OLD, **WHAT) == (
        "Version 9 of slm-edge-staging-intents; champion: version 7, approved now; "
        "accuracy 96.2% (champion 95.9%, +0.3 points); "
        "out-of-scope AUROC 0.984 (champion 0.984, +0.000); "
        "calibration error 0.012 (champion 0.012, +0.000); "
        "commit 0123456789ab; package abababababababab"
    )


def test_a_first_version_has_no_champion_and_is_not_its_own():
    for champion in (None, NEW):
        told = figures.line(NEW, champion, **WHAT)
        assert "champion: none, this would be the first; accuracy 96.2%; " in told


def test_a_version_that_nobody_measured_says_so():
    assert "nobody has measured it" in figures.line(replace(NEW, metrics={}), OLD, **WHAT)


def test_the_line_fits_into_the_approval():
    long = replace(NEW, group="g" * 2000)
    assert len(figures.line(long, OLD, **WHAT)) <= 900 < 1000
