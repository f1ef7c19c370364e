"""Retraining: which events start it, what they become, and what happens to those that cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk.functions.retraining.index import Config, Drift
from tests.cdk.conftest import Synthesizer
from tests.cdk.events import RAW, created, drifted, fits
from tests.cdk.policies import Call, is_allowed, resolve
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

QUEUE = "arn:aws:sqs:eu-west-1:111111111111:slm-edge-dev-retraining-dead-letters"
FUNCTION_ROLE = "slm-edge-dev-retraining-function"


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


@pytest.fixture(scope="session")
def scheduled(synthesized: Synthesizer) -> Synthesized:
    return synthesized("prod", whole=True)


def rule(stacks: Synthesized, name: str) -> dict[str, Any]:
    [found] = [
        one["Properties"]
        for one in stacks.resources("AWS::Events::Rule").values()
        if one["Properties"]["Name"] == name
    ]
    return found


def target(stacks: Synthesized, name: str) -> dict[str, Any]:
    [found] = rule(stacks, name)["Targets"]
    return resolve(found, stacks.names)


def matches(stacks: Synthesized, name: str, event: dict[str, Any]) -> bool:
    return fits(rule(stacks, name)["EventPattern"], event)


# New data ---------------------------------------------------------------------------------


def test_no_job_writes_where_new_data_is_looked_for(whole: Synthesized) -> None:
    call = Call("s3:PutObject", f"arn:aws:s3:::{RAW}/datasets/x/manifest.json")
    for kind in ("processing", "training", "registration"):
        assert not is_allowed(call, whole.statements(kind), boundary=whole.boundary)


def test_the_function_gets_bucket_key_and_time_of_the_manifest(whole: Synthesized) -> None:
    transformer = target(whole, whole.settings.new_data_rule)["InputTransformer"]
    event = created("datasets/smart_home/manifest.json")
    text = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = event
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        text = text.replace(f"<{name}>", json.dumps(value))
    assert json.loads(text) == {
        "bucket": RAW,
        "key": "datasets/smart_home/manifest.json",
        "time": "2026-11-23T12:00:00Z",
    }


def test_an_event_that_cannot_be_delivered_is_retried_a_little_and_then_kept(
    whole: Synthesized,
) -> None:
    sent = target(whole, whole.settings.new_data_rule)
    assert sent["DeadLetterConfig"] == {"Arn": QUEUE}
    assert 0 < sent["RetryPolicy"]["MaximumRetryAttempts"] <= 5
    assert sent["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600


def test_the_rule_may_call_the_function_and_fill_the_queue(whole: Synthesized) -> None:
    permissions = whole.resources("AWS::Lambda::Permission", "training").values()
    assert len(permissions) == 2
    for permission in permissions:
        assert permission["Properties"]["Principal"] == "events.amazonaws.com"
        assert "SourceArn" in permission["Properties"]
    statements = whole.only("AWS::SQS::QueuePolicy", "training")["PolicyDocument"]["Statement"]
    fills = [one for one in statements if one["Effect"] == "Allow"]
    assert len(fills) == 2
    for fill in fills:
        assert fill["Principal"] == {"Service": "events.amazonaws.com"}
        assert "aws:SourceArn" in fill["Condition"]["ArnEquals"]


# The function -----------------------------------------------------------------------------


def test_the_function_needs_no_share_of_an_accounts_concurrency(whole: Synthesized) -> None:
    """A new account has none to spare: the deployment would fail."""
    assert "ReservedConcurrentExecutions" not in whole.only("AWS::Lambda::Function", "training")


def test_the_function_has_few_retries_and_a_dead_letter_queue(
    whole: Synthesized,
) -> None:
    function = resolve(whole.only("AWS::Lambda::Function", "training"), whole.names)
    assert function["DeadLetterConfig"] == {"TargetArn": QUEUE}
    assert whole.only("AWS::Lambda::EventInvokeConfig", "training")["MaximumRetryAttempts"] <= 2


def test_the_function_logs_into_an_encrypted_group_that_forgets(whole: Synthesized) -> None:
    group = resolve(whole.only("AWS::Logs::LogGroup", "training"), whole.names)
    function = whole.only("AWS::Lambda::Function", "training")
    assert group["KmsKeyId"] == whole.key_arn
    assert group["RetentionInDays"] == 90
    assert resolve(function["LoggingConfig"], whole.names)["LogGroup"] == group["LogGroupName"]
    assert group["LogGroupName"] == "/aws/lambda/slm-edge-dev-retraining"


def test_the_functions_environment_is_what_its_code_reads(whole: Synthesized) -> None:
    function = resolve(whole.only("AWS::Lambda::Function", "training"), whole.names)
    config = Config.of(function["Environment"]["Variables"])
    assert config.pipeline == whole.settings.pipeline_name
    assert config.bucket == RAW
    assert config.role_arn == whole.settings.role_arn("retraining")
    assert config.dead_letters_arn == QUEUE
    assert config.cool_down.total_seconds() == 60 * whole.settings.retraining.cool_down_minutes
    assert config.environment == "dev"
    assert config.drift_schedule == whole.settings.drift_rule
    assert config.drift_cool_down.total_seconds() == 72 * 3600
    assert config.automatic_approval is False
    assert function["KmsKeyArn"] == whole.key_arn


def test_the_functions_package_is_its_code_alone(whole: Synthesized) -> None:
    assets = json.loads((whole.folder / "slm-edge-dev-training.assets.json").read_text())
    [folder] = [
        whole.folder / asset["source"]["path"]
        for asset in assets["files"].values()
        if asset["source"]["packaging"] == "zip"
    ]
    assert [path.name for path in folder.rglob("*")] == ["index.py"]


SCHEDULE = "arn:aws:scheduler:eu-west-1:111111111111:schedule/slm-edge-dev/slm-edge-dev-new-data"
DRIFT_SCHEDULE = SCHEDULE.replace("new-data", "drift")
PIPELINE = "arn:aws:sagemaker:eu-west-1:111111111111:pipeline/slm-edge-dev"
RETRAINING = "arn:aws:iam::111111111111:role/slm-edge-dev-retraining"
TO_SCHEDULER = {"iam:PassedToService": "scheduler.amazonaws.com"}


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (Call("scheduler:CreateSchedule", SCHEDULE), True),
        (Call("scheduler:GetSchedule", SCHEDULE), True),
        (Call("scheduler:UpdateSchedule", SCHEDULE), True),
        (Call("scheduler:DeleteSchedule", SCHEDULE), True),
        (Call("scheduler:CreateSchedule", SCHEDULE + "-other"), False),
        (Call("scheduler:CreateSchedule", DRIFT_SCHEDULE), True),
        (Call("sagemaker:ListPipelineExecutions", PIPELINE), True),
        (Call("sagemaker:ListPipelineExecutions", PIPELINE + "-drift"), False),
        (Call("iam:PassRole", RETRAINING, TO_SCHEDULER), True),
        (Call("iam:PassRole", RETRAINING, {"iam:PassedToService": "ec2.amazonaws.com"}), False),
        (Call("iam:PassRole", RETRAINING[:-10] + "pipeline", TO_SCHEDULER), False),
        (Call("s3:GetObject", f"arn:aws:s3:::{RAW}/datasets/x/manifest.json"), True),
        (Call("s3:GetObject", f"arn:aws:s3:::{RAW}/datasets/x/utterances.jsonl"), False),
        (Call("s3:ListBucket", f"arn:aws:s3:::{RAW}", {"s3:prefix": "datasets/x/"}), True),
        (Call("s3:ListBucket", f"arn:aws:s3:::{RAW}", {"s3:prefix": ""}), False),
        (Call("sqs:SendMessage", QUEUE), True),
        (Call("sagemaker:StartPipelineExecution", PIPELINE), False),
        (
            Call(
                "logs:PutLogEvents",
                "arn:aws:logs:eu-west-1:111111111111:log-group:/aws/lambda/"
                "slm-edge-dev-retraining:log-stream:x",
            ),
            True,
        ),
    ],
)
def test_the_functions_role_may_do_what_its_code_does_and_no_more(
    whole: Synthesized, call: Call, allowed: bool
) -> None:
    statements = whole.statements_of(FUNCTION_ROLE)
    assert is_allowed(call, statements, boundary=whole.boundary) is allowed


def test_the_schedules_role_may_start_the_pipeline_and_keep_what_failed(
    whole: Synthesized,
) -> None:
    statements, boundary = whole.statements("retraining"), whole.boundary
    for pipeline, may in ((PIPELINE, True), (PIPELINE + "-drift", True), (PIPELINE + "-x", False)):
        start = Call("sagemaker:StartPipelineExecution", pipeline)
        assert is_allowed(start, statements, boundary=boundary) is may
    assert is_allowed(Call("sqs:SendMessage", QUEUE), statements, boundary=boundary)


# The queue --------------------------------------------------------------------------------


def test_the_queue_is_encrypted_with_our_key_and_reached_over_tls_alone(
    whole: Synthesized,
) -> None:
    queue = resolve(whole.only("AWS::SQS::Queue", "training"), whole.names)
    assert queue["KmsMasterKeyId"] == whole.key_arn
    assert queue["QueueName"] == whole.settings.dead_letter_queue
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    statements = whole.only("AWS::SQS::QueuePolicy", "training")["PolicyDocument"]["Statement"]
    [denied] = [one for one in statements if one["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert denied["Action"] == "sqs:*"


# The schedule -----------------------------------------------------------------------------


def test_there_is_no_periodic_schedule_in_dev(whole: Synthesized) -> None:
    assert not whole.resources("AWS::Scheduler::Schedule", "training")


def test_prod_starts_the_pipeline_periodically_with_few_retries_and_a_dead_letter_queue(
    scheduled: Synthesized,
) -> None:
    schedule = resolve(scheduled.only("AWS::Scheduler::Schedule", "training"), scheduled.names)
    assert schedule["ScheduleExpression"] == scheduled.settings.retraining.schedule
    sent = schedule["Target"]
    assert sent["Arn"] == "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution"
    assert sent["RoleArn"] == scheduled.settings.role_arn("retraining")
    assert sent["DeadLetterConfig"]["Arn"].endswith(scheduled.settings.dead_letter_queue)
    assert sent["RetryPolicy"]["MaximumRetryAttempts"] <= 5
    start = json.loads(sent["Input"])
    assert start["PipelineName"] == scheduled.settings.pipeline_name
    token = start["ClientRequestToken"].replace("<aws.scheduler.scheduled-time>", "T" * 20)
    assert 32 <= len(token) <= 128


def test_schedules_lie_in_a_group_of_their_own(scheduled: Synthesized) -> None:
    group = scheduled.only("AWS::Scheduler::ScheduleGroup")["Name"]
    assert group == scheduled.settings.schedule_group
    assert scheduled.only("AWS::Scheduler::Schedule", "training")["GroupName"] == group


NOTHING = {"on_new_data": False, "on_drift": False}


def test_with_neither_new_data_nor_drift_nor_a_schedule_there_is_nothing_that_retrains(
    synthesized: Synthesizer,
) -> None:
    off = synthesized("dev", whole=True, retraining=NOTHING, monitoring={"drift_schedule": ""})
    for kind in ("Lambda::Function", "SQS::Queue", "Scheduler::ScheduleGroup", "Logs::LogGroup"):
        assert not off.resources(f"AWS::{kind}", "training")
    assert not off.resources("AWS::Events::Rule", "training")


# Drift ------------------------------------------------------------------------------------


def test_drift_is_handed_to_the_same_function_as_it_is(whole: Synthesized) -> None:
    sent = target(whole, whole.settings.drift_rule)
    assert sent["Arn"] == target(whole, whole.settings.new_data_rule)["Arn"]
    assert not {"InputTransformer", "Input", "InputPath"} & set(sent)
    assert sent["DeadLetterConfig"] == {"Arn": QUEUE}
    assert 0 < sent["RetryPolicy"]["MaximumRetryAttempts"] <= 5


def test_the_function_takes_what_the_rule_lets_through(whole: Synthesized) -> None:
    event = drifted()
    assert matches(whole, whole.settings.drift_rule, event)
    config = Config.of(
        resolve(whole.only("AWS::Lambda::Function", "training"), whole.names)["Environment"][
            "Variables"
        ]
    )
    assert Drift.of(event, config).figures == ("out_of_scope", "energy")
