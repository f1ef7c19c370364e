"""The step on files: what it reads, writes and tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from benchmarks.devices import Fleet, Outcomes, Shift
from pipeline.monitoring import METRICS
from steps.contract import StepError
from steps.drift.__main__ import main, parse
from steps.drift.job import check_drift
from steps.drift.telling import Teller
from steps.drift.windows import Window
from tests.moto_server import reset, running
from tests.steps.drift.conftest import DAY, NOON, config, write_windows

UNTIL = "2026-11-24T04:00:00Z"
TOLD = {
    "SLM_ENVIRONMENT": "dev",
    "SLM_PIPELINE": "slm-edge-dev",
    "SLM_MODEL_PACKAGE_GROUP": "slm-edge-dev-intents",
    "SLM_METRIC_NAMESPACE": "slm-edge/dev",
    "SLM_REPORT": "s3://pipeline/executions/e1/CheckDrift/drift/drift.html",
}
WriteReference = Callable[..., Path]


@pytest.fixture(scope="module")
def windows(outcomes: dict[str, Outcomes]) -> list[Window]:
    """Three days of thirty devices: two as ever, then everybody asks for something new."""
    devices = Fleet(outcomes, 30, 30, np.random.default_rng(9))
    days = [devices.windows(NOON - 2 * DAY), devices.windows(NOON - DAY)]
    days.append(devices.windows(NOON, shift=Shift(0.6, "new")))
    return [window for day in days for window in day]


@pytest.fixture
def places(
    windows: list[Window], write_reference: WriteReference, tmp_path: Path
) -> tuple[Path, Path]:
    folder = write_windows(tmp_path / "windows", windows)
    return folder, write_reference(tmp_path / "references" / "1.0.7.json").parent


def test_drift_is_found_in_the_newest_period_and_reported(
    places: tuple[Path, Path], tmp_path: Path, windows: list[Window]
) -> None:
    drift = check_drift(config(*places), tmp_path)
    assert json.loads((tmp_path / "drift.json").read_text()) == json.loads(json.dumps(drift))
    assert drift["found"] is True
    (version,) = drift["versions"]
    assert (version["version"], version["model_version"]) == ("1.0.7", "7")
    assert [period["status"] for period in version["periods"]] == ["no drift", "no drift", "drift"]
    newest = version["periods"][-1]
    assert (newest["start"], newest["end"]) == ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")
    over = [figure for figure in newest["figures"] if figure["status"] == "drift"]
    assert {"out_of_scope", "energy"} <= {figure["name"] for figure in over}
    for figure in over:
        assert figure["statistic"] > figure["threshold"] > 0
    assert drift["figures_over"] == len(over)
    assert drift["utterances"] == newest["utterances"]
    assert drift["windows"]["counted"] == drift["windows"]["read"] == len(windows)


def test_the_same_files_give_the_same_bytes(places: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        check_drift(config(*places), tmp_path / name)
    for file in ("drift.json", "drift.html", "quarantine.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_bad_windows_go_to_quarantine_with_a_reason_and_change_no_figure(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    clean = check_drift(config(*places), tmp_path)
    folder, _ = places
    good = json.loads(next(folder.rglob("*.json")).read_text())

    def changed(identity: str, **changes: Any) -> str:
        return json.dumps({**good, "id": identity, **changes})

    bad = {
        "half.json": json.dumps(good)[:400],
        "future.json": changed("from-the-future", ended="2027-01-01T00:00:00Z"),
        "negative.json": changed("negative-1", utterances=-5),
        "unknown.json": changed("unknown-1", component=""),
        "script.json": changed("script-12", thing="<script>alert(1)</script>"),
    }
    (folder / "again.json").write_text(json.dumps(good))
    (folder / "line.jsonl").write_text("nonsense\n")
    for name, text in bad.items():
        (folder / name).write_text(text)
    drift = check_drift(config(*places), tmp_path)
    assert drift["versions"] == clean["versions"]
    assert drift["windows"]["quarantine"] == {
        "it is not JSON": 2,
        "it is from the future": 1,
        "its utterances is negative": 1,
        "it is of an unknown version": 1,
        "its thing is missing or malformed": 1,
    }
    assert drift["windows"]["duplicates"] == 1
    lines = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").open()]
    assert {line["window"] for line in lines} == {*bad, "line.jsonl:1"} - {
        "again.json",
        "line.jsonl",
    }
    assert "alert(1)" not in (tmp_path / "quarantine.jsonl").read_text()


def test_a_missing_reference_is_stated(
    places: tuple[Path, Path], tmp_path: Path, windows: list[Window]
) -> None:
    (places[1] / "1.0.7.json").unlink()
    drift = check_drift(config(*places), tmp_path)
    assert (drift["found"], drift["utterances"]) == (False, 0)
    (version,) = drift["versions"]
    assert version["status"] == "no reference"
    assert "1.0.7.json is missing: slm fleet deploy puts it there" in version["message"]
    assert drift["windows"]["without_reference"] == len(windows)
    assert "is missing" in (tmp_path / "drift.html").read_text()


def test_versions_are_compared_each_with_its_own_reference(
    places: tuple[Path, Path], tmp_path: Path, windows: list[Window],
    write_reference: WriteReference,
) -> None:  # fmt: skip
    """The shifted day again under another version, whose reference knows it that way."""
    write_reference(places[1] / "1.0.10.json", model_version="10")
    newer = [
        replace(window, id=f"n-{window.id}", version="1.0.10", model="10", ended=NOON)
        for window in windows
        if window.ended < NOON - DAY
    ]
    write_windows(places[0], newer)
    drift = check_drift(config(*places), tmp_path)
    assert [(one["version"], one["status"]) for one in drift["versions"]] == [
        ("1.0.7", "drift"),
        ("1.0.10", "no drift"),
    ]
    assert drift["method"]["tests_per_check"] == 12


def test_an_old_drift_is_history_and_no_alarm(places: tuple[Path, Path], tmp_path: Path) -> None:
    """A day later nothing has arrived: the newest complete period is empty."""
    from datetime import timedelta

    later = config(*places, until=NOON + timedelta(days=1, hours=16))
    drift = check_drift(later, tmp_path)
    assert drift["found"] is False
    (version,) = drift["versions"]
    assert (version["status"], version["message"]) == (
        "not enough",
        "no utterances in the newest period",
    )
    assert version["periods"][-1]["status"] == "drift"


def test_no_windows_at_all_are_no_drift(places: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    drift = check_drift(config(empty, places[1]), tmp_path)
    assert (drift["found"], drift["versions"]) == (False, [])
    assert drift["message"] == "no windows of the periods that are looked at"


def test_a_package_or_a_file_serves_as_reference(places: tuple[Path, Path], tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text('{"version": "1.0.7"}')
    (places[1] / "1.0.7.json").rename(package / "reference.json")
    for place in (package, package / "reference.json"):
        assert check_drift(config(places[0], place), tmp_path)["found"] is True


def test_the_page_links_to_nothing_and_runs_nothing(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    check_drift(config(*places), tmp_path)
    page = (tmp_path / "drift.html").read_text()
    assert not re.findall(r"(?:src|href)\s*=|url\(|<script|@import", page)
    assert "<title>Drift found</title>" in page
    assert "Out of scope" in page
    assert page.count("<svg") == 0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def account(address: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An emulated account with a queue that gets every event of ours."""
    reset(address)
    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "SLM_REGISTRY": "sagemaker",
        **TOLD,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    queue = boto3.client("sqs").create_queue(QueueName="events")["QueueUrl"]
    events = boto3.client("events")
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["slm-edge"]}))
    arn = "arn:aws:sqs:eu-west-1:123456789012:events"
    events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": arn}])
    return {"queue": queue}


