"""The retraining function and drift: once, on the newest data, and not again for some days."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdk.functions.retraining import index
from tests.cdk.retraining import (
    BUCKET,
    DRIFT_SCHEDULE,
    QUEUE,
    SCHEDULE,
    event,
    schedules,
    start_of,
    upload,
    waiting,
)


def drift(version: str = "1.0.3", **detail: Any) -> dict[str, Any]:
    """What the drift check tells EventBridge."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "source": "slm-edge",
        "detail-type": "Model Drift Detected",
        "account": "111111111111",
        "time": "2026-11-24T04:05:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "environment": "dev",
            "pipeline": "slm-edge-dev",
            "modelPackageGroup": "slm-edge-dev-intents",
            "component": "slm.edge.IntentModel",
            "version": version,
            "period": {"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"},
            "utterances": 4210,
            "figures": [
                {"name": "out_of_scope", "statistic": 0.21, "threshold": 0.04},
                {"name": "energy", "statistic": 0.32, "threshold": 0.1},
            ],
            "report": "s3://slm-pipeline-artifacts-dev/executions/abc/CheckDrift/drift/drift.html",
        }
        | detail,
    }


def started(account: Any, description: str, *, status: str = "Executing", hours: float = 1) -> str:
    """An execution that began some hours ago, in the emulator's own record of it."""
    from moto.sagemaker.models import sagemaker_backends

    arn = account["sagemaker"].start_pipeline_execution(
        PipelineName="slm-edge-dev", PipelineExecutionDescription=description,
        ClientRequestToken="t" * 32,
    )["PipelineExecutionArn"]  # fmt: skip
    [backend] = [
        one
        for regions in sagemaker_backends.values()
        for region, one in regions.items()
        if region == "eu-west-1" and "slm-edge-dev" in one.pipelines
    ]
    execution = backend.pipelines["slm-edge-dev"].pipeline_executions[arn]
    execution.pipeline_execution_status = status
    execution.start_time -= timedelta(hours=hours)
    return arn


