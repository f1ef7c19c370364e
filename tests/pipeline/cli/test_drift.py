"""``slm drift``: on folders, at an emulated account, and started in the account."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.devices import Fleet, Shift, draw_reference, encode, read_outcomes
from steps.drift.windows import Window
from tests.pipeline.cloud.emulated import Emulated
from tests.steps.drift.conftest import NOON, reference_json, write_windows

UNTIL = ("--until", "2026-11-24T04:00:00Z")
Slm = Callable[..., Any]


@pytest.fixture(scope="module")
def days() -> dict[str, list[Window]]:
    """The same thirty devices on a day as ever, and on one when they ask for something new."""
    devices = Fleet(read_outcomes(), 30, 30, np.random.default_rng(9))
    return {
        "calm": devices.windows(NOON),
        "shifted": devices.windows(NOON, shift=Shift(0.6, "new")),
    }


@pytest.fixture(scope="module")
def reference() -> str:
    outcomes = read_outcomes()["test"]
    return json.dumps(reference_json(draw_reference(outcomes, np.random.default_rng(1), 263)))


@pytest.fixture
def package(tmp_path: Path, reference: str) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "package.json").write_text('{"version": "1.0.7"}')
    (folder / "reference.json").write_text(reference)
    return folder


def test_without_drift_it_ends_with_0_and_prints_every_figure(
    slm: Slm, home: Path, tmp_path: Path, package: Path, days: dict[str, list[Window]]
) -> None:
    folder = write_windows(tmp_path / "windows", days["calm"])
    done = slm("drift", "--home", home, "--windows", folder, "--reference", package, *UNTIL)
    assert done.exit_code == 0, done.output
    assert "version 1.0.7  no drift" in done.stdout
    for name in ("intents", "out of scope", "confidence", "energy", "tokens", "unknown"):
        assert any(line.strip().startswith(name) for line in done.stdout.splitlines()), name
    assert f"{len(days['calm'])} counted of {len(days['calm'])} read" in done.stdout
    report = next(line for line in done.stdout.splitlines() if line.startswith("report"))
    assert Path(report.split()[1]).read_text().startswith("<!doctype html>")


def test_drift_ends_with_3_and_is_the_same_again(
    slm: Slm, home: Path, tmp_path: Path, package: Path, days: dict[str, list[Window]]
) -> None:
    folder = write_windows(tmp_path / "windows", days["shifted"])
    words = ("drift", "--home", home, "--windows", folder, "--reference", package, *UNTIL)
    done, again = slm(*words, "--json"), slm(*words, "--json")
    assert (done.exit_code, again.exit_code) == (3, 3), done.output
    assert json.loads(done.stdout) == json.loads(again.stdout)
    assert json.loads(done.stdout)["found"] is True


def test_wrong_usage_gets_a_sentence(slm: Slm, home: Path, tmp_path: Path, package: Path) -> None:
    def refused(*words: object) -> str:
        done = slm("drift", "--home", home, *words)
        assert done.exit_code == 2, done.output
        return done.stderr

    assert "--windows is missing: name the folder" in refused()
    assert "does not exist" in refused("--windows", tmp_path / "none", "--reference", package)
    assert "has an output package yet" in refused("--windows", tmp_path)
    assert "name folders of this machine" in refused("--env", "dev", "--windows", tmp_path)


def test_a_check_that_cannot_run_ends_with_1(slm: Slm, home: Path, tmp_path: Path) -> None:
    done = slm("drift", "--home", home, "--windows", tmp_path, "--reference", tmp_path,
               "--until", "someday")  # fmt: skip
    assert done.exit_code == 1
    assert "error: --until someday is no time" in done.stderr


def test_at_an_endpoint_it_reads_the_buckets_and_tells_the_account(
    account: Emulated, tmp_path: Path, days: dict[str, list[Window]], reference: str
) -> None:
    settings, s3 = account.settings, account.client("s3")
    for window in days["shifted"]:
        key = f"telemetry/{window.thing}/{window.ended:%Y/%m/%d}/{window.id}.json"
        body = json.dumps({**encode(window), "sender": window.thing})
        s3.put_object(Bucket=settings.processed_bucket, Key=key, Body=body)
    s3.put_object(Bucket=settings.deployments_bucket, Key="references/1.0.7.json", Body=reference)
    done = account.slm("drift", *UNTIL, "--home", tmp_path / "home")
    assert done.returncode == 3, done.stderr
    (report,) = [key for key in account.keys(settings.pipeline_bucket) if key.endswith(".html")]
    assert f"s3://{settings.pipeline_bucket}/{report}" in done.stdout
    head = account.head(f"s3://{settings.pipeline_bucket}/{report}")
    assert head["ServerSideEncryption"] == "aws:kms"
    metrics = account.client("cloudwatch").list_metrics(Namespace=settings.metric_namespace)
    names = {one["MetricName"] for one in metrics["Metrics"]}
    assert names == {"DriftFigures", "DriftUtterances", "DevicesBehind", "LatencyP95"}


def test_in_the_account_the_deployed_pipeline_is_started_and_read(
    account: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator starts it and runs nothing: what the job would leave is put there."""
    from pipeline.cloud import drifting
    from pipeline.cloud.session import Account, CloudError, MissingError
    from pipeline.drift_definition import build_definition

    settings = account.settings
    opened = Account(settings, account.address)
    with pytest.raises(MissingError, match=r"slm-edge-dev-drift is not deployed .* cdk deploy"):
        drifting.start(opened, {})
    account.client("sagemaker").create_pipeline(
        PipelineName=settings.drift_pipeline_name,
        PipelineDefinition=json.dumps(build_definition(settings)),
        ClientRequestToken="0" * 32,
        RoleArn=settings.role_arn("pipeline"),
    )
    arn = drifting.start(opened, {"Periods": 7})
    given = account.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    assert given["PipelineArn"].endswith(":pipeline/slm-edge-dev-drift")
    with pytest.raises(CloudError, match=r"has no drift\.json"):
        drifting.read(opened, arn)
    key = f"executions/{arn.rpartition('/')[2]}/CheckDrift/drift/drift.json"
    account.client("s3").put_object(
        Bucket=settings.pipeline_bucket, Key=key, Body=b'{"found": true}'
    )
    found, report = drifting.read(opened, arn)
    assert found == {"found": True}
    assert report.endswith("/CheckDrift/drift/drift.html")


def test_periods_before_the_newest_are_history(
    slm: Slm, home: Path, tmp_path: Path, package: Path, days: dict[str, list[Window]]
) -> None:
    folder = write_windows(tmp_path / "windows", days["shifted"])
    later = (NOON + timedelta(days=1, hours=16)).isoformat()
    done = slm("drift", "--home", home, "--windows", folder, "--reference", package,
               "--until", later)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "no utterances in the newest period" in done.stdout
