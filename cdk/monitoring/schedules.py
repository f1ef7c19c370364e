"""What happens by the clock: the drift check, and the retention of SageMaker's log groups.

**The drift check** is an execution of its own pipeline. What cannot be started waits with the other
dead letters of retraining.

**Retention.** SageMaker makes the log groups of jobs by itself, when an account runs its first job,
and keeps what is in them for good. CloudFormation could only make them first, and would fail where
they are there already. A schedule that calls PutRetentionPolicy once a week succeeds as soon as
there is something to succeed with, needs no code, and finds the same state however often it runs.
The groups belong to the whole account: ``monitoring.log_days = 0`` leaves them alone.

Leaves out: the log groups of our own functions, which say themselves how long they keep.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from cdk.roles.names import Names
from cdk.roles.statements import allow
from cdk.roles.trust import scheduler as the_scheduler
from cdk.training.retraining import MAX_AGE, RETRIES, start_target
from pipeline.settings import Settings

LOG_GROUPS = {
    "ProcessingLogs": "/aws/sagemaker/ProcessingJobs",
    "TrainingLogs": "/aws/sagemaker/TrainingJobs",
}
"""Those that SageMaker writes the logs of jobs into."""


class DriftSchedule(Construct):
    """Starts the drift check."""

    def __init__(self, scope: Construct, construct_id: str, *, names: Names) -> None:
        super().__init__(scope, construct_id)
        settings = names.settings
        start = {
            "PipelineName": settings.drift_pipeline_name,
            # the scheduler puts in the time of the occurrence, the same in each attempt
            "ClientRequestToken": f"{settings.name}-drift-<aws.scheduler.scheduled-time>",
            "PipelineExecutionDescription": f"Scheduled: {settings.monitoring.drift_schedule}",
        }
        _schedule(
            self,
            "Check",
            settings,
            name=settings.drift_pipeline_name,
            says="Compares the devices' windows with what shipped with their versions",
            expression=settings.monitoring.drift_schedule,
            arn=start_target(settings),
            role_arn=settings.role_arn("retraining"),
            given=start,
            retries=RETRIES,
            dead_letters=names.arn("sqs", settings.dead_letter_queue),
        )


class LogRetention(Construct):
    """Sets the retention of SageMaker's log groups, again and again."""

    def __init__(self, scope: Construct, construct_id: str, *, names: Names) -> None:
        super().__init__(scope, construct_id)
        settings = names.settings
        groups = [names.arn("logs", f"log-group:{group}:*") for group in LOG_GROUPS.values()]
        role = iam.Role(
            self,
            "Role",
            role_name=settings.schedules_role,
            description="Sets how long the logs of SageMaker's jobs are kept",
            assumed_by=the_scheduler(settings),
            inline_policies={
                "retention": iam.PolicyDocument(
                    statements=[allow("KeepLogsForDays", ["logs:PutRetentionPolicy"], groups)]
                )
            },
        )
        for construct, group in LOG_GROUPS.items():
            _schedule(
                self,
                construct,
                settings,
                name=f"{settings.name}-{group.rpartition('/')[2]}-retention",
                says=f"Keeps {group} for {settings.monitoring.log_days} days",
                expression="rate(7 days)",
                arn=f"arn:{settings.partition}:scheduler:::aws-sdk:cloudwatchlogs:putRetentionPolicy",
                role_arn=role.role_arn,
                given={"LogGroupName": group, "RetentionInDays": settings.monitoring.log_days},
                retries=0,  # next week is soon enough
            )


def _schedule(
    scope: Construct,
    construct_id: str,
    settings: Settings,
    *,
    name: str,
    says: str,
    expression: str,
    arn: str,
    role_arn: str,
    given: Mapping[str, object],
    retries: int,
    dead_letters: str | None = None,
) -> None:
    letters = scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters)
    scheduler.CfnSchedule(
        scope,
        construct_id,
        name=name,
        group_name=settings.schedule_group,
        description=says,
        schedule_expression=expression,
        schedule_expression_timezone="UTC",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn=arn,
            role_arn=role_arn,
            input=json.dumps(given),
            dead_letter_config=letters if dead_letters else None,
            retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=int(MAX_AGE.to_seconds()),
                maximum_retry_attempts=retries,
            ),
        ),
    )
