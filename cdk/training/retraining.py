"""What starts the pipeline besides people: new data and a schedule; and who hears of failures.

    manifest.json lands -> EventBridge rule -> function -> one-time schedule -> pipeline
    cron or rate        -> periodic schedule ----------------------------------> pipeline
    execution fails     -> EventBridge rule -> alert topic

The function stands between rule and pipeline for the cool-down: ten manifests in a minute start one
execution (see its module, cdk/functions/retraining/index.py). What cannot be delivered after a few
retries waits in one dead-letter queue, and an alarm says so.

Leaves out: the role that starts the pipeline (cdk/roles), and the bucket's notifications
(cdk/foundation).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from aws_cdk import CfnTag, Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.roles import principals
from pipeline.settings import Settings

CODE = Path(__file__).resolve().parent.parent / "functions" / "retraining"
RETRIES = 3
MAX_AGE = Duration.hours(1)  # of an event that cannot be delivered
LOG_RETENTION = logs.RetentionDays.THREE_MONTHS


def start_target(settings: Settings) -> str:
    """The scheduler's "universal target" that calls StartPipelineExecution.

    Unlike the target made for pipelines it takes a client request token, so that a delivery that
    is repeated starts nothing twice.
    """
    return f"arn:{settings.partition}:scheduler:::aws-sdk:sagemaker:startPipelineExecution"


class Retraining(Construct):
    """The ways into the pipeline that the settings ask for, with their dead-letter queue."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        key: kms.IKey,
        alerts: sns.ITopic,
    ) -> None:
        super().__init__(scope, id)
        self._settings = settings
        if not (settings.retraining.on_new_data or settings.retraining.schedule):
            return
        self._key = key
        self._queue = self._dead_letters(alerts)
        self._group = scheduler.CfnScheduleGroup(
            self, "Schedules", name=settings.schedule_group, tags=_tags(settings)
        )
        if settings.retraining.on_new_data:
            self._rule(self._function())
        if settings.retraining.schedule:
            self._schedule()

    def _dead_letters(self, alerts: sns.ITopic) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=self._settings.dead_letter_queue,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        alarm = cloudwatch.Alarm(
            self,
            "DeadLettersWait",
            alarm_name=self._settings.dead_letter_queue,
            alarm_description="Data or a schedule could not start the pipeline: read the queue",
            metric=queue.metric_approximate_number_of_messages_visible(period=Duration.minutes(5)),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=(cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(cast("cloudwatch.IAlarmAction", actions.SnsAction(alerts)))
        return queue

    def _function(self) -> lambda_.Function:
        settings = self._settings
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/lambda/{settings.retraining_function}",
            encryption_key=self._key,
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )
        function = lambda_.Function(
            self,
            "Function",
            function_name=settings.retraining_function,
            description="Lets one schedule wait that starts the pipeline on the newest data",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=lambda_.Code.from_asset(str(CODE), exclude=["**/__pycache__", "*.pyc"]),
            role=iam.Role.from_role_arn(self, "ByName", self._function_role_arn, mutable=False),
            log_group=log_group,
            memory_size=256,
            timeout=Duration.seconds(30),
            retry_attempts=2,
            max_event_age=MAX_AGE,
            dead_letter_queue=self._queue,
            environment_encryption=self._key,
            environment={
                "PIPELINE": settings.pipeline_name,
                "BUCKET": settings.raw_bucket,
                "PREFIX": settings.datasets_prefix,
                "SCHEDULE": settings.new_data_rule,
                "SCHEDULE_GROUP": settings.schedule_group,
                "STARTER": start_target(settings),
                "ROLE_ARN": settings.role_arn("retraining"),
                "DEAD_LETTERS_ARN": self._queue.queue_arn,
                "COOL_DOWN_MINUTES": str(settings.retraining.cool_down_minutes),
            },
        )
        # The role goes in by its name: by reference, CDK would also name it as a dependency, which
        # cfn-lint calls redundant.
        function.node.add_dependency(self._function_role(log_group), self._group)
        return function

    @property
    def _function_role_name(self) -> str:
        return f"{self._settings.retraining_function}-function"

    @property
    def _function_role_arn(self) -> str:
        settings = self._settings
        return f"arn:{settings.partition}:iam::{settings.account}:role/{self._function_role_name}"

    def _function_role(self, log_group: logs.LogGroup) -> iam.Role:
        settings = self._settings
        arn = f"arn:{settings.partition}"
        raw = f"{arn}:s3:::{settings.raw_bucket}"
        schedule = (
            f"{arn}:scheduler:{settings.region}:{settings.account}:schedule/"
            f"{settings.schedule_group}/{settings.new_data_rule}"
        )
        statements = [
            _allow(
                [f"scheduler:{verb}Schedule" for verb in ("Create", "Delete", "Get", "Update")],
                schedule,
            ),
            _allow(
                ["iam:PassRole"],
                settings.role_arn("retraining"),
                {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
            ),
            _allow(["s3:GetObject"], f"{raw}/{settings.datasets_prefix}/*/manifest.json"),
            _allow(
                ["s3:ListBucket"],
                raw,
                {"StringLike": {"s3:prefix": f"{settings.datasets_prefix}/*"}},
            ),
            _allow(["sqs:SendMessage"], self._queue.queue_arn),
            _allow(["kms:Decrypt", "kms:GenerateDataKey"], self._key.key_arn),
            _allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
        ]
        return iam.Role(
            self,
            "FunctionRole",
            role_name=self._function_role_name,
            description="Reads a dataset's manifest and keeps the schedule that waits for it",
            assumed_by=principals.service("lambda"),
            inline_policies={"function": iam.PolicyDocument(statements=statements)},
        )

    def _rule(self, function: lambda_.Function) -> None:
        settings = self._settings
        events.Rule(
            self,
            "NewData",
            rule_name=settings.new_data_rule,
            description="A dataset is complete: its manifest landed",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [settings.raw_bucket]},
                    # a prefix and a suffix in one list would be alternatives
                    "object": {
                        "key": [{"wildcard": f"{settings.datasets_prefix}/*/manifest.json"}]
                    },
                },
            ),
            targets=[
                _target(
                    targets.LambdaFunction(
                        cast("lambda_.IFunction", function),
                        event=events.RuleTargetInput.from_object(
                            {
                                "bucket": events.EventField.from_path("$.detail.bucket.name"),
                                "key": events.EventField.from_path("$.detail.object.key"),
                                "time": events.EventField.from_path("$.time"),
                            }
                        ),
                        dead_letter_queue=self._queue,
                        retry_attempts=RETRIES,
                        max_event_age=MAX_AGE,
                    )
                )
            ],
        )

    def _schedule(self) -> None:
        settings = self._settings
        start = {
            "PipelineName": settings.pipeline_name,
            # the scheduler puts in the time of the occurrence, the same in each attempt
            "ClientRequestToken": f"{settings.name}-periodic-<aws.scheduler.scheduled-time>",
            "PipelineExecutionDescription": f"Scheduled: {settings.retraining.schedule}",
        }
        schedule = scheduler.CfnSchedule(
            self,
            "Periodic",
            name=f"{settings.name}-periodic",
            group_name=settings.schedule_group,
            description="Trains again whether or not there is new data",
            schedule_expression=settings.retraining.schedule,
            schedule_expression_timezone="UTC",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=start_target(settings),
                role_arn=settings.role_arn("retraining"),
                input=json.dumps(start),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(
                    arn=self._queue.queue_arn
                ),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=int(MAX_AGE.to_seconds()),
                    maximum_retry_attempts=RETRIES,  # the default is 185
                ),
            ),
        )
        schedule.node.add_dependency(self._group)


