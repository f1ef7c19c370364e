"""What a job says: for a person on a laptop, and as JSON with its execution in an account."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steps import logs

FIELDS = {"time", "level", "environment", "execution", "step", "message"}
"""Of every line; the dashboard's queries ask for them."""
SPEAKS = """
import logging, sys, warnings
from pathlib import Path
from steps import logs
from steps.contract import StepError, run_step

def main():
    print("prepared 12 rows")
    print("two lines\\nin one go")
    print("epoch=1/3  ", end="")
    print("validation_accuracy=0.9612 validation_loss=0.2123")
    print("warning: a row was refused")
    print('quotes " and accents é')
    warnings.warn("a library warns", stacklevel=1)
    logging.getLogger("some.library").warning("and so does another")
    logs.event("fleet", version="1.0.3", devices=37)
    print("without an end", end="")
    {last}

run_step(main, Path(sys.argv[1]))
"""


def say(
    folder: Path, repository: Path, last: str = "pass", **variables: str
) -> tuple[int, list[str], str]:
    """Run a step that says these things: its exit code, its standard output, and the other."""
    done = subprocess.run(
        [sys.executable, "-c", SPEAKS.replace("{last}", last), str(folder / "failure")],
        env={"PYTHONPATH": str(repository), "PATH": "", "SLM_ML_ROOT": str(folder), **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def records(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


@pytest.fixture
def in_account() -> dict[str, str]:
    """What the image, the definition and SageMaker set."""
    return {
        "SLM_LOGS": "json",
        "SLM_ENVIRONMENT": "dev",
        "TRAINING_JOB_NAME": "pipelines-abc123def456-TrainModel-Zz09XyTq1W",
    }


def test_on_a_laptop_a_person_reads_what_was_printed(tmp_path: Path, repository: Path) -> None:
    code, out, err = say(tmp_path, repository)
    assert code == 0
    assert out[:2] == ["prepared 12 rows", "two lines"]
    assert "fleet: version=1.0.3 devices=37" in out
    assert "a library warns" in err
    assert not [line for line in out if line.startswith("{")]


def test_in_an_account_every_line_is_json_with_its_execution(
    tmp_path: Path, repository: Path, in_account: dict[str, str]
) -> None:
    code, out, err = say(tmp_path, repository, **in_account)
    found = records(out)
    assert (code, err) == (0, "")
    assert {one["execution"] for one in found} == {"abc123def456"}
    assert {one["environment"] for one in found} == {"dev"}
    assert all(set(one) >= FIELDS for one in found)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
               for one in found)  # fmt: skip
    said = [one["message"] for one in found]
    assert "two lines\nin one go" in said
    assert 'quotes " and accents é' in said
    assert said[-1] == "without an end"


def test_a_level_is_told_by_how_a_line_begins_and_where_it_went(
    tmp_path: Path, repository: Path, in_account: dict[str, str]
) -> None:
    _, out, _ = say(tmp_path, repository, **in_account)
    levels = {one["message"]: one["level"] for one in records(out)}
    assert levels["prepared 12 rows"] == "INFO"
    assert levels["warning: a row was refused"] == "WARNING"
    assert levels["and so does another"] == "WARNING"
    assert [one for one in levels if "a library warns" in one]


def test_what_sagemaker_charts_is_still_found_in_the_line(
    tmp_path: Path, repository: Path, in_account: dict[str, str]
) -> None:
    from pipeline.definition import METRICS

    _, out, _ = say(tmp_path, repository, **in_account)
    found = {
        name: match[1]
        for name, pattern in METRICS.items()
        for line in out
        if (match := re.search(pattern, line))
    }
    assert found == {"validation:accuracy": "0.9612", "validation:loss": "0.2123"}


def test_an_event_has_figures_that_a_query_can_compute_with(
    tmp_path: Path, repository: Path, in_account: dict[str, str]
) -> None:
    _, out, _ = say(tmp_path, repository, **in_account)
    [found] = [one for one in records(out) if one.get("event") == "fleet"]
    assert (found["version"], found["devices"]) == ("1.0.3", 37)


@pytest.mark.parametrize(
    ("last", "level", "said"),
    [
        ("raise StepError('The data is gone: upload it.')", "ERROR", "error: The data is gone:"),
        ("raise RuntimeError('boom')", "ERROR", "RuntimeError: boom"),
        ("sys.exit(143)", "INFO", "without an end"),
    ],
)
def test_how_a_job_ended_is_json_too(
    tmp_path: Path, repository: Path, in_account: dict[str, str], last: str, level: str, said: str
) -> None:
    code, out, err = say(tmp_path, repository, last, **in_account)
    found = records(out)
    assert code != 0
    assert err == ""
    assert [one for one in found if one["level"] == level and one["message"].startswith(said)]
    if "boom" in last:
        assert [one for one in found if "Traceback" in one.get("traceback", "")]
    if "StepError" in last:
        assert (tmp_path / "failure").read_text() == "The data is gone: upload it.\n"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLM_EXECUTION_ID": "run-7", "TRAINING_JOB_NAME": "pipelines-abc-Train-x"}, "run-7"),
        ({"TRAINING_JOB_NAME": "pipelines-abc123def456-TrainModel-Zz09"}, "abc123def456"),
        ({"PROCESSING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:1:processing-job/pipelines-abc-P-x"},
         "abc"),
        ({"TRAINING_JOB_NAME": "my-own-job"}, ""),
        ({"TRAINING_JOB_NAME": "not-pipelines-abc-Train-x"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_execution_is_the_runners_or_stands_in_the_jobs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    forget(monkeypatch, tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert logs.execution_id() == expected


def test_a_processing_job_finds_it_in_what_sagemaker_tells_it_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, tmp_path)
    arn = "arn:aws:sagemaker:eu-west-1:111111111111:processing-job/pipelines-abc123-CheckDrift-Zz9"
    config = tmp_path / "config" / "processingjobconfig.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"ProcessingJobArn": arn}))
    assert logs.execution_id() == "abc123"
    config.write_text("not JSON")
    assert logs.execution_id() == ""


def forget(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("SLM_EXECUTION_ID", *logs._JOB_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLM_ML_ROOT", str(folder))


def test_the_real_steps_say_which_they_are(
    tmp_path: Path, repository: Path, in_account: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "steps.prepare"],
        env={"PYTHONPATH": str(repository), "PATH": "", "SLM_ML_ROOT": str(tmp_path), **in_account},
        capture_output=True,
        text=True,
        check=False,
    )
    found = records(done.stdout.splitlines())
    assert done.returncode == 1
    assert {one["step"] for one in found} == {"prepare"}
    assert found[-1]["level"] == "ERROR"
