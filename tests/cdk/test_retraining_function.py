"""The function behind the rule, called as Lambda calls it, against an account over HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdk.functions.retraining import index
from tests.cdk.retraining import (
    BUCKET,
    GROUP,
    NOON,
    QUEUE,
    ROLE,
    SCHEDULE,
    STARTER,
    event,
    schedules,
    start_of,
    upload,
    waiting,
)


def test_a_manifest_lets_one_schedule_wait_that_starts_the_pipeline_on_its_dataset(account) -> None:
    before = datetime.now(UTC)
    outcome = index.handler(event(upload(account, "first")), None)
    schedule = waiting(account)
    start = start_of(schedule)
    assert outcome["done"] == "scheduled"
    assert start["PipelineName"] == "slm-edge-dev"
    assert start["PipelineParameters"] == [
        {"Name": "InputData", "Value": f"s3://{BUCKET}/datasets/first"}
    ]
    at = datetime.fromisoformat(schedule["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
    assert before + timedelta(minutes=9) < at
    assert schedule["ActionAfterCompletion"] == "DELETE"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}


def test_the_schedule_calls_the_pipeline_with_few_retries_and_a_dead_letter_queue(account) -> None:
    index.handler(event(upload(account, "first")), None)
    target = waiting(account)["Target"]
    assert target["Arn"] == STARTER
    assert target["RoleArn"] == ROLE
    assert target["DeadLetterConfig"] == {"Arn": QUEUE}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 3
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600


def test_what_the_schedule_sends_is_a_request_that_sagemaker_takes(account) -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import validate_parameters

    index.handler(event(upload(account, "first")), None)
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    shape = model.operation_model("StartPipelineExecution").input_shape
    start = start_of(waiting(account))
    validate_parameters(start, shape)
    assert 32 <= len(start["ClientRequestToken"]) <= 128


def test_ten_manifests_in_a_minute_start_one_execution_with_the_newest_data(account) -> None:
    keys = [upload(account, f"set-{number}") for number in range(10)]
    first = index.handler(event(keys[0]), None)
    for number, key in enumerate(keys[1:], start=1):
        outcome = index.handler(event(key, at=NOON + timedelta(seconds=6 * number)), None)
        assert outcome["done"] == "joined"
    assert len(schedules(account)) == 1
    assert start_of(waiting(account))["PipelineParameters"][0]["Value"].endswith("/set-9")
    at = datetime.fromisoformat(first["at"])
    assert waiting(account)["ScheduleExpression"] == f"at({at:%Y-%m-%dT%H:%M:%S})"


def test_a_manifest_that_arrives_out_of_order_does_not_replace_a_newer_one(account) -> None:
    newer, older = upload(account, "newer"), upload(account, "older")
    index.handler(event(newer, at=NOON), None)
    outcome = index.handler(event(older, at=NOON - timedelta(seconds=5)), None)
    assert outcome["done"] == "outdated"
    assert start_of(waiting(account))["PipelineParameters"][0]["Value"].endswith("/newer")


def test_an_event_that_is_delivered_twice_changes_nothing(account) -> None:
    key = upload(account, "first")
    index.handler(event(key), None)
    before = start_of(waiting(account)), waiting(account)["ScheduleExpression"]
    index.handler(event(key), None)
    assert (start_of(waiting(account)), waiting(account)["ScheduleExpression"]) == before


def test_a_schedule_that_is_due_is_replaced_so_that_its_newest_data_is_not_lost(account) -> None:
    index.handler(event(upload(account, "first")), None)
    spent = waiting(account)
    due = datetime.now(UTC) + timedelta(seconds=20)
    account["scheduler"].update_schedule(
        Name=SCHEDULE,
        GroupName=GROUP,
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Description=spent["Description"],
        Target=spent["Target"],
    )
    outcome = index.handler(event(upload(account, "second"), at=NOON + timedelta(minutes=10)), None)
    assert outcome["done"] == "scheduled"
    assert len(schedules(account)) == 1
    assert datetime.fromisoformat(outcome["at"]) > due + timedelta(minutes=5)
    assert start_of(waiting(account))["PipelineParameters"][0]["Value"].endswith("/second")


def test_two_executions_never_share_a_request_token(account, monkeypatch) -> None:
    key = upload(account, "first")
    index.handler(event(key), None)
    token = start_of(waiting(account))["ClientRequestToken"]
    account["scheduler"].delete_schedule(Name=SCHEDULE, GroupName=GROUP)
    monkeypatch.setenv("COOL_DOWN_MINUTES", "30")
    index.handler(event(key), None)
    assert start_of(waiting(account))["ClientRequestToken"] != token


@pytest.mark.parametrize(
    ("bucket", "key", "said"),
    [
        ("somebody-elses", "datasets/x/manifest.json", "lies in a foreign bucket"),
        (BUCKET, "elsewhere/x/manifest.json", "is no dataset's manifest"),
        (BUCKET, "datasets/manifest.json", "is no dataset's manifest"),
        (BUCKET, "datasets//manifest.json", "is no dataset's manifest"),
        (BUCKET, "datasets/x/other.json", "is no dataset's manifest"),
    ],
)
def test_a_manifest_under_another_bucket_or_prefix_is_refused_in_one_sentence(
    account, bucket: str, key: str, said: str
) -> None:
    with pytest.raises(index.RefusedError, match=said) as refused:
        index.handler(event(key, bucket=bucket), None)
    assert re.fullmatch(r"[^\n]+: put .*\.", str(refused.value))
    assert schedules(account) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([{"path": "missing.jsonl", "bytes": 3}], "names missing.jsonl with 3 bytes"),
        ([{"path": "utterances.jsonl", "bytes": 4}], "of another size"),
        ([{"path": "s3://foreign/utterances.jsonl", "bytes": 3}], "not in the dataset's own"),
        ([{"path": "../other/utterances.jsonl", "bytes": 3}], "not in the dataset's own"),
        ([{"file": "utterances.jsonl"}], "is not a dataset's manifest"),
    ],
)
def test_a_manifest_that_names_what_its_dataset_does_not_hold_is_refused_in_one_sentence(
    account, files: list[dict[str, Any]], said: str
) -> None:
    key = upload(account, "broken", files=files)
    with pytest.raises(index.RefusedError, match=said) as refused:
        index.handler(event(key), None)
    assert "\n" not in str(refused.value)
    assert schedules(account) == []


def test_a_manifest_that_is_gone_is_refused_in_one_sentence(account) -> None:
    with pytest.raises(index.RefusedError, match=r"is gone: upload the dataset again\."):
        index.handler(event("datasets/never/manifest.json"), None)


def test_an_event_of_something_else_is_refused_in_one_sentence(account) -> None:
    with pytest.raises(index.RefusedError, match="is not of a manifest"):
        index.handler({"detail": {}}, None)
