"""Ctrl-C, SIGTERM, kill -9, and going on afterwards; with a runner in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local import StepLog, UsageError, runs
from tests.pipeline.local.workshop import (
    Workshop,
    definition,
    get,
    output_of,
    parameter,
    processing,
    run_address,
    training,
)

REPOSITORY = Path(__file__).parents[3]
QUICK = 'print("ran"); (out / "made" / "made.txt").write_text("made")'
SLOW = """
state = ml / "checkpoints" / "state"
done = int(state.read_text()) if state.exists() else 0
print("from", done, os.getpid(), os.getppid(), flush=True)
if done == 0:
    state.with_suffix(".part").write_text("1"); state.with_suffix(".part").rename(state)
    print("saved", flush=True)
    time.sleep(600)
(ml / "model" / "weights").write_text("trained")
"""


def pipeline() -> dict[str, Any]:
    return definition(
        processing("Make", outputs=["made"]),
        training(
            "Train",
            channels={"made": output_of("Make", "made")},
            checkpoints=run_address("checkpoints"),
        ),
        processing("Use", inputs={"m": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}),
    )


class Runner:
    """A runner in its own process, read line by line."""

    def __init__(self, workshop: Workshop, document: dict[str, Any], *more: str) -> None:
        file = workshop.root / "definition.json"
        file.write_text(json.dumps(document))
        command = [sys.executable, "-m", "tests.pipeline.local.runner_process"]
        self.process = subprocess.Popen(
            [*command, str(workshop.root), str(file), *more],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[str] = []

    def until(self, wanted: str) -> str:
        """Read until a line that contains ``wanted``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.strip())
            if wanted in line:
                return line.strip()
        assert self.process.stderr is not None
        raise AssertionError(f"{wanted!r} not in {self.seen}: {self.process.stderr.read()}")

    def end(self) -> int:
        output, _ = self.process.communicate()
        self.seen += output.splitlines()
        return self.process.returncode


@pytest.fixture
def start(workshop: Workshop) -> Iterator[Callable[..., Runner]]:
    started: list[Runner] = []

    def begin(*more: str, document: dict[str, Any] | None = None) -> Runner:
        started.append(Runner(workshop, document or pipeline(), *more))
        return started[-1]

    yield begin
    for runner in started:
        runner.process.kill()
        runner.process.communicate()


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.job("make", QUICK)
    workshop.job("train", SLOW)
    workshop.job("use", 'print("used")')
    return workshop


def is_gone(pid: int) -> bool:
    """Whether a process ends soon: it is gone, or only waits for its parent to notice."""
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def begin_training(start: Callable[..., Runner]) -> tuple[Runner, str, list[int]]:
    """A runner whose training has saved a checkpoint; the execution's id; job and launcher."""
    runner = start()
    identity = runner.until("ExecutionStarted").split()[1]
    pids = [int(pid) for pid in runner.until("log Train from 0").split()[-2:]]
    runner.until("log Train saved")
    return runner, identity, pids


def assert_resumes(ready: Workshop, identity: str) -> None:
    execution = ready.run({}, resume=identity)
    assert execution.status == "Succeeded", execution.failure_reason
    logs = [(event.step, event.line.rpartition(" ")[0][:6]) for event in ready.of_kind(StepLog)]
    assert logs == [("Train", "from 1"), ("Use", "")]
    assert execution.steps["Train"].attempts == 2
    with pytest.raises(UsageError, match="has succeeded: there is nothing to resume"):
        ready.run({}, resume=identity)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_execution_is_recorded_and_can_go_on(
    ready: Workshop, start: Callable[..., Runner], number: int
) -> None:
    runner, identity, pids = begin_training(start)
    runner.process.send_signal(number)
    assert runner.end() == 0
    assert runner.seen[-2:] == ["StepStopped Train", f"ExecutionEnded {identity} Stopped"]
    assert all(is_gone(pid) for pid in pids)
    execution = runs.load(ready.home, identity)
    assert ready.statuses(execution) == {
        "Make": "Succeeded",
        "Train": "Stopped",
        "Use": "NotStarted",
    }
    assert_resumes(ready, identity)


