"""What happens by the clock: the drift check, and how long logs are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters

from tests.cdk.conftest import Synthesizer
from tests.cdk.policies import Call, effect_of, is_allowed, resolve, statements_in
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

STARTER = "arn:aws:scheduler:::aws-sdk:sagemaker:startPipelineExecution"
KEEPER = "arn:aws:scheduler:::aws-sdk:cloudwatchlogs:putRetentionPolicy"
LOGS = "arn:aws:logs:eu-west-1:111111111111:log-group:"


def schedules(stacks: Synthesized) -> dict[str, dict[str, Any]]:
    return {
        one["Properties"]["Name"]: resolve(one["Properties"], stacks.names)
        for one in stacks.resources("AWS::Scheduler::Schedule", "monitoring").values()
    }


def is_taken(service: str, operation: str, given: Mapping[str, Any]) -> None:
    """Raise unless the service's own model takes the call."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    validate_parameters(given, shape)


def test_the_drift_check_is_started_daily_with_few_retries_and_a_dead_letter_queue(
    dev: Synthesized,
) -> None:
    schedule = schedules(dev)[dev.settings.drift_pipeline_name]
    target = schedule["Target"]
    assert schedule["ScheduleExpression"] == "cron(0 4 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert target["Arn"] == STARTER
    assert target["RoleArn"] == dev.settings.role_arn("retraining")
    assert target["DeadLetterConfig"]["Arn"].endswith(f":{dev.settings.dead_letter_queue}")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 5
    start = json.loads(target["Input"])
    assert start["PipelineName"] == dev.settings.drift_pipeline_name
    token = start["ClientRequestToken"].replace("<aws.scheduler.scheduled-time>", "T" * 20)
    is_taken("sagemaker", "StartPipelineExecution", start | {"ClientRequestToken": token})
    assert 32 <= len(token) <= 128


def test_its_role_may_start_the_check_and_keep_what_failed(dev: Synthesized) -> None:
    target = schedules(dev)[dev.settings.drift_pipeline_name]["Target"]
    statements = dev.statements("retraining")
    for action, resource in (
        ("sagemaker:StartPipelineExecution", dev.settings.drift_pipeline_arn),
        ("sqs:SendMessage", target["DeadLetterConfig"]["Arn"]),
    ):
        assert is_allowed(Call(action, resource), statements, boundary=dev.boundary)


def test_schedules_lie_in_the_projects_group(dev: Synthesized) -> None:
    assert {one["GroupName"] for one in schedules(dev).values()} == {dev.settings.schedule_group}


def test_the_logs_of_jobs_are_kept_for_the_days_of_the_settings(dev: Synthesized) -> None:
    found = [one["Target"] for one in schedules(dev).values() if one["Target"]["Arn"] == KEEPER]
    given = [json.loads(target["Input"]) for target in found]
    for one in given:
        is_taken("logs", "PutRetentionPolicy", {key[0].lower() + key[1:]: one[key] for key in one})
    assert {(one["LogGroupName"], one["RetentionInDays"]) for one in given} == {
        ("/aws/sagemaker/ProcessingJobs", 90),
        ("/aws/sagemaker/TrainingJobs", 90),
    }


def test_the_role_behind_it_may_set_the_retention_of_these_two_groups_and_nothing_else(
    dev: Synthesized,
) -> None:
    statements = dev.statements_of(dev.settings.schedules_role)
    for call, allowed in (
        (Call("logs:PutRetentionPolicy", f"{LOGS}/aws/sagemaker/ProcessingJobs:*"), True),
        (Call("logs:PutRetentionPolicy", f"{LOGS}/aws/sagemaker/TrainingJobs:*"), True),
        (Call("logs:PutRetentionPolicy", f"{LOGS}/aws/lambda/slm-edge-dev-watch:*"), False),
        (Call("logs:DeleteLogGroup", f"{LOGS}/aws/sagemaker/TrainingJobs:*"), False),
        (Call("logs:GetLogEvents", f"{LOGS}/aws/sagemaker/TrainingJobs:*"), False),
        (Call("sagemaker:StartPipelineExecution", dev.settings.pipeline_arn), False),
    ):
        assert is_allowed(call, statements) is allowed
        assert is_allowed(call, statements, boundary=dev.boundary) is allowed


def test_only_schedules_of_the_projects_group_act_as_that_role(dev: Synthesized) -> None:
    trust = dev.role(dev.settings.schedules_role)["AssumeRolePolicyDocument"]
    group = "arn:aws:scheduler:eu-west-1:111111111111:schedule-group/"
    for source, expected in ((f"{group}slm-edge-dev", "Allow"), (f"{group}default", None)):
        context = {"aws:SourceAccount": "111111111111", "aws:SourceArn": source}
        call = Call("sts:AssumeRole", "*", context, {"Service": "scheduler.amazonaws.com"})
        assert effect_of(call, statements_in(trust, dev.names)) == expected


def test_either_can_be_left_out(synthesized: Synthesizer) -> None:
    off = synthesized("dev", monitoring={"drift_schedule": "", "log_days": 0})
    assert schedules(off) == {}
    roles = [one["Properties"]["RoleName"] for one in off.resources("AWS::IAM::Role").values()]
    assert off.settings.schedules_role not in roles