class FailureAlerts(Construct):
    """An execution that fails is told to the alert topic, in words."""

    def __init__(
        self, scope: Construct, id: str, *, settings: Settings, alerts: sns.ITopic
    ) -> None:
        super().__init__(scope, id)
        execution = events.EventField.from_path("$.detail.pipelineExecutionArn")
        ended = events.EventField.from_path("$.time")
        events.Rule(
            self,
            "Failed",
            rule_name=f"{settings.name}-execution-failed",
            description="An execution of the pipeline failed",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
                detail={
                    "pipelineArn": [settings.pipeline_arn],
                    "currentPipelineExecutionStatus": ["Failed"],
                },
            ),
            targets=[
                _target(
                    targets.SnsTopic(
                        alerts,
                        message=events.RuleTargetInput.from_text(
                            f"{settings.pipeline_name}: an execution failed at {ended}. Read why "
                            f"with: slm watch {execution} --env {settings.environment}"
                        ),
                        retry_attempts=RETRIES,
                        max_event_age=MAX_AGE,
                    )
                )
            ],
        )


def _allow(
    actions: list[str], resource: str, conditions: dict[str, Any] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions)


def _target(target: object) -> events.IRuleTarget:
    """The type that jsii's Python names a little differently in the interface."""
    return cast("events.IRuleTarget", target)


def _tags(settings: Settings) -> list[CfnTag]:
    return [CfnTag(key=key, value=value) for key, value in settings.all_tags.items()]
