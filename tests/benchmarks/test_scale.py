"""The arithmetic of docs/scale.md: the page shows what the program prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import scale
from cdk.edge.telemetry import METRICS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_shows_what_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main()
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert f"$ python -m benchmarks.scale\n{capsys.readouterr().out}```" in page


def test_it_counts_with_the_actions_that_the_rule_has() -> None:
    assert len(METRICS) == scale.METRIC_ACTIONS


def test_it_counts_with_what_was_measured() -> None:
    sizing = (DOCS / "sizing.md").read_text(encoding="utf-8")
    assert f"| the zip with its wheels | {scale.COMPONENT_MB} |" in sizing
    results = (DOCS / "results.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^\| prepare \| ([\d,]+) \| ([\d.]+) \| [\d.]+ \| ([\d.]+) \|", results, re.M
    )
    assert found[0] == ("1,000,000", str(scale.PREPARE_SECONDS), str(scale.PREPARE_GB[0]))
    assert found[1][2] == str(scale.PREPARE_GB[1])


def test_each_step_of_a_price_is_paid_at_its_own() -> None:
    assert scale.staircase(75, scale.OUT_TB) == 10 * 90 + 40 * 85 + 25 * 70
    assert scale.staircase(5, scale.OUT_TB) == 450
