"""What watching costs a month: metrics, alarms, dashboard, logs, windows of devices, drift checks.

Counted from what there is (pipeline/monitoring.py) and from the price table; AWS is not asked.
Everything is there whether or not anything happens, but for the windows, which grow with devices.

Leaves out: executions of the main pipeline and the mails (costs.py), and what devices download.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.cloud.prices import Prices, read_prices
from pipeline.monitoring import METRICS, TOLD
from pipeline.settings import Settings

DAYS_A_MONTH = 30.4
HOURS_A_MONTH = 730.0
_CHECK = "CheckDrift"


@dataclass(frozen=True)
class Part:
    """Something that costs money: what, how much, and how that was computed."""

    name: str
    usd: float
    how: str


@dataclass(frozen=True)
class _Month:
    """How much there is to count."""

    windows: float
    checks: float
    executions: int
    devices: int


def monitoring_cost(settings: Settings, *, devices: int, executions: int) -> tuple[Part, ...]:
    """The parts, for a number of devices that are never off."""
    table = read_prices()
    month = _Month(
        windows=devices * table.assumed("windows_a_day") * DAYS_A_MONTH,
        checks=DAYS_A_MONTH if settings.monitoring.drift_schedule else 0.0,
        executions=executions,
        devices=devices,
    )
    return (
        *_of_cloudwatch(table, month),
        _logs(table, month),
        _queries(table),
        *_telemetry(table, month),
        _drift_checks(table, settings, month),
    )


def _of_cloudwatch(table: Prices, month: _Month) -> Iterator[Part]:
    free = table.free
    beyond = max(0, len(METRICS) - free.metrics)
    yield Part(
        "metrics",
        beyond * table.usd("metric_month"),
        f"{len(METRICS)}; {free.metrics} are free; as if each were there every hour",
    )
    published = sum(1 for by in METRICS.values() if by == "topic rule")
    requests = month.windows * published + HOURS_A_MONTH + month.checks + 2 * month.executions
    beyond = max(0.0, requests - free.metric_requests)
    yield Part(
        "putting metrics",
        beyond / 1e3 * table.usd("metric_requests_1k"),
        f"{requests:,.0f} requests; {free.metric_requests:,} are free",
    )
    read = sum(told.metrics for told in TOLD.values())
    alarms = sum(1 for told in TOLD.values() if told.by == "alarm")
    beyond = max(0, read - free.alarm_metrics)
    yield Part(
        "alarms",
        beyond * table.usd("alarm_metric_month"),
        f"{alarms}, which read {read} metrics; {free.alarm_metrics} are free",
    )
    beyond = max(0, 1 - free.dashboards)
    yield Part(
        "dashboard",
        beyond * table.usd("dashboard_month"),
        f"one of at most 50 metrics; {free.dashboards} are free",
    )


def _logs(table: Prices, month: _Month) -> Part:
    written = month.executions * table.assumed("logs_gb_an_execution")
    written += month.checks * table.assumed("drift_logs_gb")
    beyond = max(0.0, written - table.free.logs_gb)
    return Part(
        "log lines",
        beyond * table.usd("logs_gb"),
        f"{written * 1e9:,.0f} bytes of {month.executions} executions and {month.checks:.0f} "
        f"checks; {table.free.logs_gb:g} GB are free",
    )


def _queries(table: Prices) -> Part:
    views, kept = table.assumed("dashboard_views"), table.assumed("logs_gb_kept")
    scanned = 2 * views * kept
    return Part(
        "queries over logs",
        scanned * table.usd("logs_scanned_gb"),
        f"{views:.0f} views of the dashboard, two over {kept:g} GB each, assumed",
    )


def _telemetry(table: Prices, month: _Month) -> Iterator[Part]:
    actions = 1 + sum(1 for by in METRICS.values() if by == "topic rule")  # and a file
    minutes = month.devices * 60 * HOURS_A_MONTH
    yield Part(
        "IoT Core",
        month.windows
        / 1e6
        * (
            table.usd("iot_messages_1m")
            + table.usd("iot_rules_1m")
            + actions * table.usd("iot_actions_1m")
        )
        + minutes / 1e6 * table.usd("iot_connected_minutes_1m"),
        f"{month.windows:,.0f} windows of {month.devices} devices that are always connected",
    )
    reads = month.windows * table.assumed("window_reads") if month.checks else 0.0
    yield Part(
        "windows in S3",
        month.windows / 1e3 * table.usd("s3_puts_1k") + reads / 1e3 * table.usd("s3_gets_1k"),
        f"{month.windows:,.0f} writes, {reads:,.0f} reads",
    )


def _drift_checks(table: Prices, settings: Settings, month: _Month) -> Part:
    machine = settings.processing.instance_type
    minutes = table.minutes[_CHECK].minutes
    hourly = table.instance_hours[machine].usd
    hourly += settings.processing.volume_gb * table.usd("processing_volume_gb_month") / (
        HOURS_A_MONTH
    )  # fmt: skip
    return Part(
        "drift checks",
        month.checks * minutes / 60 * hourly,
        f"{month.checks:.0f} of {minutes:.0f} min of {machine}, as if daily; minutes assumed",
    )
