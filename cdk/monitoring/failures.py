"""An execution that fails is told to the alert topic at once, in words and with its name.

A rule and not an alarm: the event names the execution, a metric does not. It is about both
pipelines, the main one and the drift check. A closed gate is a failed execution, too.

Leaves out: executions that never end (watch.py).
"""

from __future__ import annotations

from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from pipeline.monitoring import TOLD
from pipeline.settings import Settings

SECTION = "failed-execution"
RETRIES = 3
MAX_AGE = Duration.hours(1)  # of an event that cannot be delivered


class FailureAlerts(Construct):
    """The rule on failed executions."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, alerts: sns.ITopic
    ) -> None:
        super().__init__(scope, construct_id)
        execution = events.EventField.from_path("$.detail.pipelineExecutionArn")
        ended = events.EventField.from_path("$.time")
        target = targets.SnsTopic(
            alerts,
            message=events.RuleTargetInput.from_text(
                f"{TOLD[SECTION].says} at {ended} in {settings.name}. Read why with: "
                f"slm watch {execution} --env {settings.environment}. "
                f"What to do: {settings.runbook_link(SECTION)}"
            ),
            retry_attempts=RETRIES,
            max_event_age=MAX_AGE,
        )
        events.Rule(
            self,
            "Failed",
            rule_name=f"{settings.name}-{SECTION}",
            description="An execution of a pipeline failed",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Building Pipeline Execution Status Change"],
                detail={
                    "pipelineArn": [settings.pipeline_arn, settings.drift_pipeline_arn],
                    "currentPipelineExecutionStatus": ["Failed"],
                },
            ),
            # Any, because jsii's Python names the interface's parameters a little differently
            targets=[cast("events.IRuleTarget", target)],
        )
