"""The page of costs says what ``slm costs`` prints today, and its arithmetic is the table's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cloud.prices import read_prices


def test_the_page_holds_what_the_command_prints(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = CliRunner().invoke(app, ["costs", "--durations", "assumed"])
    assert done.exit_code == 0, done.output
    page = (repository / "docs" / "costs.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^\$ slm costs --durations assumed\n(.*?)^```", page, re.M | re.S)
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_a_million_free_requests_are_enough_for_the_devices_that_the_page_names(
    repository: Path,
) -> None:
    page = (repository / "docs" / "costs.md").read_text(encoding="utf-8")
    [devices] = re.findall(r"enough for some (\d+) devices", page.replace("\n", " "))
    table = read_prices()
    each = 3 * table.assumed("windows_a_day") * 30.4
    assert int(devices) == pytest.approx(table.free.metric_requests / each, rel=0.05)
