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
EPOCH = "validation_accuracy="
"""What training says after an epoch."""


def figures(slm: Slm, read_json, execution: int = -1) -> dict:
    evaluation = read_json(slm.output("evaluation", execution) / "evaluation.json")
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


def test_killed_and_stopped_again_and_again_it_ends_with_the_same_figures(
    tmp_path: Path, repository: Path, undisturbed: Slm, tiny_arguments: list[str], read_json
):
    slm = Slm(tmp_path / ".slm", repository)

    # kill -9 of the training process: the runner tries again by itself
    runner = slm.start(*tiny_arguments)
    slm.wait_for_log("TrainModel", EPOCH)
    for process in training_processes(slm):
        process.kill()
    slm.wait_for_log("TrainModel", EPOCH, attempt=2)
    [retried] = slm.executions()
    assert (retried["status"], retried["steps"]["TrainModel"]["attempts"]) == ("Executing", 2)

    # kill -9 of the runner: its job ends too
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 15
    while training_processes(slm) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert training_processes(slm) == []
    [before] = slm.executions()
    assert before["steps"]["PrepareData"]["status"] == "Succeeded"

    # Ctrl-C: the job ends, and the execution is on record as stopped
    runner = slm.start("run", "--resume")
    slm.wait_for_log("TrainModel", EPOCH, attempt=3)
    os.killpg(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=60) == 130
    assert training_processes(slm) == []
    assert [record["status"] for record in slm.executions()] == ["Stopped"]
    assert slm("runs").stdout.count("Stopped") == 1

    # left alone: nothing is done twice, and nothing came out differently
    slm("run", "--resume")
    [record] = slm.executions()
    assert record["status"] == "Succeeded"
    assert record["steps"]["PrepareData"]["ended"] == before["steps"]["PrepareData"]["ended"]
    assert figures(slm, read_json) == figures(undisturbed, read_json, execution=0)
    model = read_json(slm.output("registration") / "registration.json")
    assert model["version"] == 1


def test_two_runs_at_once_in_one_home_both_end_well(undisturbed: Slm, read_json):
    assert [record["status"] for record in undisturbed.executions()] == ["Succeeded"] * 2
    versions = {
        read_json(undisturbed.output("registration", index) / "registration.json")["version"]
        for index in (0, 1)
    }
    assert versions == {1, 2}