def test_drift_starts_the_pipeline_soon_on_the_dataset_whose_manifest_is_newest(account) -> None:
    for name in ("older", "newest"):
        upload(account, name)
        time.sleep(1.1)  # the store's times have whole seconds
    account["s3"].put_object(Bucket=BUCKET, Key="datasets/unfinished/utterances.jsonl", Body=b"{}")
    account["s3"].put_object(Bucket=BUCKET, Key="datasets/a/b/manifest.json", Body=b"{}")
    before = datetime.now(UTC)
    outcome = index.handler(drift(), None)
    schedule = waiting(account, DRIFT_SCHEDULE)
    start = start_of(schedule)
    assert outcome["done"] == "scheduled"
    assert start["PipelineName"] == "slm-edge-dev"
    assert start["PipelineParameters"] == [
        {"Name": "InputData", "Value": f"s3://{BUCKET}/datasets/newest"}
    ]
    assert start["PipelineExecutionDescription"] == (
        "Drift: out_of_scope, energy of slm.edge.IntentModel 1.0.3; "
        "s3://slm-pipeline-artifacts-dev/executions/abc/CheckDrift/drift/drift.html"
    )
    at = datetime.fromisoformat(schedule["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
    assert before < at < before + timedelta(minutes=5)
    assert outcome["at"] == at.isoformat()
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": QUEUE}
    assert 32 <= len(start["ClientRequestToken"]) <= 128


def test_drift_of_several_versions_starts_one_execution(account) -> None:
    upload(account, "first")
    assert index.handler(drift(), None)["done"] == "scheduled"
    before = waiting(account, DRIFT_SCHEDULE)["ScheduleExpression"]
    outcomes = [index.handler(drift(f"1.0.{number}"), None) for number in range(5)]
    assert {outcome["done"] for outcome in outcomes} == {"joined"}
    assert len(schedules(account)) == 1
    assert waiting(account, DRIFT_SCHEDULE)["ScheduleExpression"] == before
    assert f"at({datetime.fromisoformat(outcomes[0]['at']):%Y-%m-%dT%H:%M:%S})" == before


def test_drift_and_new_data_wait_beside_each_other(account) -> None:
    index.handler(event(upload(account, "first")), None)
    index.handler(drift(), None)
    assert {one["Name"] for one in schedules(account)} == {SCHEDULE, DRIFT_SCHEDULE}
    tokens = {start_of(waiting(account, name))["ClientRequestToken"]
              for name in (SCHEDULE, DRIFT_SCHEDULE)}  # fmt: skip
    assert len(tokens) == 2


@pytest.mark.parametrize(
    ("description", "status", "hours", "done"),
    [
        ("Drift: energy of x 1", "Executing", 1, "cooling down"),
        ("Drift: energy of x 1", "Succeeded", 71, "cooling down"),
        ("Drift: energy of x 1", "Stopped", 1, "cooling down"),
        ("Drift: energy of x 1", "Failed", 1, "scheduled"),
        ("Drift: energy of x 1", "Succeeded", 73, "scheduled"),
        ("New data in s3://bucket/datasets/Drift:", "Succeeded", 1, "scheduled"),
        ("Scheduled: rate(7 days)", "Executing", 1, "scheduled"),
    ],
)
def test_further_drift_waits_for_the_cool_down_of_an_execution_that_did_not_fail(
    account, capsys, description: str, status: str, hours: float, done: str
) -> None:
    upload(account, "first")
    arn = started(account, description, status=status, hours=hours)
    outcome = index.handler(drift(), None)
    assert outcome["done"] == done
    assert len(schedules(account)) == (1 if done == "scheduled" else 0)
    if done == "cooling down":
        assert outcome["because"] == arn
        assert arn in capsys.readouterr().out


@pytest.mark.parametrize("automatic", [True, False])
def test_only_where_the_settings_say_so_a_model_after_drift_needs_no_person(
    account, monkeypatch, automatic: bool
) -> None:
    monkeypatch.setenv("AUTOMATIC_APPROVAL", "yes" if automatic else "no")
    upload(account, "first")
    index.handler(drift(), None)
    given = {
        one["Name"]: one["Value"]
        for one in start_of(waiting(account, DRIFT_SCHEDULE))["PipelineParameters"]
    }
    assert given.get("ModelApprovalStatus") == ("Approved" if automatic else None)
    index.handler(event("datasets/first/manifest.json"), None)  # new data has a person approve
    assert len(start_of(waiting(account))["PipelineParameters"]) == 1


def test_drift_without_a_dataset_is_refused_in_one_sentence(account) -> None:
    with pytest.raises(index.RefusedError, match=r"holds no dataset .*: upload one") as refused:
        index.handler(drift(), None)
    assert "\n" not in str(refused.value)
    assert schedules(account) == []


def test_drift_is_not_trained_away_on_a_dataset_that_is_not_whole(account) -> None:
    upload(account, "broken", files=[{"path": "missing.jsonl", "bytes": 3}])
    with pytest.raises(index.RefusedError, match=r"names missing\.jsonl with 3 bytes"):
        index.handler(drift(), None)
    assert schedules(account) == []


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({"environment": "prod"}, "is of prod and slm-edge-dev"),
        ({"pipeline": "slm-edge-dev-drift"}, "is of dev and slm-edge-dev-drift"),
        ({"figures": [{"statistic": 1}]}, "is not of drift"),
        ({"figures": None}, "is not of drift"),
    ],
)
def test_drift_of_something_else_is_refused_in_one_sentence(
    account, detail: dict[str, Any], said: str
) -> None:
    upload(account, "first")
    with pytest.raises(index.RefusedError, match=said):
        index.handler(drift(**detail), None)
    assert schedules(account) == []


def test_the_event_has_the_name_that_the_rule_looks_for() -> None:
    from pipeline.monitoring import DRIFT_EVENT

    assert index.DRIFT_DETECTED == DRIFT_EVENT
