"""An emulated account as the stack leaves it for the retraining function, and what lies in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from tests.moto_server import reset, running

BUCKET = "slm-intents-raw-dev-111111111111-eu-west-1"
GROUP, SCHEDULE = "slm-edge-dev", "slm-edge-dev-new-data"
DRIFT_SCHEDULE = "slm-edge-dev-drift"
ROLE = "arn:aws:iam::111111111111:role/slm-edge-dev-retraining"
QUEUE = "arn:aws:sqs:eu-west-1:111111111111:slm-edge-dev-retraining-dead-letters"
STARTER = "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def account(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    """An emulated account as the stack leaves it; returns boto3 clients by service."""
    reset(endpoint)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PIPELINE": "slm-edge-dev",
        "BUCKET": BUCKET,
        "PREFIX": "datasets",
        "SCHEDULE": SCHEDULE,
        "SCHEDULE_GROUP": GROUP,
        "STARTER": STARTER,
        "ROLE_ARN": ROLE,
        "DEAD_LETTERS_ARN": QUEUE,
        "COOL_DOWN_MINUTES": "10",
        "ENVIRONMENT": "dev",
        "DRIFT_SCHEDULE": DRIFT_SCHEDULE,
        "DRIFT_COOL_DOWN_HOURS": "72",
        "AUTOMATIC_APPROVAL": "no",
    }.items():
        monkeypatch.setenv(name, value)
    clients = {service: boto3.client(service) for service in ("s3", "scheduler", "sagemaker")}
    clients["s3"].create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    clients["scheduler"].create_schedule_group(Name=GROUP)
    clients["sagemaker"].create_pipeline(
        PipelineName="slm-edge-dev",
        PipelineDefinition="{}",
        RoleArn=ROLE,
        ClientRequestToken="t" * 32,
    )
    return clients


def upload(account: Any, name: str, *, files: list[dict[str, Any]] | None = None) -> str:
    """Put a dataset with its manifest; returns the manifest's key."""
    folder = f"datasets/{name}"
    account["s3"].put_object(Bucket=BUCKET, Key=f"{folder}/utterances.jsonl", Body=b"{}\n")
    manifest = {"format": 1, "files": files or [{"path": "utterances.jsonl", "bytes": 3}]}
    key = f"{folder}/manifest.json"
    account["s3"].put_object(Bucket=BUCKET, Key=key, Body=json.dumps(manifest).encode())
    return key


def event(key: str, *, at: datetime = NOON, bucket: str = BUCKET) -> dict[str, str]:
    return {"bucket": bucket, "key": key, "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def schedules(account: Any) -> list[dict[str, Any]]:
    return account["scheduler"].list_schedules(GroupName=GROUP)["Schedules"]


def waiting(account: Any, name: str = SCHEDULE) -> dict[str, Any]:
    return account["scheduler"].get_schedule(Name=name, GroupName=GROUP)


def start_of(schedule: dict[str, Any]) -> dict[str, Any]:
    return json.loads(schedule["Target"]["Input"])