def test_an_execution_whose_runner_was_killed_leaves_no_job_and_goes_on(
    ready: Workshop, start: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, identity, pids = begin_training(start)
    assert runs.load(ready.home, identity).status == "Executing"
    with monkeypatch.context() as impatient:
        impatient.setattr(runs, "LOCK_PATIENCE_SECONDS", 0.0)
        with pytest.raises(UsageError, match="is still running: stop it first, or wait"):
            ready.run({}, resume=identity)

    runner.process.kill()
    runner.end()
    assert all(is_gone(pid) for pid in pids)
    execution = runs.load(ready.home, identity)
    assert execution.status == "Stopped"
    assert f"slm run --resume {identity}" in (execution.failure_reason or "")
    assert_resumes(ready, identity)


def test_everything_killed_at_once_loses_nothing(
    ready: Workshop, start: Callable[..., Runner]
) -> None:
    runner, identity, pids = begin_training(start)
    for pid in (runner.process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    runner.end()
    assert_resumes(ready, identity)


def test_a_job_whose_launcher_is_killed_dies_with_it(
    ready: Workshop, start: Callable[..., Runner]
) -> None:
    runner, identity, (job, launcher) = begin_training(start)
    os.kill(launcher, signal.SIGKILL)
    assert is_gone(job)
    runner.end()
    record = runs.load(ready.home, identity).steps["Train"]
    assert record.failure_reason == "The job was killed by signal 9."


def test_a_second_ctrl_c_does_not_wait_for_a_deaf_job(
    ready: Workshop, start: Callable[..., Runner]
) -> None:
    ready.job("make", """
signal.signal(signal.SIGTERM, lambda *_: print("deaf", flush=True))
print("up", flush=True)
while True: time.sleep(1)
""")  # fmt: skip
    runner = start()
    runner.until("log Make up")
    runner.process.send_signal(signal.SIGINT)
    runner.until("log Make deaf")
    runner.process.send_signal(signal.SIGINT)
    assert runner.end() == 0
    assert runner.seen[-1].endswith("Stopped")


def test_a_resumed_execution_keeps_its_definition_and_parameters(ready: Workshop) -> None:
    ready.job("make", "sys.exit(1)")
    document = definition(
        processing("Make", arguments=[get("Parameters.Word")]),
        parameters=[parameter("Word", default="a")],
    )
    identity = ready.run(document, parameters={"Word": "b"}).id

    other = definition(processing("Make"))
    with pytest.raises(UsageError, match="runs another definition than the one given"):
        ready.run(other, resume=identity)
    with pytest.raises(UsageError, match="has Word=b, not c: resume it without --set"):
        ready.run(document, resume=identity, parameters={"Word": "c"})
    ready.endpoint_url = "http://127.0.0.1:1"
    with pytest.raises(UsageError, match="keeps its data at the home folder"):
        ready.run(document, resume=identity)
    ready.endpoint_url = None

    ready.job("make", 'print(sys.argv[1])')  # fmt: skip
    execution = ready.run(document, resume=identity, parameters={"Word": "b"})
    assert execution.status == "Succeeded"
    assert [event.line for event in ready.of_kind(StepLog)] == ["b"]
    assert execution.parameters == {"Word": "b"}


def test_a_listener_that_breaks_stops_the_jobs(ready: Workshop) -> None:
    pids: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, StepLog) and event.line.startswith("from"):
            pids.extend(int(pid) for pid in event.line.split()[-2:])
        if isinstance(event, StepLog) and event.line == "saved":
            raise RuntimeError("broken listener")

    with pytest.raises(RuntimeError, match="broken listener"):
        ready.run(pipeline(), listen)
    assert all(is_gone(pid) for pid in pids)
    (execution,) = runs.list_executions(ready.home)
    assert execution.status == "Stopped"
    assert ready.statuses(execution)["Train"] == "Stopped"


def test_two_runs_in_one_home_do_not_harm_each_other(
    ready: Workshop, start: Callable[..., Runner]
) -> None:
    ready.job("train", '(ml / "model" / "weights").write_text("x" * 100_000)')
    document = pipeline()
    for step in document["Steps"]:
        step["CacheConfig"] = {"Enabled": True}
    fixed = "s3://work-bucket/the-same-place"
    outputs = document["Steps"][0]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    outputs[0]["S3Output"]["S3Uri"] = fixed

    runners = [start(document=document) for _ in range(2)]

    assert [runner.end() for runner in runners] == [0, 0]
    executions = runs.list_executions(ready.home)
    assert [execution.status for execution in executions] == ["Succeeded", "Succeeded"]
    assert len({execution.id for execution in executions}) == 2
    assert ready.read(f"{fixed}/made.txt") == "made"
    assert [record.cached for record in ready.run(document).steps.values()] == [True] * 3
    assert not list(ready.home.rglob("*.partial"))


def test_independent_steps_run_side_by_side(workshop: Workshop) -> None:
    meet = """
mine, other = (pathlib.Path(word) for word in sys.argv[1:])
mine.touch()
while not other.exists(): time.sleep(0.01)
"""
    workshop.job("meet", meet)
    one, two = str(workshop.root / "one"), str(workshop.root / "two")
    document = definition(
        processing("One", module="meet", arguments=[one, two]),
        processing("Two", module="meet", arguments=[two, one]),
    )
    assert workshop.run(document, max_parallel=2).status == "Succeeded"


def test_no_more_jobs_run_at_once_than_allowed(workshop: Workshop) -> None:
    workshop.job("alone", """
lock = pathlib.Path(sys.argv[1]); lock.mkdir(); time.sleep(0.05); lock.rmdir()
""")  # fmt: skip
    lock: list[object] = [str(workshop.root / "lock")]
    steps = [processing(name, module="alone", arguments=lock) for name in ("A", "B", "C")]
    assert workshop.run(definition(*steps), max_parallel=1).status == "Succeeded"


def test_after_a_failure_what_runs_may_end_and_nothing_new_starts(workshop: Workshop) -> None:
    workshop.job("wrong", "sys.exit(1)")
    workshop.job("slow", """
record = pathlib.Path(sys.argv[1])
while '"Failed"' not in next(record.glob("*/execution.json")).read_text(): time.sleep(0.01)
""")  # fmt: skip
    executions: list[object] = [str(workshop.home / "executions")]
    document = definition(
        processing("Slow", arguments=executions),
        processing("Wrong"),
        processing("After", DependsOn=["Slow"]),
    )
    execution = workshop.run(document)
    assert workshop.statuses(execution) == {
        "Slow": "Succeeded",
        "Wrong": "Failed",
        "After": "NotStarted",
    }
    assert (execution.failure_reason or "").startswith("Step Wrong: The job ended with exit code 1")
