"""What starts the pipeline besides people: new data, drift and a schedule.

    manifest.json lands -> EventBridge rule -> function -> one-time schedule -> pipeline
    drift is found      -> EventBridge rule -> function -> one-time schedule -> pipeline
    cron or rate        -> periodic schedule ----------------------------------> pipeline

The function stands between rule and pipeline for the cool-downs: ten manifests in a minute start
one execution, and so does drift that goes on for days (see its module,
cdk/functions/retraining/index.py). What cannot be delivered after a few retries waits in one
dead-letter queue, and an alarm says so.

Leaves out: the role that starts the pipeline (cdk/roles), the bucket's notifications
(cdk/foundation), and finding drift (pipeline/drift_definition.py, on cdk/monitoring's schedule).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from aws_cdk import CfnTag, Duration, RemovalPolicy
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

from cdk.monitoring.alerts import dead_letters_alarm
from cdk.roles import principals
from pipeline.monitoring import DRIFT_EVENT
from pipeline.names import PROJECT
from pipeline.settings import Settings

CODE = Path(__file__).resolve().parent.parent / "functions" / "retraining"
RETRIES = 3
MAX_AGE = Duration.hours(1)  # of an event that cannot be delivered
LOG_RETENTION = logs.RetentionDays.THREE_MONTHS


def starts_anything(settings: Settings) -> bool:
    """Whether something starts a pipeline besides people: then it needs schedules and a queue."""
    retraining = settings.retraining
    return bool(
        retraining.on_new_data
        or retraining.on_drift
        or retraining.schedule
        or settings.monitoring.drift_schedule
    )


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
        if not starts_anything(settings):
            return
        self._key = key
        self._queue = self._dead_letters(alerts)
        self._group = scheduler.CfnScheduleGroup(
            self, "Schedules", name=settings.schedule_group, tags=_tags(settings)
        )
        if settings.retraining.on_new_data or settings.retraining.on_drift:
            function = self._function()
            if settings.retraining.on_new_data:
                self._new_data(function)
            if settings.retraining.on_drift:
                self._drift(function)
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
        dead_letters_alarm(
            self,
            settings=self._settings,
            alerts=alerts,
            section="retraining-dead-letters",
            queue=queue,
        )
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
            description="Lets a schedule wait that starts the pipeline, for new data or for drift",
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
                "ENVIRONMENT": settings.environment,
                "DRIFT_SCHEDULE": settings.drift_rule,
                "DRIFT_COOL_DOWN_HOURS": str(settings.retraining.drift_cool_down_hours),
                "AUTOMATIC_APPROVAL": "yes" if settings.retraining.automatic_approval else "no",
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
        schedules = [
            f"{arn}:scheduler:{settings.region}:{settings.account}:schedule/"
            f"{settings.schedule_group}/{name}"
            for name in (settings.new_data_rule, settings.drift_rule)
        ]
        statements = [
            iam.PolicyStatement(
                actions=[
                    f"scheduler:{verb}Schedule" for verb in ("Create", "Delete", "Get", "Update")
                ],
                resources=schedules,
            ),
            # which executions drift has started: the cool-down
            _allow(["sagemaker:ListPipelineExecutions"], settings.pipeline_arn),
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
            description="Reads datasets' manifests and keeps the schedules that wait for them",
            assumed_by=principals.service("lambda"),
            inline_policies={"function": iam.PolicyDocument(statements=statements)},
        )

    def _new_data(self, function: lambda_.Function) -> None:
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

    def _drift(self, function: lambda_.Function) -> None:
        settings = self._settings
        events.Rule(
            self,
            "Drift",
            rule_name=settings.drift_rule,
            description="The check of the devices' windows found drift",
            event_pattern=events.EventPattern(
                source=[PROJECT],
                detail_type=[DRIFT_EVENT],
                detail={
                    "environment": [settings.environment],
                    "pipeline": [settings.pipeline_name],
                },
            ),
            targets=[
                _target(
                    targets.LambdaFunction(
                        cast("lambda_.IFunction", function),
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


def _allow(
    actions: list[str], resource: str, conditions: dict[str, Any] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions)


def _target(target: object) -> events.IRuleTarget:
    """The type that jsii's Python names a little differently in the interface."""
    return cast("events.IRuleTarget", target)


def _tags(settings: Settings) -> list[CfnTag]:
    return [CfnTag(key=key, value=value) for key, value in settings.all_tags.items()]
