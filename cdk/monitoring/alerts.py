"""How an alarm is made: it tells the alert topic, and says where the runbook says what to do.

Every alarm of every stack is made here, beside what it watches, so that none is without action or
link. Leaves out: the list of alarms (pipeline/monitoring.py).
"""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from pipeline.monitoring import TOLD
from pipeline.settings import Settings

Missing = cloudwatch.TreatMissingData


def alarm(
    scope: Construct,
    construct_id: str,
    *,
    settings: Settings,
    alerts: sns.ITopic,
    section: str,
    metric: cloudwatch.IMetric,
    threshold: float = 1,
    of: int = 1,
    at_least: int | None = None,
    missing: cloudwatch.TreatMissingData = Missing.NOT_BREACHING,
) -> cloudwatch.Alarm:
    """An alarm when ``metric`` reaches ``threshold``.

    Args:
        section: Its section of the runbook, a key of ``TOLD``.
        of: Periods that are looked at.
        at_least: Of those, how many must reach the threshold; all of them when left out.
        missing: What a period without data means.
    """
    made = cloudwatch.Alarm(
        scope,
        construct_id,
        alarm_name=f"{settings.name}-{section}",
        alarm_description=f"{TOLD[section].says}. What to do: {settings.runbook_link(section)}",
        metric=metric,
        threshold=threshold,
        evaluation_periods=of,
        datapoints_to_alarm=at_least,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=missing,
    )
    made.add_alarm_action(cast("cloudwatch.IAlarmAction", actions.SnsAction(alerts)))
    return made


def dead_letters_alarm(
    scope: Construct, *, settings: Settings, alerts: sns.ITopic, section: str, queue: sqs.Queue
) -> cloudwatch.Alarm:
    """An alarm when something waits in a queue of dead letters."""
    return alarm(
        scope,
        "DeadLettersWait",
        settings=settings,
        alerts=alerts,
        section=section,
        metric=queue.metric_approximate_number_of_messages_visible(period=Duration.minutes(5)),
    )


def own_metric(settings: Settings, name: str, statistic: str, period: Duration) -> Any:
    """A metric of the project's namespace."""
    return cloudwatch.Metric(
        namespace=settings.metric_namespace,
        metric_name=name,
        statistic=statistic,
        period=period,
    )
