"""A small evaluator of CloudWatch alarms, for tests: which state do these datapoints lead to?

Follows "Configuring how CloudWatch alarms treat missing data" of the CloudWatch user guide: the
newest real datapoints of the evaluation range decide where there are enough of them; else what is
missing counts as the alarm says. Metric math is evaluated for what our alarms use of it. What it
does not know raises instead of being guessed.

Leaves out: percentiles, anomaly detection, composite alarms.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

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
_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
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
    tree = ast.parse(shown["Expression"], mode="eval").body
    return [
        _math(tree, {key: series[period] for key, series in named.items()})
        for period in range(periods)
    ]


def _math(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _both(_math(left, values), _math(right, values), _OPERATORS[type(op)])
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _both(_math(left, values), _math(right, values), _OPERATORS[type(op)])
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            found = _math(metric, values)
            return _math(filling, values) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _math(then if _math(condition, values) else otherwise, values)
        case _:
            raise ValueError(f"{ast.unparse(node)} is not known")


def _both(
    left: float | None, right: float | None, compute: Callable[[Any, Any], Any]
) -> float | None:
    return None if left is None or right is None else float(compute(left, right))
