"""The alarms on what no queue and no event tells: stuck executions, drift, devices.

What is measured once a day keeps its state through the hours in which there is nothing new to read
(``IGNORE``): otherwise an alarm would close at midnight and tell the same thing every morning.

Leaves out: the alarms on dead letters, which stand beside their queues (cdk/training, cdk/edge),
and the metrics themselves (pipeline/monitoring.py says who publishes them).
"""

from __future__ import annotations

from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.monitoring.alerts import Missing, alarm, own_metric
from pipeline.settings import Settings

HOUR, DAY = Duration.hours(1), Duration.days(1)
FEWEST_REQUESTS = 50
"""In an hour, of all devices: of fewer a share says little."""
SKEW_DAYS = 3
"""How long a device may run an old version: one that is switched off updates when it comes back."""
ERROR_PERCENT = (
    f"IF(FILL(answered, 0) + FILL(failed, 0) >= {FEWEST_REQUESTS}, "
    "100 * FILL(failed, 0) / (FILL(answered, 0) + FILL(failed, 0)), 0)"
)
"""Requests without an answer, of all, in percent."""


class Alarms(Construct):
    """Four alarms."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, alerts: sns.ITopic
    ) -> None:
        super().__init__(scope, construct_id)
        alarm(
            self,
            "StuckExecution",
            settings=settings,
            alerts=alerts,
            section="stuck-execution",
            metric=own_metric(settings, "StuckExecutions", "Maximum", HOUR),
            missing=Missing.MISSING,  # grey where the function that counts does not
        )
        alarm(
            self,
            "Drift",
            settings=settings,
            alerts=alerts,
            section="drift",
            metric=own_metric(settings, "DriftFigures", "Maximum", DAY),
            missing=Missing.IGNORE,
        )
        failed = cloudwatch.MathExpression(
            label="requests without an answer, percent",
            expression=ERROR_PERCENT,
            using_metrics={
                "answered": own_metric(settings, "Utterances", "Sum", HOUR),
                "failed": own_metric(settings, "Errors", "Sum", HOUR),
            },
            period=HOUR,
        )
        alarm(
            self,
            "DeviceErrors",
            settings=settings,
            alerts=alerts,
            section="device-errors",
            metric=cast("cloudwatch.IMetric", failed),
            threshold=settings.monitoring.max_error_percent,
            of=3,
            at_least=2,
        )
        alarm(
            self,
            "VersionSkew",
            settings=settings,
            alerts=alerts,
            section="version-skew",
            metric=own_metric(settings, "DevicesBehind", "Minimum", DAY),
            of=SKEW_DAYS,
            missing=Missing.IGNORE,
        )
