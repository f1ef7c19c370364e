"""The function that looks for stuck executions: as deployed, and called as Lambda calls it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from cdk.functions.watch import index
from pipeline.monitoring import METRICS
from tests.cdk.policies import Call, is_allowed, resolve
from tests.cdk.synthesized import Synthesized
from tests.moto_server import reset
from tests.pipeline.cloud.stub import Stub, refused, serve

pytestmark = pytest.mark.infra

NAMESPACE = "slm-edge/dev"
PIPELINES = ("slm-edge-dev", "slm-edge-dev-drift")


@pytest.fixture
def sagemaker(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An emulated account with both pipelines; returns the client."""
    reset(endpoint)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PIPELINES": " ".join(PIPELINES),
        "STUCK_HOURS": "12",
        "NAMESPACE": NAMESPACE,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("sagemaker")
    for name in PIPELINES:
        client.create_pipeline(
            PipelineName=name, PipelineDefinition="{}", ClientRequestToken="t" * 32,
            RoleArn="arn:aws:iam::111111111111:role/slm-edge-dev-pipeline",
        )  # fmt: skip
    return client


def started(sagemaker: Any, pipeline: str, status: str, hours: float) -> str:
    """An execution that began some hours ago, in the emulator's own record of it."""
    from moto.sagemaker.models import sagemaker_backends

    arn = sagemaker.start_pipeline_execution(PipelineName=pipeline, ClientRequestToken="t" * 32)[
        "PipelineExecutionArn"
    ]
    [found] = [
        one.pipelines[pipeline]
        for regions in sagemaker_backends.values()
        for one in regions.values()
        if pipeline in one.pipelines
    ]
    execution = found.pipeline_executions[arn]
    execution.pipeline_execution_status = status
    execution.start_time -= timedelta(hours=hours)
    return arn


def published() -> list[float]:
    now = datetime.now(UTC)
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE, MetricName="StuckExecutions", Statistics=["Maximum"],
        StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=7200,
    )["Datapoints"]  # fmt: skip
    return [point["Maximum"] for point in points]


def test_executions_that_run_too_long_are_counted_and_named(sagemaker: Any, capsys: Any) -> None:
    stuck = [
        started(sagemaker, "slm-edge-dev", "Executing", 13),
        started(sagemaker, "slm-edge-dev", "Stopping", 20),
        started(sagemaker, "slm-edge-dev-drift", "Executing", 12.1),
    ]
    started(sagemaker, "slm-edge-dev", "Executing", 11.9)
    for ended in ("Succeeded", "Failed", "Stopped"):
        started(sagemaker, "slm-edge-dev", ended, 20)
    assert index.handler({}, None) == {"stuck": stuck}
    assert published() == [3]
    assert json.loads(capsys.readouterr().out) == {"stuck": stuck}


def test_where_nothing_is_stuck_that_is_published_too(sagemaker: Any) -> None:
    assert index.handler({}, None) == {"stuck": []}
    assert published() == [0]


@pytest.mark.parametrize(("code", "raises"), [("ResourceNotFound", False), ("Denied", True)])
def test_a_pipeline_that_is_not_there_has_nothing_that_is_stuck(
    sagemaker: Any, monkeypatch: pytest.MonkeyPatch, code: str, raises: bool
) -> None:
    config, now = index.Config.of(os.environ), datetime.now(UTC)
    with serve(Stub(ListPipelineExecutions=[refused(code)])) as stub:
        client = boto3.client("sagemaker", endpoint_url=stub.address)
        if raises:
            with pytest.raises(ClientError, match=code):
                list(index.find_stuck("never-deployed", client, config, now))
        else:
            assert list(index.find_stuck("never-deployed", client, config, now)) == []


def test_the_metric_is_in_the_list() -> None:
    assert [name for name, by in METRICS.items() if by == "watch function"] == [index.METRIC]


def test_the_functions_environment_is_what_its_code_reads(dev: Synthesized) -> None:
    function = resolve(dev.only("AWS::Lambda::Function", "monitoring"), dev.names)
    config = index.Config.of(function["Environment"]["Variables"])
    assert config.pipelines == PIPELINES
    assert config.namespace == dev.settings.metric_namespace
    assert config.stuck_after == timedelta(hours=dev.settings.monitoring.stuck_hours)
    assert function["KmsKeyArn"] == dev.key_arn
    assert function["LoggingConfig"]["LogGroup"] == "/aws/lambda/slm-edge-dev-watch"


def test_it_is_called_every_hour_and_by_that_rule_alone(dev: Synthesized) -> None:
    [rule] = [
        one["Properties"]
        for one in dev.resources("AWS::Events::Rule", "monitoring").values()
        if "ScheduleExpression" in one["Properties"]
    ]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    permission = dev.only("AWS::Lambda::Permission", "monitoring")
    assert permission["Principal"] == "events.amazonaws.com"
    assert "SourceArn" in permission


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sagemaker:ListPipelineExecutions", "pipeline/slm-edge-dev", True),
        ("sagemaker:ListPipelineExecutions", "pipeline/slm-edge-dev-drift", True),
        ("sagemaker:ListPipelineExecutions", "pipeline/somebody-elses", False),
        ("sagemaker:StopPipelineExecution", "pipeline/slm-edge-dev/execution/a", False),
        ("sagemaker:StartPipelineExecution", "pipeline/slm-edge-dev", False),
    ],
)
def test_its_role_looks_and_counts_and_does_nothing_else(
    dev: Synthesized, action: str, resource: str, allowed: bool
) -> None:
    statements = dev.statements_of(dev.settings.watch_role)
    call = Call(action, f"arn:aws:sagemaker:eu-west-1:111111111111:{resource}")
    assert is_allowed(call, statements, boundary=dev.boundary) is allowed
    put = Call("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": NAMESPACE})
    assert is_allowed(put, statements, boundary=dev.boundary)
