"""The estimate: every price is there and dated, and the sums are those of the table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from pipeline.cloud import costs, durations
from pipeline.cloud.prices import Prices, read_prices
from pipeline.cloud.session import Account
from pipeline.local import Execution, StepRecord
from pipeline.parameters import parameters
from pipeline.settings import Settings
from tests.pipeline.cloud.emulated import definition, environment
from tests.pipeline.cloud.stub import Stub, ok, serve

DEV = Settings.load("dev")
VALUES = {"Machine": "ml.m5.xlarge", "Epochs": 4, "Count": 1}


def defaults(built: dict) -> dict:
    return {p["Name"]: p["DefaultValue"] for p in built["Parameters"]}


def test_every_machine_that_a_parameter_offers_has_a_price():
    offered = {
        choice
        for parameter in parameters(DEV)
        if parameter.name.endswith("InstanceType")
        for choice in (*parameter.choices, parameter.default)
    }
    assert len(offered) > 10
    assert offered == set(read_prices().instance_hours)


def test_every_job_of_our_definition_has_minutes_and_a_price(ours):
    jobs = [step["Name"] for step in costs.jobs(ours["Steps"])]
    assert sorted([*jobs, "CheckDrift"]) == sorted(read_prices().minutes)
    cost = costs.execution_cost(ours, defaults(ours))
    assert [step.step for step in cost.steps] == jobs
    assert all(step.usd and step.minutes for step in cost.steps)
    assert cost.unpriced == ()


def test_the_table_is_dated_for_a_region_and_names_a_source_for_every_price():
    table = read_prices()
    assert table.date.year >= 2026
    assert table.region == DEV.region
    for price in (*table.instance_hours.values(), *table.prices.values()):
        assert len(table.sources[price.source]) > 20
    with pytest.raises(ValidationError, match="source 'hearsay' is not one of the sources"):
        Prices.model_validate(
            table.model_dump() | {"prices": {"tea": {"usd": 1, "source": "hearsay"}}}
        )


def test_a_step_costs_its_machines_minutes_and_volume():
    table = read_prices()
    [prepare, train] = costs.execution_cost(definition(), VALUES).steps
    hour, month = table.instance_hours["ml.m5.xlarge"].usd, 730
    volume = 30 * table.usd("processing_volume_gb_month") / month
    assert prepare.usd == pytest.approx(prepare.minutes / 60 * (hour + volume))
    assert (train.spot, train.minutes) == (True, 5.0 + 4 * 2.0)
    spot = hour * (1 - table.assumed("spot_discount"))
    volume = 30 * table.usd("training_volume_gb_month") / month
    assert train.usd == pytest.approx(train.minutes / 60 * (spot + volume))


def test_more_machines_epochs_and_a_dearer_machine_cost_more():
    def train(**changes):
        return costs.execution_cost(definition(), {**VALUES, **changes}).steps[1]

    assert train(Count=3).usd == pytest.approx(3 * train().usd)
    assert train(Epochs=10).minutes == 5.0 + 10 * 2.0
    assert train(Machine="ml.p4d.24xlarge").usd > 50 * train().usd


def test_a_machine_without_a_price_is_named_and_not_counted_as_free():
    cost = costs.execution_cost(definition(), {**VALUES, "Machine": "ml.unheard.of"})
    assert cost.unpriced == ("ml.unheard.of",)
    assert [step.usd for step in cost.steps] == [None, None]


def test_a_step_that_the_table_does_not_know_takes_the_assumed_minutes():
    assert costs.assumed_minutes("Unheard", {}) == read_prices().assumed("default_minutes")
    assert costs.assumed_minutes("TrainModel", {"Epochs": "four"}) == 5.0


def test_dev_at_rest_and_ten_executions_stay_below_ten_dollars(ours):
    month = costs.month_cost(DEV, costs.execution_cost(ours, defaults(ours)))
    assert month.executions == 10
    assert month.usd == pytest.approx(
        month.resting + month.watching + month.promoting + 10 * month.execution.usd
    )
    assert month.usd < month.budget == 10.0
    assert max(month.at_rest, key=lambda part: part.usd).name == "key"


def test_what_the_sum_does_not_say_is_noted(ours):
    cost = costs.execution_cost(ours, defaults(ours))
    assert costs.month_cost(DEV, cost).notes == ()
    other = DEV.model_copy(
        update={
            "region": "us-east-1",
            "network": DEV.network.model_copy(update={"subnets": ["subnet-1"]}),
            "studio": DEV.studio.model_copy(update={"enabled": True}),
            "retraining": DEV.retraining.model_copy(update={"schedule": "rate(7 days)"}),
        }
    )
    notes = " ".join(costs.month_cost(other, cost).notes)
    for word in ("us-east-1", "NAT gateway", "Studio", "rate(7 days)"):
        assert word in notes


def record(name: str, kind: str, **changes) -> StepRecord:
    return StepRecord(name, kind, name, **{"status": "Succeeded", "seconds": 60.0, **changes})


def test_a_release_costs_its_builds_and_the_minutes_of_the_delivery_pipeline():
    table = read_prices()
    builds, pipeline = costs.release_cost(table)
    small, medium, arm = (
        table.assumed(f"release_{size}_minutes") for size in ("small", "medium", "arm")
    )
    assert builds.usd == pytest.approx(
        small * table.usd("codebuild_small_minute")
        + medium * table.usd("codebuild_medium_minute")
        + arm * table.usd("codebuild_arm_minute")
    )
    minutes = small + medium + arm
    assert pipeline.usd == pytest.approx(minutes * table.usd("codepipeline_minute"))


def test_promotions_cost_transitions_beyond_those_that_are_free_and_the_calls_of_a_function():
    table = read_prices()
    count, steps = table.assumed("promotions_a_month"), table.assumed("promotion_steps")
    transitions, calls = costs.promotion_costs(table)
    entered = count * (steps * costs.STATES_A_STEP + costs.STATES_AROUND)
    beyond = max(0.0, entered - table.free.state_transitions)
    assert transitions.usd == pytest.approx(beyond / 1e3 * table.usd("state_transitions_1k"))
    seconds = count * steps * table.assumed("promotion_step_seconds")
    assert calls.usd == pytest.approx(
        seconds * costs.PROMOTION_GB * table.usd("lambda_gb_second")
        + count * steps / 1e6 * table.usd("lambda_requests_1m")
    )
    assert all(f"{count:.0f} promotions, assumed" in one.how for one in (transitions, calls))


def test_transitions_are_paid_for_once_the_free_ones_are_used_up():
    table = read_prices()
    none = table.free.model_copy(update={"state_transitions": 0})
    transitions, _ = costs.promotion_costs(table.model_copy(update={"free": none}))
    assert transitions.usd > 0


def test_minutes_of_a_local_run_leave_out_what_did_not_run():
    steps = [
        record("A", "Processing"),
        record("B", "Training", seconds=600.0),
        record("C", "Processing", cached=True),
        record("D", "Condition"),
        record("E", "Processing", status="Skipped"),
    ]
    run = Execution("a" * 12, "Succeeded", "", {}, {step.name: step for step in steps})
    start = read_prices().assumed("job_start_minutes")
    assert durations.of_local(run) == {"A": 1.0 + start, "B": 10.0 + start}
    measured = costs.execution_cost(definition(), VALUES, {"PrepareData": 60.0}).steps
    assert [step.minutes for step in measured] == [60.0, 13.0]


def test_minutes_of_an_execution_in_the_account_are_those_of_its_steps(monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    begin = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    arn = f"{DEV.pipeline_arn}/execution/abcdefghijkl"

    def step(name, seconds, **more):
        return {"StepName": name, "StepStatus": "Succeeded", "StartTime": begin,
                "EndTime": begin + seconds, "Metadata": {"ProcessingJob": {"Arn": "a"}},
                **more}  # fmt: skip

    def listed(status, name):
        return {"PipelineExecutionArn": name, "StartTime": begin, "PipelineExecutionStatus": status}

    found = [
        step("A", 300),
        step("B", 0.1, CacheHitResult={"SourcePipelineExecutionArn": arn}),
        step("C", 1, Metadata={"Condition": {"Outcome": "true"}}),
    ]
    stub = Stub(
        ListPipelineExecutions=[
            ok(PipelineExecutionSummaries=[listed("Failed", "x")], NextToken="more"),
            ok(PipelineExecutionSummaries=[listed("Succeeded", arn)]),
        ],
        ListPipelineExecutionSteps=[ok(PipelineExecutionSteps=found)],
    )
    with serve(stub):
        assert durations.of_cloud(Account(DEV, stub.address)) == ("abcdefghijkl", {"A": 5.0})
