"""An execution on a commit: started once, waited for, and what it made."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.cloud.delivery import running
from pipeline.cloud.session import Account, CloudError
from pipeline.errors import UsageError
from tests.pipeline.cloud.delivery.conftest import COMMIT, Executions
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.promotion.promotable import decide, register


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "utterances.jsonl").write_text('{"text": "lights off", "intent": "off"}\n')
    return folder


def started(cloud: Emulated) -> list[dict]:
    name = cloud.settings.pipeline_name
    found = cloud.client("sagemaker").list_pipeline_executions(PipelineName=name)
    return found["PipelineExecutionSummaries"]


def test_smoke_data_is_uploaded_once_under_its_content_and_starts_nothing(
    cloud: Emulated, account: Account, sample: Path
):
    said: list[str] = []
    address = running.place_smoke_data(account, sample, said.append)
    name = address.rpartition("/")[2]
    assert name.startswith("delivery-")
    keys = cloud.keys(cloud.settings.raw_bucket)
    assert keys == [f"datasets/{name}/utterances.jsonl"]  # no manifest: nothing retrains on it
    assert running.place_smoke_data(account, sample, said.append) == address
    assert len(said) == 1
    (sample / "utterances.jsonl").write_text('{"text": "lights on", "intent": "on"}\n')
    assert running.place_smoke_data(account, sample, said.append) != address


def test_a_stage_that_is_repeated_goes_on_with_the_execution_that_is_there(
    cloud: Emulated, account: Account, executions: Executions
):
    data = "s3://bucket/datasets/delivery-1"
    arn, new = running.find_or_start(account, COMMIT, data)
    assert new
    assert running.find_or_start(account, COMMIT, data) == (arn, False)
    other, new = running.find_or_start(account, COMMIT.replace("0", "1"), data)
    assert new
    assert other != arn
    assert running.find_or_start(account, COMMIT, None)[1]
    described = cloud.client("sagemaker").list_pipeline_parameters_for_execution(
        PipelineExecutionArn=arn
    )
    assert {"Name": "InputData", "Value": data} in described["PipelineParameters"]


@pytest.mark.parametrize(
    ("name", "address"),
    [("default", None), ("clinc150", "datasets/clinc150"), ("../x", "error"), ("A b", "error")],
)
def test_a_dataset_is_a_name_in_the_environments_raw_bucket(
    account: Account, name: str, address: str | None
):
    if address == "error":
        with pytest.raises(UsageError, match="is not the name of a dataset"):
            running.address_of(account, name)
    else:
        whole = f"s3://{account.settings.raw_bucket}/{address}" if address else None
        assert running.address_of(account, name) == whole


def test_the_release_is_the_version_that_the_execution_or_the_cache_registered(
    cloud: Emulated, account: Account, executions: Executions
):
    for number in (1, 2, 3):
        register(cloud, number, status="PendingManualApproval")
    arn, _ = running.find_or_start(account, COMMIT, None)
    executions.succeeded("PrepareData", EvaluateModel="e1", RegisterModel="e2")
    made = running.release_of(account, arn)
    assert made.version.number == 2
    assert made.url.endswith("executions/e2/PackageComponent/package")
    assert len(made.sha256) == 64
    assert made.report.startswith("https://eu-west-1.console.aws.amazon.com/s3/object/")
    assert made.report.endswith("executions/e1/EvaluateModel/evaluation/report.html")


def test_an_execution_without_a_version_is_no_release(
    cloud: Emulated, account: Account, executions: Executions
):
    register(cloud, 1)
    arn, _ = running.find_or_start(account, COMMIT, None)
    executions.succeeded("PrepareData", "EvaluateModel")
    with pytest.raises(CloudError, match="never came to RegisterModel"):
        running.release_of(account, arn)
    executions.succeeded("EvaluateModel", "RegisterModel")
    with pytest.raises(CloudError, match=r"None of the newest 1 versions .* is of execution"):
        running.release_of(account, arn)
    register(cloud, 2, noted=False)
    executions.succeeded("EvaluateModel", RegisterModel="e2")
    with pytest.raises(CloudError, match="does not say where its package is"):
        running.release_of(account, arn)
    executions.statuses = ["Failed"]
    with pytest.raises(CloudError, match="is Failed: only one that succeeded goes on"):
        running.release_of(account, arn)


def test_the_command_starts_waits_and_hands_on_what_was_made(
    cloud: Emulated, executions: Executions, sample: Path, tmp_path: Path, repository: Path
):
    """As the build does: in the environment's role, with the commit from the environment."""
    champion = register(cloud, 1)
    version = register(cloud, 2, status="PendingManualApproval")
    decide(cloud, champion, "Approved")
    executions.succeeded("PrepareData", "TrainModel", "EvaluateModel", RegisterModel="e2")
    executions.statuses = ["Executing"]
    outputs = tmp_path / "github"
    given = {"SLM_COMMIT": COMMIT, "GITHUB_OUTPUT": str(outputs)}
    done = deliver(cloud, tmp_path, "run", "--smoke", sample, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(started(cloud)) == 1
    values = variables(tmp_path)
    assert values["MODEL_PACKAGE"] == version.arn
    assert values["EXECUTION"] == started(cloud)[0]["PipelineExecutionArn"].rpartition("/")[2]
    assert len(values["PACKAGE_SHA256"]) == 64
    assert values["FIGURES"].startswith("Version 2 of slm-edge-dev-intents; champion: version 1")
    assert values["REPORT"].endswith("report.html")
    handed = dict(line.partition("=")[::2] for line in outputs.read_text().splitlines())
    assert handed == values
    again = deliver(cloud, tmp_path, "run", "--smoke", sample, **given)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "which was started before" in again.stdout
    assert len(started(cloud)) == 1


def test_an_execution_that_fails_ends_the_command_and_hands_nothing_on(
    cloud: Emulated, executions: Executions, tmp_path: Path
):
    executions.steps = [
        {
            "StepName": "PrepareData",
            "StepStatus": "Failed",
            "FailureReason": "the oven is cold",
            "StartTime": 1_790_000_000,
            "EndTime": 1_790_000_060,
        }
    ]
    executions.statuses = ["Executing", "Failed"]
    done = deliver(cloud, tmp_path, "run", SLM_COMMIT=COMMIT)
    assert done.returncode == 1
    assert "the oven is cold" in done.stderr
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("commit", ["main", "0123abc", COMMIT.upper().replace("0", "G"), ""])
def test_a_branch_is_no_commit(cloud: Emulated, tmp_path: Path, commit: str):
    done = deliver(cloud, tmp_path, "run", "--commit", commit)
    assert done.returncode == 2
    assert "is no commit" in done.stderr


def deliver(cloud: Emulated, folder: Path, *words: object, **given: str):
    """A ``slm deliver`` command, in a folder of its own."""
    import subprocess
    import sys

    from tests.conftest import REPOSITORY
    from tests.pipeline.cloud.emulated import environment

    command = [sys.executable, "-m", "pipeline.cli", "deliver", *map(str, words), *cloud.options]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(PYTHONPATH=str(REPOSITORY), **given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def variables(folder: Path) -> dict[str, str]:
    """What a build's shell has after it sourced the file."""
    lines = (folder / "build/delivery/variables.sh").read_text().splitlines()
    words = [shlex.split(line) for line in lines]
    assert {word[0] for word in words} == {"export"}
    return dict(word[1].partition("=")[::2] for word in words)
