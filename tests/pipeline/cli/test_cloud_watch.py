"""``slm watch``: live steps, a failing job's log, throttling, and ends of all kinds."""

# ruff: noqa: E501 - tables of cases, a case a line
from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cloud import watching
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, SETTINGS, definition, environment
from tests.pipeline.cloud.stub import THROTTLED, Answer, Stub, ok, refused, serve

PIPELINE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/slm-edge-dev"
ID = "abcdefghijkl"
ARN = f"{PIPELINE}/execution/{ID}"
START, END = 1_790_000_000.0, 1_790_000_090.0
JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/pipelines-{ID}-PrepareData-x"


def execution(status: str, **more: Any) -> Answer:
    return ok(PipelineExecutionArn=ARN, PipelineExecutionStatus=status, CreationTime=START,
              LastModifiedTime=END, **more)  # fmt: skip


def steps(*found: dict[str, Any]) -> Answer:
    return ok(PipelineExecutionSteps=list(found))


def step(name: str, status: str, **more: Any) -> dict[str, Any]:
    ended = {"EndTime": END} if status in ("Succeeded", "Failed", "Stopped") else {}
    return {"StepName": name, "StepStatus": status, "StartTime": START, **ended, **more}


def script(**changes: list[Answer]) -> dict[str, list[Answer]]:
    listed = [{"PipelineExecutionArn": ARN, "StartTime": START,
               "PipelineExecutionStatus": "Executing"}]  # fmt: skip
    return {
        "ListPipelineExecutions": [ok(PipelineExecutionSummaries=listed)],
        "DescribePipelineDefinitionForExecution": [ok(PipelineDefinition=json.dumps(definition()))],
        **changes,
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of an account, with credentials in the environment and no time lost."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(watching.time, "sleep", lambda _: None)
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return path


def watch(slm, settings: Path, stub: Stub, *words: str):
    with serve(stub):
        return slm("watch", *words, "--env", settings, "--endpoint-url", stub.address)


def test_the_newest_execution_is_watched_to_its_end(slm, settings):
    waiting = step("PrepareData", "Starting")
    running = step("PrepareData", "Executing")
    done = step("PrepareData", "Succeeded")
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Executing")] * 4 + [execution("Succeeded")],
        ListPipelineExecutionSteps=[
            steps(),
            steps(waiting),
            steps(running),
            steps(done, step("Gate", "Succeeded"), step("TrainModel", "Executing")),
            steps(done, step("Gate", "Succeeded"),
                  step("TrainModel", "Succeeded", CacheHitResult={"SourcePipelineExecutionArn": ARN})),
        ],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert seen.exit_code == 0, seen.output
    assert seen.stdout.splitlines()[:6] == [
        f"execution {ID}",
        "Prepare the data: started",
        "Prepare the data: done, 1 min 30 s",
        "Quality gate: done, 1 min 30 s",
        "Train the model: started",
        "Train the model: cached, 1 min 30 s",
    ]
    assert "next     slm approve" in seen.stdout


def test_the_log_and_the_reason_of_a_failing_job_are_shown(slm, settings):
    failed = step("PrepareData", "Failed", FailureReason="ClientError: the oven\n is cold",
                  Metadata={"ProcessingJob": {"Arn": JOB}})  # fmt: skip
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Failed", FailureReason="Step failure")],
        ListPipelineExecutionSteps=[steps(failed)],
        DescribeLogStreams=[ok(logStreams=[
            {"logStreamName": "old", "lastEventTimestamp": 1},
            {"logStreamName": "algo-1", "lastEventTimestamp": 2}])],
        GetLogEvents=[ok(events=[{"message": "reading\n"}, {"message": "about to fail"}])],
    ))  # fmt: skip
    seen = watch(slm, settings, stub, ID)
    assert seen.exit_code == 1
    assert "  | reading\n  | about to fail\n" in seen.stderr
    assert "error: Prepare the data failed: ClientError: the oven is cold" in seen.stderr
    asked = dict(stub.asked)
    assert asked["DescribeLogStreams"] == {
        "logGroupName": "/aws/sagemaker/ProcessingJobs",
        "logStreamNamePrefix": f"pipelines-{ID}-PrepareData-x/",
    }
    assert asked["GetLogEvents"]["logStreamName"] == "algo-1"
    assert asked["GetLogEvents"]["limit"] == watching.LOG_LINES


