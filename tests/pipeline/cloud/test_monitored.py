"""What watching costs: counted from what there is, below three dollars for 100 devices."""

from __future__ import annotations

import pytest

from edge.settings import TelemetrySettings
from pipeline.cloud.monitored import monitoring_cost
from pipeline.cloud.prices import read_prices
from pipeline.monitoring import METRICS, TOLD
from pipeline.settings import Settings

DEV = Settings.load("dev")


def parts(devices: int = 100, settings: Settings = DEV) -> dict[str, float]:
    found = monitoring_cost(settings, devices=devices, executions=10)
    return {part.name: part.usd for part in found}


def test_a_hundred_devices_in_dev_are_watched_for_less_than_three_dollars_a_month():
    assert 0 < sum(parts().values()) < 3.0


def test_metrics_beyond_those_that_are_free_are_paid_for():
    table = read_prices()
    beyond = len(METRICS) - table.free.metrics
    assert parts()["metrics"] == pytest.approx(max(0, beyond) * table.usd("metric_month"))


def test_alarms_are_counted_by_the_metrics_that_they_read():
    table = read_prices()
    read = sum(told.metrics for told in TOLD.values())
    [alarms] = [p for p in monitoring_cost(DEV, devices=1, executions=1) if p.name == "alarms"]
    assert f"which read {read} metrics" in alarms.how
    assert alarms.usd == pytest.approx(
        max(0, read - table.free.alarm_metrics) * table.usd("alarm_metric_month")
    )


def test_what_grows_with_devices_are_their_windows():
    few, many = parts(100), parts(1000)
    for name in ("IoT Core", "windows in S3"):
        assert many[name] == pytest.approx(10 * few[name])
    for name in ("metrics", "alarms", "dashboard", "log lines", "drift checks"):
        assert many[name] == few[name]
    assert few["putting metrics"] == 0
    assert many["putting metrics"] > 0  # beyond a million requests


def test_without_devices_and_drift_checks_little_is_left():
    off = DEV.model_copy(
        update={"monitoring": DEV.monitoring.model_copy(update={"drift_schedule": ""})}
    )
    assert parts(0, off)["drift checks"] == 0
    assert parts(0, off)["IoT Core"] == 0


def test_a_device_sends_as_many_windows_as_the_estimate_assumes():
    assert 86_400 / TelemetrySettings().window_seconds == read_prices().assumed("windows_a_day")
