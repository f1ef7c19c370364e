"""``slm run``: what is shown, where it ends, and what wrong usage gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli.watching import Watcher, duration
from pipeline.local import (
    ExecutionStarted,
    StepFailed,
    StepLog,
    StepRecord,
    StepSkipped,
    StepStarted,
    StepStopped,
    StepSucceeded,
    runs,
)
from pipeline.local.runs import Execution
from tests.pipeline.cli.conftest import BUCKET


def test_a_run_shows_its_steps_then_the_figures_the_places_and_what_to_try(
    slm, home, data, definition_file
):
    done = slm("run", "--home", home, "--data", data, "--definition", definition_file)
    assert done.exit_code == 0, done.output
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "Bake the cake: started" in lines
    assert any(line.startswith("Bake the cake: done, ") for line in lines)
    assert any("94.0% (92.0–96.0)" in line and "0.981" in line for line in lines)
    assert any("TF-IDF + linear SVM" in line and "88.0%" in line for line in lines)
    assert any("champion, version 3" in line for line in lines)
    details = next(line for line in lines if line.startswith("calibration error"))
    for part in ("0.012", "int8 accuracy 93.8%", "1.3 ms", "22.9 MB", "lights version 4"):
        assert part in details
    assert any(line.startswith("package") and line.endswith("lights.zip") for line in lines)
    assert any(line.startswith("report") and line.endswith("report.html") for line in lines)
    assert any("slm predict" in line for line in lines)
    assert "Too bland" not in done.stdout


def test_the_same_again_is_cached_and_the_data_is_stored_once(slm, home, data, definition_file):
    words = ("run", "--home", home, "--data", data, "--definition", definition_file)
    assert slm(*words).exit_code == 0
    again = slm(*words)
    assert again.exit_code == 0
    assert "Bake the cake: cached" in again.stdout
    stored = list((home / "s3" / BUCKET / "my-data").iterdir())
    assert len(stored) == 1
    (data / "utterances.jsonl").write_text('{"text": "bye", "intent": "leave"}\n')
    assert "Bake the cake: done" in slm(*words).stdout
    assert len(list((home / "s3" / BUCKET / "my-data").iterdir())) == 2


def test_a_closed_gate_ends_in_one_sentence_with_figure_and_bound_and_exit_code_1(
    slm, home, data, definition_file
):
    done = slm(
        "run", "--home", home, "--data", data, "--definition", definition_file,
        "--set", "MinAccuracy=0.999",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "error: The gate is closed: accuracy 0.94, MinAccuracy 0.999." in done.stderr
    assert "94.0%" in done.stdout
    assert "try next" not in done.stdout
    assert runs.list_executions(home)[0].status == "Failed"


def test_a_failing_job_is_shown_with_its_last_lines_its_log_and_how_to_go_on(
    slm, home, data, definition_file
):
    words = ("run", "--home", home, "--data", data, "--definition", definition_file)
    done = slm(*words, "--set", "Oven=broken")
    assert done.exit_code == 1
    assert "  | about to fail" in done.stderr
    assert "error: Bake the cake failed: " in done.stderr
    execution = runs.list_executions(home)[0]
    log = next(line for line in done.stderr.splitlines() if line.startswith("log "))
    assert "about to fail" in Path(log.split(maxsplit=1)[1]).read_text()
    assert f"slm run --resume {execution.id}" in done.stderr
    assert "Traceback" not in done.output


def test_resume_goes_on_with_the_newest_or_the_named_execution(slm, home, data, definition_file):
    words = ("run", "--home", home, "--data", data, "--definition", definition_file)
    slm(*words, "--set", "Oven=broken")
    failed = runs.list_executions(home)[0]
    again = slm("run", "--home", home, "--resume")
    assert again.exit_code == 1  # the oven is still broken
    assert f"execution {failed.id} resumed" in again.stdout
    named = slm("run", "--home", home, "--resume", failed.id)
    assert named.exit_code == 1
    assert len(runs.list_executions(home)) == 1


def test_parameters_come_from_a_file_and_set_wins(slm, home, data, definition_file, tmp_path):
    file = tmp_path / "params.json"
    entries = [{"Name": "Oven", "Value": "broken"}, {"Name": "MinAccuracy", "Value": "0.5"}]
    file.write_text(json.dumps(entries))
    words = ("run", "--home", home, "--data", data, "--definition", definition_file)
    done = slm(*words, "--params", file, "--set", "Oven=warm")
    assert done.exit_code == 0, done.output
    given = runs.list_executions(home)[0].parameters
    assert (given["Oven"], given["MinAccuracy"]) == ("warm", 0.5)


def test_a_data_address_of_ones_own_is_taken_as_it_is(slm, home, data, definition_file):
    stored = home / "s3" / BUCKET / "mine"
    stored.mkdir(parents=True)
    (stored / "a.jsonl").write_text("{}")
    address = f"s3://{BUCKET}/mine"
    done = slm(
        "run", "--home", home, "--definition", definition_file, "--set", f"InputData={address}"
    )
    assert done.exit_code == 0, done.output
    assert runs.list_executions(home)[0].parameters["InputData"] == address


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "Epochs"), "--set Epochs is not NAME=VALUE"),
        (("--set", "=3"), "--set =3 is not NAME=VALUE"),
        (("--set", "Ovn=warm"), "There is no parameter Ovn"),
        (("--set", "MinAccuracy=high"), "Parameter MinAccuracy is a Float"),
        (("--set", "InputData=s3://abc/d"), "name two inputs"),
        (("--pipeline", "deployed"), "name two definitions"),
        (("--data", "nowhere"), "nowhere is not a folder"),
        (("--data", "{empty}"), "is empty"),
        (("--params", "nowhere.json"), "nowhere.json cannot be read"),
        (("--params", "{text}"), "is not a list of parameters in JSON"),
        (("--params", "{object}"), "is not a list of"),
        (("--params", "{entry}"), "entry 0, is not"),
        (("--definition", "{text}"), "is not a pipeline definition in JSON"),
        (("--definition", "{list}"), "it is not a JSON object"),
        (("abc",), "abc is one word too many"),
        (("--resume",), "leave --data"),
        (("--runtime", "rocket"), "rocket"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    slm, home, data, definition_file, tmp_path, words, said
):
    (tmp_path / "empty").mkdir()
    files = {"text": "hello", "object": "{}", "list": "[]", "entry": '[{"Name": "Oven"}]'}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(content)
    places = {name: str(tmp_path / f"{name}.json") for name in files}
    places["empty"] = str(tmp_path / "empty")
    given = [word.format(**places) for word in words]
    done = slm("run", "--home", home, "--data", data, "--definition", definition_file, *given)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert not (home / "executions").exists()


def test_an_unknown_environment_and_nothing_to_resume_are_usage_errors(slm, home, data):
    done = slm("run", "--home", home, "--data", data, "--env", "qa")
    assert (done.exit_code, "'qa' is not one of" in done.stderr) == (2, True)
    done = slm("run", "--home", home, "--resume")
    assert (done.exit_code, "waits to be resumed" in done.stderr) == (2, True)
    done = slm("run", "--home", home, "--resume", "aaaaaaaaaaaa")
    assert (done.exit_code, "no execution aaaaaaaaaaaa" in done.stderr) == (2, True)


def test_data_for_a_pipeline_that_takes_none_is_refused(slm, home, data, tmp_path):
    file = tmp_path / "bare.json"
    file.write_text('{"Version": "2020-12-01", "Steps": []}')
    done = slm("run", "--home", home, "--data", data, "--definition", file)
    assert (done.exit_code, "has no parameter InputData" in done.stderr) == (2, True)
    done = slm("run", "--home", home, "--definition", file)
    assert (done.exit_code, "the pipeline has no steps" in done.stderr) == (1, True)


def test_ctrl_c_stops_the_run_and_exits_with_130(home, data, definition_file, repository):
    content = json.loads(definition_file.read_text())
    content["Steps"][0]["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = [
        "python", "-c", "import time; print('waiting', flush=True); time.sleep(600)",
    ]  # fmt: skip
    definition_file.write_text(json.dumps(content))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run", "--home", home, "--data", data,
         "--definition", definition_file],
        cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not any("waiting" in log.read_text() for log in home.rglob("log.txt")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    execution = runs.list_executions(home)[0]
    assert execution.status == "Stopped"
    assert f"slm run --resume {execution.id}" in errors
    assert "Traceback" not in errors


def test_a_terminal_gets_a_live_table_without_fail_steps_that_are_not_reached():
    console = Console(force_terminal=True, width=90, record=True, color_system=None)
    names = {"A": "Processing", "B": "Processing", "C": "Training", "D": "Condition", "E": "Fail"}
    steps = {name: StepRecord(name, kind, f"Step {name}") for name, kind in names.items()}
    execution = Execution("abcdefghijkl", "Executing", runs.now(), {}, steps)
    with Watcher(console) as watcher:
        watcher(ExecutionStarted(execution, resumed=False))
        watcher(StepSucceeded(execution.id, "A", 0.0, cached=True))
        watcher(StepStarted(execution.id, "B", 1))
        failed = StepFailed(execution.id, "B", 1.0, "It was killed.", None, (), retry_in=5)
        watcher(failed)
        watcher(StepStarted(execution.id, "C", 1))
        watcher(StepLog(execution.id, "C", "step=3 [epoch]=1"))
        watcher(StepStopped(execution.id, "D", 2.0))
    shown = console.export_text()
    assert "✓  Step A" in shown
    assert "↻  Step B" in shown
    assert "▸  Step C" in shown
    assert "■  Step D" in shown
    assert "Step E" not in shown
    assert "step=3 [epoch]=1" in shown
    assert watcher.failures == [failed]
    assert watcher.title("B") == "Step B"


def test_lines_elsewhere_say_attempts_retries_and_skips():
    console = Console(force_terminal=False, width=200, record=True)
    steps = {"A": StepRecord("A", "Processing", ""), "B": StepRecord("B", "Fail", "Closed")}
    execution = Execution("abcdefghijkl", "Executing", runs.now(), {}, steps)
    with Watcher(console) as watcher:
        watcher(ExecutionStarted(execution, resumed=True))
        watcher(StepFailed(execution.id, "A", 1.0, "It was killed.", None, (), retry_in=5))
        watcher(StepStarted(execution.id, "A", 2))
        watcher(StepSkipped(execution.id, "B"))
    shown = console.export_text()
    assert "execution abcdefghijkl resumed" in shown
    assert "It was killed. Again in 5 s." in shown
    assert "A: started, attempt 2" in shown
    assert "Closed" not in shown


def test_times_are_written_for_people():
    assert [duration(value) for value in (0.04, 59.94, 185, 3600)] == [
        "0.0 s", "59.9 s", "3 min 05 s", "60 min 00 s",
    ]  # fmt: skip