@pytest.mark.parametrize(
    ("streams", "shown"),
    [
        (ok(logStreams=[]), None),
        (refused("ResourceNotFoundException", "The specified log group does not exist."), "does not exist"),
        (refused("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: logs:DescribeLogStreams on resource: z"), "logs:DescribeLogStreams"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_read_does_not_hide_the_reason(slm, settings, streams, shown):
    job = {"TrainingJob": {"Arn": JOB.replace("processing", "training")}}
    failed = step("TrainModel", "Failed", FailureReason="AlgorithmError", Metadata=job)
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Failed")],
        ListPipelineExecutionSteps=[steps(failed)],
        DescribeLogStreams=[streams],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert seen.exit_code == 1
    assert "error: Train the model failed: AlgorithmError" in seen.stderr
    assert shown is None or shown in seen.stderr
    assert dict(stub.asked)["DescribeLogStreams"]["logGroupName"] == "/aws/sagemaker/TrainingJobs"


def test_a_closed_gate_is_told_by_its_message(slm, settings):
    closed = step("Closed", "Failed", Metadata={"Fail": {"ErrorMessage": "accuracy 0.4 is low"}})
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Failed")],
        ListPipelineExecutionSteps=[steps(step("PrepareData", "Succeeded"), closed)],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert seen.exit_code == 1
    assert "error: Gate closed failed: accuracy 0.4 is low" in seen.stderr
    assert "|" not in seen.stderr


def test_a_failure_outside_the_steps_is_told(slm, settings):
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Failed", FailureReason="The role may not run.")],
        ListPipelineExecutionSteps=[steps()],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert (seen.exit_code, "error: The role may not run." in seen.stderr) == (1, True)


def test_an_execution_that_was_stopped_ends_with_130(slm, settings):
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Stopping"), execution("Stopped")],
        ListPipelineExecutionSteps=[steps(step("PrepareData", "Stopping")),
                                    steps(step("PrepareData", "Stopped"))],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert (seen.exit_code, f"Execution {ID} was stopped." in seen.stderr) == (130, True)
    assert "Prepare the data: stopped" in seen.stdout


def test_a_step_that_is_tried_again_is_started_again(slm, settings):
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Executing")] * 2 + [execution("Succeeded")],
        ListPipelineExecutionSteps=[
            steps(step("PrepareData", "Executing", AttemptCount=1)),
            steps(step("PrepareData", "Executing", AttemptCount=2)),
            steps(step("PrepareData", "Succeeded", AttemptCount=2), step("Unheard", "Succeeded")),
        ],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert "Prepare the data: started, attempt 2" in seen.stdout


def test_throttling_makes_it_wait_longer_and_never_ends_it(slm, settings, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(watching.time, "sleep", waits.append)
    failed = step("PrepareData", "Failed", FailureReason="cold",
                  Metadata={"ProcessingJob": {"Arn": JOB}})  # fmt: skip
    stub = Stub(**script(
        DescribePipelineExecution=[
            *[THROTTLED] * 5, refused("InternalFailure", status=500), execution("Executing"),
            execution("Executing"), execution("Executing"), execution("Failed"),
        ],
        ListPipelineExecutionSteps=[steps(), THROTTLED, steps(failed)],
        DescribeLogStreams=[THROTTLED, ok(logStreams=[{"logStreamName": "a"}])],
        GetLogEvents=[ok(events=[{"message": "the last words"}])],
    ))  # fmt: skip
    seen = watch(slm, settings, stub, ARN)
    assert seen.exit_code == 1, seen.output
    assert "AWS is throttling DescribePipelineExecution" in seen.stdout
    assert "Asking again in 10 s." in seen.stdout
    assert max(waits) == watching.SLOWEST_SECONDS
    assert waits[:7] == [10, 20, 40, 60, 60, 60, 5]
    assert seen.stderr.count("the last words") == 1
    assert seen.stdout.count("Prepare the data: failed") == 1
    assert "Traceback" not in seen.output


def test_credentials_that_expire_end_the_watch_but_not_the_execution(slm, settings):
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Executing"), refused("ExpiredTokenException")],
        ListPipelineExecutionSteps=[steps()],
    ))  # fmt: skip
    seen = watch(slm, settings, stub)
    assert seen.exit_code == 1
    assert "the credentials have expired; log in" in seen.stderr
    assert f"Execution {ID} goes on." in seen.stderr


@pytest.mark.parametrize(
    ("words", "answers", "said"),
    [
        ((), {"ListPipelineExecutions": [ok(PipelineExecutionSummaries=[])]}, "has no execution in account 123456789012 (eu-west-1): start one with slm start."),
        ((), {"ListPipelineExecutions": [refused("ResourceNotFound", "Pipeline does not exist.")]}, "Pipeline slm-edge-dev is not deployed"),
        ((ID,), {"DescribePipelineExecution": [refused("ResourceNotFound", "x does not exist.")]}, f"has no execution {ID}"),
        (("nonsense",), {}, "'nonsense' is not an execution: give its ARN"),
        ((ARN.replace("slm-edge-dev", "other"),), {}, "choose its environment with --env."),
        ((ID,), {"DescribePipelineExecution": [refused("AccessDeniedException", "no identity-based policy")]}, "may not call sagemaker:DescribePipelineExecution"),
        ((), {"ListPipelineExecutions": [THROTTLED]}, "AWS is throttling ListPipelineExecutions; wait a minute"),
        ((ID,), {"DescribePipelineExecution": [execution("Executing")], "DescribePipelineDefinitionForExecution": [ok(PipelineDefinition="[]")]}, f"The definition of {ID} is not a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_one_sentence(slm, settings, words, answers, said):
    seen = watch(slm, settings, Stub(**script(**answers)), *words)
    assert (seen.exit_code, said in seen.stderr) == (1, True), seen.output
    assert seen.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_stops_watching_and_not_the_execution(settings):
    stub = Stub(**script(
        DescribePipelineExecution=[execution("Executing")],
        ListPipelineExecutionSteps=[steps(step("PrepareData", "Executing"))],
    ))  # fmt: skip
    with serve(stub):
        words = ["watch", "--env", str(settings), "--endpoint-url", stub.address]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background jobs, which these tests may be, inherit that it is ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        stub.wait_for("ListPipelineExecutionSteps")
        assert process.stdout is not None
        assert process.stdout.readline().startswith("execution ")
        assert process.stdout.readline() == "Prepare the data: started\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Stopped watching; execution {ID} goes on." in errors
    assert f"slm watch {ID} --env {settings} --endpoint-url {stub.address}" in errors
    assert f"stop-pipeline-execution --pipeline-execution-arn {ARN}" in errors
    assert "StopPipelineExecution" not in stub.operations()


def test_a_step_that_began_before_the_watch_shows_how_long_it_runs(settings):
    from rich.console import Console

    from pipeline.cli.watching import Watcher
    from pipeline.local import ExecutionStarted, StepStarted
    from pipeline.local.runs import Execution, StepRecord

    console = Console(force_terminal=True, width=100, record=True)
    record = StepRecord("Bake", "Processing", "Bake it")
    running = Execution("abcdefghijkl", "Executing", "", {}, {"Bake": record})
    with Watcher(console) as watcher:
        watcher(ExecutionStarted(running, resumed=False))
        watcher(StepStarted(running.id, "Bake", 1, running=600.0))
    assert "10 min 0" in console.export_text()
