"""What is watched, in one list: the metrics, and what somebody is told of, with where it is said.

The infrastructure makes its alarms from it, ``slm costs`` counts what they cost, and tests hold the
templates, the steps and docs/runbook.md against it, so that none of them knows an alarm that the
others do not.

Leaves out: thresholds (the ``[monitoring]`` settings), and metrics that AWS publishes by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PIPELINES = "AWS/Sagemaker/ModelBuildingPipeline"
"""The namespace in which SageMaker counts executions and times steps, at no charge: "SageMaker
pipelines metrics" in the SageMaker developer guide. Only the S of Sagemaker is a capital there."""

DRIFT_EVENT = "Model Drift Detected"
"""The detail type of what the drift check tells EventBridge; its source is the project's name."""

Publisher = Literal["topic rule", "EvaluateModel", "CompileModel", "CheckDrift", "watch function"]

METRICS: Mapping[str, Publisher] = {
    "Utterances": "topic rule",
    "OutOfScope": "topic rule",
    "Errors": "topic rule",
    "Accuracy": "EvaluateModel",
    "OutOfScopeAuroc": "EvaluateModel",
    "CalibrationError": "EvaluateModel",
    "ChampionAccuracy": "EvaluateModel",
    "RegressionPassRate": "EvaluateModel",
    "CompiledAgreement": "CompileModel",
    "DriftFigures": "CheckDrift",
    "DriftUtterances": "CheckDrift",
    "DevicesBehind": "CheckDrift",
    "LatencyP95": "CheckDrift",
    "StuckExecutions": "watch function",
}
"""Every metric of our own in the namespace of the settings, none with a dimension, and who
publishes it. Each costs as much as three alarms, so figures by version, intent or device are not
among them: those are lines of the log, which the dashboard queries."""


@dataclass(frozen=True)
class Told:
    """Something that somebody is told of.

    Attributes:
        by: A CloudWatch alarm, an EventBridge rule or the monthly budget.
        metrics: How many metrics the alarm reads; CloudWatch charges for each.
        says: What has happened, in the words of the message.
    """

    by: Literal["alarm", "rule", "budget"]
    metrics: int
    says: str


TOLD: Mapping[str, Told] = {
    "failed-execution": Told("rule", 0, "An execution of a pipeline failed"),
    "stuck-execution": Told("alarm", 1, "An execution has been running for too long"),
    "budget": Told("budget", 0, "The month's budget is nearly or wholly spent"),
    "drift": Told("alarm", 1, "What devices are asked no longer looks like what they learnt"),
    "device-errors": Told("alarm", 2, "Devices leave too many requests without an answer"),
    "version-skew": Told("alarm", 1, "Devices have run an old version for three days"),
    "retraining-dead-letters": Told(
        "alarm", 1, "Data, drift or a schedule could not start a pipeline"
    ),
    "promotion-stopped": Told(
        "rule", 0, "An approved version was refused, rolled back or got stuck on its way"
    ),
    "promotion-dead-letters": Told("alarm", 1, "An approval could not start a promotion"),
    "telemetry-dead-letters": Told("alarm", 1, "A device's telemetry could not be stored"),
}
"""By the section of docs/runbook.md, which is also how an alarm's name ends."""
