"""Figures for CloudWatch: put where there is an account, and never worth a job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest

import steps.compile.__main__ as compile_job
from pipeline.monitoring import METRICS
from steps.evaluate.__main__ import charted
from steps.publishing import publish
from tests.moto_server import reset, running

NAMESPACE = "slm-edge/dev"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def account(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    reset(endpoint)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SLM_METRIC_NAMESPACE": NAMESPACE,
        "SLM_REGISTRY": "sagemaker",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("cloudwatch")


def values(client) -> dict[str, float]:
    """What was published, by name."""
    found = {}
    for one in client.list_metrics(Namespace=NAMESPACE)["Metrics"]:
        assert one["Dimensions"] == []
        now = datetime.now(UTC)
        [point] = client.get_metric_statistics(
            Namespace=NAMESPACE, MetricName=one["MetricName"], Statistics=["Average"],
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Period=7200,
        )["Datapoints"]  # fmt: skip
        found[one["MetricName"]] = point["Average"]
    return found


def test_figures_are_put_and_those_that_were_not_measured_are_left_out(account) -> None:
    publish({"Accuracy": 0.93, "OutOfScopeAuroc": None, "CalibrationError": 0.0})
    assert values(account) == {"Accuracy": 0.93, "CalibrationError": 0.0}


@pytest.mark.parametrize(
    ("variable", "value"), [("SLM_REGISTRY", "mlflow"), ("SLM_METRIC_NAMESPACE", "")]
)
def test_without_an_account_or_a_namespace_nothing_is_put(
    account, monkeypatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    publish({"Accuracy": 0.93})
    assert values(account) == {}


def test_an_account_that_does_not_take_them_is_said_and_ends_no_job(
    account, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port that discards
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    publish({"Accuracy": 0.93})
    said = capsys.readouterr().out
    assert said.startswith("warning: the figures are not charted in slm-edge/dev: ")
    assert said.count("\n") == 1


def test_evaluate_charts_the_candidate_beside_the_champion() -> None:
    figures = {
        "accuracy": {"value": 0.93, "low": 0.9, "high": 0.95},
        "out_of_scope_auroc": None,
        "expected_calibration_error": {"value": 0.02},
    }
    rival = {"accuracy": {"value": 0.91}}
    regression = {"cases": 172, "pass_rate": 0.86, "failures": []}
    assert charted({"figures": figures, "champion": rival, "regression": regression}) == {
        "Accuracy": 0.93,
        "OutOfScopeAuroc": None,
        "CalibrationError": 0.02,
        "ChampionAccuracy": 0.91,
        "RegressionPassRate": 0.86,
    }


def test_what_a_dataset_or_a_registry_does_not_have_is_not_charted() -> None:
    figures = dict.fromkeys(("accuracy", "out_of_scope_auroc", "expected_calibration_error"))
    alone = charted({"figures": figures, "champion": None, "regression": None})
    assert alone["ChampionAccuracy"] is None
    assert alone["RegressionPassRate"] is None


def test_what_steps_publish_is_in_the_list_of_metrics() -> None:
    figures = dict.fromkeys(("accuracy", "out_of_scope_auroc", "expected_calibration_error"))
    names = charted({"figures": figures, "champion": None, "regression": None})
    assert set(names) == {name for name, by in METRICS.items() if by == "EvaluateModel"}
    compiled = compile_job.charted({"parity": {"agreement": 0.99}})
    assert set(compiled) == {name for name, by in METRICS.items() if by == "CompileModel"}
