"""A small evaluator of CloudWatch alarms, for tests: which state do these datapoints lead to?

Follows "Configuring how CloudWatch alarms treat missing data" of the CloudWatch user guide: the
newest real datapoints of the evaluation range decide where there are enough of them; else what is
missing counts as the alarm says. What it does not know raises instead of being guessed.

Leaves out: percentiles, anomaly detection, composite alarms.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from cdk.drawing.metric_math import compute

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Series = Sequence[Sequence[float]]
"""What was published in each period, the oldest first; an empty one for a period without data."""
OLDER = 2
"""Periods that CloudWatch looks at beyond those that it evaluates."""

_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def state(alarm: Mapping[str, Any], data: Mapping[str, Series], *, before: State = "OK") -> State:
    """The state of an alarm.

    Args:
        alarm: Its properties in the template.
        data: Series by the name of their metric; the others have no data.
        before: The state that it was in.
    """
    values = _values(alarm, data)
    of = alarm["EvaluationPeriods"]
    at_least = alarm.get("DatapointsToAlarm", of)
    beyond = _COMPARISONS[alarm["ComparisonOperator"]]
    known = [
        beyond(value, alarm["Threshold"]) for value in values[-of - OLDER :] if value is not None
    ]
    if len(known) >= of:
        return "ALARM" if sum(known[-of:]) >= at_least else "OK"
    missing = of - len(known)
    match alarm["TreatMissingData"]:
        case "notBreaching":
            return "ALARM" if sum(known) >= at_least else "OK"
        case "breaching":
            return "ALARM" if sum(known) + missing >= at_least else "OK"
        case "ignore":
            return before if all(known) else "OK"
        case "missing":
            return ("ALARM" if all(known) else "OK") if known else "INSUFFICIENT_DATA"
        case other:
            raise ValueError(f"{other!r} is not known")


def metrics(alarm: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Namespace, name and dimensions of what an alarm reads."""
    found = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
    return [
        (
            one["Namespace"],
            one["MetricName"],
            {dimension["Name"]: dimension["Value"] for dimension in one.get("Dimensions", [])},
        )
        for one in found or [alarm]
    ]


def _values(alarm: Mapping[str, Any], data: Mapping[str, Series]) -> list[float | None]:
    periods = max((len(series) for series in data.values()), default=alarm["EvaluationPeriods"])

    def reduced(name: str, statistic: str) -> list[float | None]:
        series = data.get(name, [()] * periods)
        assert len(series) == periods, "series of one length are compared"
        return [_STATISTICS[statistic](values) if values else None for values in series]

    if "MetricName" in alarm:
        return reduced(alarm["MetricName"], alarm["Statistic"])
    named: dict[str, list[float | None]] = {}
    [shown] = [one for one in alarm["Metrics"] if one.get("ReturnData", True)]
    for one in alarm["Metrics"]:
        if "MetricStat" in one:
            stat = one["MetricStat"]
            named[one["Id"]] = reduced(stat["Metric"]["MetricName"], stat["Stat"])
    return [
        compute(shown["Expression"], {key: series[period] for key, series in named.items()})
        for period in range(periods)
    ]
