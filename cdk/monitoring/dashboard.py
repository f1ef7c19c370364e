"""The dashboard: from top to bottom what a person asks, in the order in which it is asked.

    is anything wrong?            alarms, and the figures of now
    what do executions do?        how many, how long, for how much
    is the model good?            the gates' figures, candidate against champion
    how do devices fare?          utterances, errors, latency, versions, drift
    what went wrong?              the newest errors in the logs of jobs

``body`` is what CloudWatch takes, made of the settings alone, so that it can be drawn without an
account (cdk/drawing/dashboard.py). SageMaker's own metrics cost nothing; of ours it reads those of
pipeline/monitoring.py. What is known by version or by execution would be a metric each: it is read
from the logs of the jobs, whose lines are JSON.

Leaves out: publishing anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk.monitoring import figures
from cdk.monitoring.figures import DAY, Line
from cdk.monitoring.schedules import LOG_GROUPS
from pipeline.monitoring import TOLD
from pipeline.settings import Settings

COLUMNS = 24
"""Of CloudWatch's grid."""
JOB_LOGS = LOG_GROUPS["ProcessingLogs"]


class Dashboard(Construct):
    """The dashboard of one environment."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        cloudwatch.CfnDashboard(
            self,
            "Resource",
            dashboard_name=settings.dashboard_name,
            dashboard_body=json.dumps(body(settings), separators=(",", ":")),
        )


def body(settings: Settings) -> dict[str, Any]:
    """The dashboard's body: four weeks, in rows of widgets."""
    widgets: list[dict[str, Any]] = []
    y = 0
    for height, row in _rows(settings):
        x = 0
        for widget in row:
            place = {"x": x, "y": y, "width": widget.width, "height": height}
            widgets.append({"type": widget.type, **place, "properties": widget.properties})
            x += widget.width
        y += height
    return {"start": "-P28D", "periodOverride": "inherit", "widgets": widgets}


@dataclass(frozen=True)
class _Widget:
    type: str
    width: int
    properties: dict[str, Any]


def _rows(settings: Settings) -> Iterator[tuple[int, list[_Widget]]]:
    """Each row's height and widgets."""
    of, charts = figures.Figures(settings), _Charts(settings)
    yield 2, [_text(settings)]
    yield 3, [_alarms(settings)]
    yield 3, _now(of, charts)
    yield 6, _executions(of, charts)
    yield 6, _model(of, charts)
    yield 6, _devices(of, charts)
    yield 6, [*_fleet(of, charts), _log(settings, 8, "Versions on devices", _versions(settings))]
    yield 4, [_log(settings, COLUMNS, "Newest errors in jobs", _errors(settings))]


def _now(of: figures.Figures, charts: _Charts) -> list[_Widget]:
    return [
        charts.number("Executions, 7 days", of.started(7 * DAY)),
        charts.number("Newest model", of.newest()),
        charts.number("Devices, newest day", of.devices()),
        charts.number("Watch", of.watch()),
    ]


def _executions(of: figures.Figures, charts: _Charts) -> list[_Widget]:
    return [
        charts.graph("Executions a day", of.executions(DAY)),
        charts.graph("Duration of steps, minutes", of.durations()),
        charts.graph("Cost of steps, US dollars (estimated)", of.costs(), stacked=True),
    ]


def _model(of: figures.Figures, charts: _Charts) -> list[_Widget]:
    quality, parity = of.quality_bounds(), of.parity_bounds()
    return [
        charts.graph("Gate: accuracy, out of scope, regression set", of.quality(), bounds=quality),
        charts.graph("Candidate against champion, accuracy", of.champion()),
        charts.graph("Gate: calibration and agreement", of.parity(), bounds=parity),
    ]


def _devices(of: figures.Figures, charts: _Charts) -> list[_Widget]:
    return [
        charts.graph("Utterances and out-of-scope rate", of.utterances()),
        charts.graph("Requests without an answer, percent", of.errors(), bounds=of.error_bounds()),
        charts.graph("Latency on devices, milliseconds", of.latency()),
    ]


def _fleet(of: figures.Figures, charts: _Charts) -> list[_Widget]:
    return [
        charts.graph("Drift: figures over their threshold", of.drift(), bounds=of.drift_bounds()),
        charts.graph("Devices with an old version", of.skew(), bounds=of.skew_bounds()),
    ]


class _Charts:
    """Makes metric widgets."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def graph(
        self,
        title: str,
        lines: Sequence[Line],
        *,
        stacked: bool = False,
        bounds: Sequence[tuple[str, float]] = (),
    ) -> _Widget:
        properties = self._properties(title, lines, "timeSeries") | {"stacked": stacked}
        if bounds:
            properties["annotations"] = {
                "horizontal": [{"label": label, "value": value} for label, value in bounds]
            }
        return _Widget("metric", COLUMNS // 3, properties)

    def number(self, title: str, lines: Sequence[Line]) -> _Widget:
        return _Widget("metric", COLUMNS // 4, self._properties(title, lines, "singleValue"))

    def _properties(self, title: str, lines: Sequence[Line], view: str) -> dict[str, Any]:
        return {
            "title": title,
            "view": view,
            "region": self._settings.region,
            "metrics": [entry for line in lines for entry in line.entries],
        }


def _text(settings: Settings) -> _Widget:
    """What this is, and the way to the runbook for what no alarm of CloudWatch tells."""
    others = ", ".join(
        f"{told.says.lower()}: {_link(settings, section)}"
        for section, told in TOLD.items()
        if told.by != "alarm"
    )
    words = (
        f"## {settings.name}\n"
        f"What to do stands in the [runbook]({settings.monitoring.runbook}). Told by mail and not "
        f"below: {others}."
    )
    return _Widget("text", COLUMNS, {"markdown": words})


def _link(settings: Settings, section: str) -> str:
    return f"[{section}]({settings.runbook_link(section)})"


def _alarms(settings: Settings) -> _Widget:
    arn = f"arn:{settings.partition}:cloudwatch:{settings.region}:{settings.account}:alarm"
    alarms = [f"{arn}:{settings.name}-{key}" for key, told in TOLD.items() if told.by == "alarm"]
    return _Widget("alarm", COLUMNS, {"title": "Alarms", "alarms": alarms})


def _log(settings: Settings, width: int, title: str, query: Sequence[str]) -> _Widget:
    """A table of what CloudWatch Logs Insights finds in the lines of jobs."""
    source = f"SOURCE '{JOB_LOGS}'"
    properties = {
        "title": title,
        "view": "table",
        "region": settings.region,
        "query": " | ".join([source, *query]),
    }
    return _Widget("log", width, properties)


def _versions(settings: Settings) -> list[str]:
    """What the newest drift check counted of each version."""
    return [
        f'filter environment = "{settings.environment}" and event = "fleet"',
        "stats latest(devices) as on_devices, latest(utterances) as counted, "
        "latest(p95_milliseconds) as p95_ms, latest(@timestamp) as seen by version",
        "sort seen desc",
        "limit 10",
    ]


def _errors(settings: Settings) -> list[str]:
    return [
        f'filter environment = "{settings.environment}" and level = "ERROR"',
        "fields @timestamp, execution, step, message",
        "sort @timestamp desc",
        "limit 10",
    ]
