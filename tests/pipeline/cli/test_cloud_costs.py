"""``slm costs``: the parts, the sum, the budget, and whose minutes they are."""

from __future__ import annotations

import pytest

from pipeline.settings import Settings
from tests.pipeline.cloud.pushable import write_run
from tests.pipeline.cloud.stub import Stub, ok, serve


@pytest.fixture(autouse=True)
def small_definition(monkeypatch):
    """The definition is built in seconds; here a small one stands in."""
    from tests.pipeline.cloud.emulated import definition

    monkeypatch.setattr("pipeline.cli.sources.own_definition", lambda _: definition())


def rows(output: str) -> dict[str, list[str]]:
    found = (line.split("   ") for line in output.splitlines())
    return {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in found if row}


def test_the_parts_the_sum_and_the_budget_are_shown(slm, home):
    done = slm("costs", "--home", home)
    assert done.exit_code == 0, done.output
    found = rows(done.stdout)
    assert "minutes assumed" in done.stdout
    assert found["key"][0] == "1.00"
    assert "13.0 min of ml.m5.xlarge, spot at 50% of the price (assumed)" in done.stdout
    *parts, month = (
        float(found[name][0])
        for name in ("at rest", "monitoring", "promotion", "10 executions", "a month")
    )
    assert month == pytest.approx(sum(parts), abs=0.021)
    assert found["promotion"][1] == "4 a month, assumed"
    assert found["monitoring"][1] == "with 100 devices"
    assert "of the budget of $10.00" in found["a month"][1]
    assert "above the budget" not in done.stdout


def test_a_month_above_the_budget_is_said_to_be(slm, home):
    done = slm("costs", "--home", home, "--executions", "1000")
    assert done.exit_code == 0
    assert "This is above the budget by $" in done.stdout


def test_monitoring_is_counted_part_by_part_for_the_devices_that_there_are(slm, home):
    found = rows(slm("costs", "--home", home, "--devices", "1000").stdout)
    assert found["monitoring"][1] == "with 1000 devices"
    for part in ("metrics", "alarms", "dashboard", "log lines", "windows in S3", "drift checks"):
        assert len(found[part]) == 2, part


def test_one_execution_is_one(slm, home):
    assert "1 execution " in slm("costs", "--home", home, "--executions", "1").stdout


def test_minutes_are_of_the_newest_run_of_this_machine_unless_told(slm, home):
    write_run(home)
    measured = slm("costs", "--home", home)
    assert "minutes of run abcdefghijkl of this machine" in measured.stdout
    assert "3.5 min of ml.m5.xlarge" in measured.stdout
    assert "6.0 min of ml.m5.xlarge, spot" in measured.stdout
    assumed = slm("costs", "--home", home, "--durations", "assumed")
    assert "4.0 min of ml.m5.xlarge" in assumed.stdout


def test_minutes_of_this_machine_need_a_run(slm, home):
    write_run(home, "b" * 12, status="Failed")
    done = slm("costs", "--home", home, "--durations", "local")
    assert (done.exit_code, "has succeeded without the cache" in done.stderr) == (2, True)


def test_minutes_of_the_account_are_asked_for(slm, home, monkeypatch):
    from tests.pipeline.cloud.emulated import environment

    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    arn = f"{Settings.load('dev').pipeline_arn}/execution/abcdefghijkl"
    listed = {"PipelineExecutionArn": arn, "StartTime": 1, "PipelineExecutionStatus": "Succeeded"}
    step = {"StepName": "PrepareData", "StepStatus": "Succeeded", "StartTime": 0, "EndTime": 1200,
            "Metadata": {"ProcessingJob": {"Arn": "a"}}}  # fmt: skip
    stub = Stub(
        ListPipelineExecutions=[ok(PipelineExecutionSummaries=[listed])],
        ListPipelineExecutionSteps=[ok(PipelineExecutionSteps=[step])],
    )
    with serve(stub):
        done = slm("costs", "--durations", "cloud", "--endpoint-url", stub.address)
    assert "minutes of execution abcdefghijkl in the account" in done.stdout
    assert "20.0 min of ml.m5.xlarge" in done.stdout


def test_a_machine_without_a_price_is_shown_without_one(slm, home, monkeypatch):
    from tests.pipeline.cloud.emulated import definition

    changed = definition()
    changed["Parameters"][0]["DefaultValue"] = "ml.unheard.of"
    monkeypatch.setattr("pipeline.cli.sources.own_definition", lambda _: changed)
    assert "no price" in slm("costs", "--home", home).stdout
