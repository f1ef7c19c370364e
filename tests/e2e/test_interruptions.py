"""kill -9 at the worst moments: what was done is kept, and the figures come out the same."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Slm

pytestmark = pytest.mark.e2e


@pytest.fixture
def slm(tmp_path: Path, repository: Path) -> Slm:
    return Slm(tmp_path / ".slm", repository)


def figures(slm: Slm, read_json) -> dict:
    evaluation = read_json(slm.output("evaluation") / "evaluation.json")
    return {key: evaluation["gate"][key] for key in sorted(evaluation["gate"])}


def training_processes(slm: Slm) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if "steps.train" in process.cmdline() and process.environ().get(
                "SLM_ML_ROOT", ""
            ).startswith(str(slm.home)):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_killed_runner_resumes_without_repeating_a_step(
    slm: Slm, undisturbed: Slm, tiny_arguments: list[str], read_json
):
    runner = slm.start(*tiny_arguments)
    slm.wait_for_log("TrainModel", "validation_accuracy=")
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 15
    while training_processes(slm) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert training_processes(slm) == []

    before = slm.executions()[-1]
    assert before["steps"]["PrepareData"]["status"] == "Succeeded"
    slm("run", "--resume")
    (record,) = slm.executions()
    assert record["status"] == "Succeeded"
    assert record["steps"]["PrepareData"]["ended"] == before["steps"]["PrepareData"]["ended"]
    assert figures(slm, read_json) == figures(undisturbed, read_json)
    model = read_json(slm.output("registration") / "registration.json")
    assert model["version"] == 1


def test_a_killed_training_process_is_retried_from_its_checkpoint(
    slm: Slm, undisturbed: Slm, tiny_arguments: list[str], read_json
):
    runner = slm.start(*tiny_arguments)
    slm.wait_for_log("TrainModel", "validation_accuracy=")
    for process in training_processes(slm):
        process.kill()
    assert runner.wait(timeout=300) == 0
    (record,) = slm.executions()
    assert record["steps"]["TrainModel"]["attempts"] == 2
    assert figures(slm, read_json) == figures(undisturbed, read_json)


def test_ctrl_c_stops_the_job_and_records_the_execution_as_stopped(
    slm: Slm, tiny_arguments: list[str]
):
    runner = slm.start(*tiny_arguments)
    slm.wait_for_log("TrainModel", "validation_accuracy=")
    os.killpg(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=60) == 130
    assert training_processes(slm) == []
    (record,) = slm.executions()
    assert record["status"] == "Stopped"
    assert slm("runs").stdout.count("Stopped") == 1
    slm("run", "--resume")
    assert slm.executions()[-1]["status"] == "Succeeded"


def test_two_runs_at_once_in_one_home_both_end_well(slm: Slm, tiny_arguments: list[str], read_json):
    runners = [slm.start(*tiny_arguments, "--set", f"Seed={seed}") for seed in (1, 2)]
    assert [runner.wait(timeout=400) for runner in runners] == [0, 0]
    assert [record["status"] for record in slm.executions()] == ["Succeeded"] * 2
    versions = {
        read_json(slm.output("registration", index) / "registration.json")["version"]
        for index in (0, 1)
    }
    assert versions == {1, 2}