def received(queue: str) -> list[dict[str, Any]]:
    messages = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in messages.get("Messages", [])]


def test_the_account_is_told_of_drift(
    places: tuple[Path, Path], tmp_path: Path, account: dict[str, str]
) -> None:
    drift = check_drift(config(*places), tmp_path)
    assert Teller.of().tell(drift) == 1
    (event,) = received(account["queue"])
    assert (event["source"], event["detail-type"]) == ("slm-edge", "Model Drift Detected")
    detail = event["detail"]
    assert detail.pop("figures") == [
        {key: figure[key] for key in ("name", "statistic", "threshold")}
        for figure in drift["versions"][0]["periods"][-1]["figures"]
        if figure["status"] == "drift"
    ]
    assert detail == {
        "environment": "dev",
        "pipeline": "slm-edge-dev",
        "modelPackageGroup": "slm-edge-dev-intents",
        "component": "slm.edge.IntentModel",
        "version": "1.0.7",
        "period": {"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"},
        "utterances": drift["utterances"],
        "report": TOLD["SLM_REPORT"],
    }
    metrics = {
        metric["MetricName"]: metric
        for metric in boto3.client("cloudwatch").list_metrics(Namespace="slm-edge/dev")["Metrics"]
    }
    assert set(metrics) == {name for name, by in METRICS.items() if by == "CheckDrift"}
    assert all(metric.get("Dimensions", []) == [] for metric in metrics.values())


def test_without_drift_there_are_metrics_and_no_event(
    places: tuple[Path, Path], tmp_path: Path, account: dict[str, str]
) -> None:
    drift = check_drift(config(*places, until=NOON - DAY + DAY / 2 + DAY / 6), tmp_path)
    assert drift["versions"][0]["status"] == "no drift"
    assert Teller.of().tell(drift) == 0
    assert received(account["queue"]) == []
    assert boto3.client("cloudwatch").list_metrics(Namespace="slm-edge/dev")["Metrics"]


def test_a_job_that_cannot_tell_anybody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match="SLM_METRIC_NAMESPACE is not set"):
        Teller.of({**TOLD, "SLM_METRIC_NAMESPACE": ""})


def test_the_container_contract_is_kept(places: tuple[Path, Path], tmp_path: Path) -> None:
    """As a process of its own, without an account."""
    environment = {**os.environ, "SLM_ML_ROOT": str(tmp_path / "ml"), "SLM_REGISTRY": "mlflow"}
    windows, references = map(str, places)
    ended = subprocess.run(
        [sys.executable, "-m", "steps.drift", "--windows", windows, "--references", references,
         "--until", UNTIL],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    output = tmp_path / "ml" / "processing" / "output" / "drift"
    assert {path.name for path in output.iterdir()} == {
        "drift.json", "drift.html", "quarantine.jsonl",
    }  # fmt: skip
    assert "drift: 1.0.7: drift, " in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--until", "tomorrow"], "--until tomorrow is no time"),
        (["--period-hours", "0"], "--period-hours 0 is not 1 to 672"),
        (["--periods", "0"], "--periods 0 is less than 1"),
        (["--min-devices", "1"], "--min-devices 1 is less than 2"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.setenv("SLM_ML_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["drift", "--windows", "w", "--references", "r", *arguments])
    with pytest.raises(StepError) as refusal:
        main()
    assert sentence in str(refusal.value)


def test_wrong_usage_ends_with_two() -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--windows", "w"])
    assert ended.value.code == 2
