"""The story told end to end: ``slm`` in real processes, one real training shared by all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.tiny import write_tiny_base_model

pytestmark = pytest.mark.e2e
OPEN_GATES = {
    "MinAccuracy": "0",
    "MinOutOfScopeAuroc": "0",
    "MaxCalibrationError": "1",
    "MinChampionPValue": "0",
    "MinRegressionPassRate": "0",
    "MaxLostIntents": "99",
    "MinAgreement": "0",
    "MaxAccuracyDrop": "1",
    "MaxAurocDrop": "1",
}
"""Bounds that a model of random weights meets, for tests that are about the machinery."""


@dataclass(frozen=True)
class Slm:
    """The command line, always on one home folder."""

    home: Path
    repository: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli", *arguments, "--home", str(self.home)]

    def environment(self) -> dict[str, str]:
        # one thread a job: two tests run side by side, and sums come out in one order
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.repository)}

    def __call__(self, *arguments: str, exit_code: int | None = 0) -> subprocess.CompletedProcess:
        result = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            cwd=self.home.parent,
            env=self.environment(),
            check=False,
        )
        if exit_code is not None:
            assert result.returncode == exit_code, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home.parent,
            env=self.environment(),
            start_new_session=True,
        )

    def executions(self) -> list[dict[str, Any]]:
        """Every execution's record, the oldest first."""
        records = [json.loads(p.read_text()) for p in self.home.glob("executions/*/execution.json")]
        return sorted(records, key=lambda record: record["started"])

    def output(self, name: str, execution: int = -1) -> Path:
        """The folder that the step of an execution stored as output ``name``."""
        for step in self.executions()[execution]["steps"].values():
            for output in step["outputs"].get("ProcessingOutputConfig", {}).get("Outputs", []):
                if output["OutputName"] == name:
                    return self.home / "s3" / output["S3Output"]["S3Uri"].removeprefix("s3://")
        raise AssertionError(f"no output {name!r}")

    def wait_for_log(self, step: str, text: str, attempt: int = 1, seconds: float = 240) -> None:
        """Until the log of that attempt of ``step``, in the one execution, holds ``text``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for log in self.home.glob(f"executions/*/steps/{step}/attempt-{attempt}/log.txt"):
                if text in log.read_text(errors="replace"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"{step} never logged {text!r} in attempt {attempt}")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Slm:
    """``slm run`` on the bundled sample with the shipped defaults: what ``make demo`` does."""
    slm = Slm(tmp_path_factory.mktemp("demo") / ".slm", repository)
    slm("run")
    return slm


@pytest.fixture(scope="session")
def tiny_arguments(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> list[str]:
    """A quick ``slm run``: a tiny base model, little data, open gates."""
    folder = tmp_path_factory.mktemp("tiny")
    base_model = write_tiny_base_model(folder / "base-model")
    raw = folder / "raw"
    raw.mkdir()
    lines = (repository / "data/smart_home/utterances.jsonl").read_text().splitlines()
    (raw / "utterances.jsonl").write_text("\n".join(lines[::3]) + "\n")
    parameters = {"BaseModel": str(base_model), "Epochs": "6", "LearningRate": "0.003"}
    arguments = ["run", "--data", str(raw)]
    for name, value in {**OPEN_GATES, **parameters}.items():
        arguments += ["--set", f"{name}={value}"]
    return arguments


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, tiny_arguments: list[str]
) -> Slm:
    """Two quick executions in one home at once, left alone to their ends; copy the home to add.

    The first to start has the default seed. Whichever worker needs it first makes it for all.
    """
    place = tmp_path_factory.getbasetemp().parent / "undisturbed"  # of all workers
    place.mkdir(exist_ok=True)
    slm = Slm(place / ".slm", repository)
    with FileLock(place / "lock"):
        if not (place / "made").exists():
            first = slm.start(*tiny_arguments)
            slm.wait_for_log("PrepareData", "")
            second = slm.start(*tiny_arguments, "--set", "Seed=1")
            assert [first.wait(400), second.wait(400)] == [0, 0]
            (place / "made").touch()
    return slm
