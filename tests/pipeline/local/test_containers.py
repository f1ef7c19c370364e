"""The container runtime, with programs that stand in for podman and docker.

The stand-in records its arguments, then runs the entrypoint here with ``/opt/ml`` where the
mount points: what a container would see, without one.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.local import StepLog
from pipeline.local.containers import write_environment
from pipeline.local.errors import PipelineError
from tests.pipeline.local.workshop import Workshop, definition, output_of, processing, training

ENGINE = """#!{python}
import json, os, pathlib, subprocess, sys
words = sys.argv[1:]
with open({calls!r}, "a") as calls: calls.write(json.dumps([os.path.basename(sys.argv[0]), *words]) + "\\n")
if words[0] == "image":
    if words[-1].startswith("unknown"): sys.exit(125)
    print("sha256:" + words[-1]); sys.exit(0)
if words[0] in ("stop", "rm"):
    for file in pathlib.Path({calls!r}).parent.glob("*.pid"):
        os.kill(int(file.read_text()), 15 if words[0] == "stop" else 9)
    sys.exit(0)
value = lambda flag: words[words.index(flag) + 1]
file = pathlib.Path(value("--env-file"))
environment = dict(line.split("=", 1) for line in file.read_text().splitlines())
mounts = [words[i + 1] for i, word in enumerate(words) if word == "--volume"]
ml = next(mount.removesuffix(":/opt/ml") for mount in mounts if mount.endswith(":/opt/ml"))
for mount in mounts:
    source, target = mount.split(":")[:2]
    if target.startswith("/opt/ml/") and not os.path.exists(ml + target[7:]):
        os.symlink(source, ml + target[7:])
image = next(i for i, word in enumerate(words) if word.startswith(("slm/", "unknown/")))
program = value("--entrypoint") if "--entrypoint" in words else "image-default"
environment |= {{"SLM_ML_ROOT": ml, "PYTHONPATH": {source!r}, "MODE": oct(file.stat().st_mode)}}
if program == "image-default": print(program, *words[image + 1:]); sys.exit(0)
process = subprocess.Popen([{python!r}, *words[image + 1:]], env=environment)
pathlib.Path({calls!r}).with_name(value("--name") + ".pid").write_text(str(process.pid))
code = process.wait()
pathlib.Path({calls!r}).with_name(value("--name") + ".pid").unlink()
sys.exit(code if code >= 0 else 128 - code)
"""  # noqa: E501


@pytest.fixture
def calls(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one line per call of an engine; podman and docker are on the PATH."""
    folder = workshop.root / "bin"
    folder.mkdir()
    file = workshop.root / "engine" / "calls"
    file.parent.mkdir()
    text = ENGINE.format(python=sys.executable, calls=str(file), source=str(workshop.source))
    for name in ("podman", "docker"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return file


def read(calls: Path, verb: str) -> list[list[str]]:
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    return [line for line in lines if line[1] == verb]


def pipeline() -> dict[str, Any]:
    return definition(
        processing(
            "Make", outputs=["made"], arguments=["--x", "1"], environment={"HUB_TOKEN": "secret"}
        ),
        training(
            "Train",
            channels={"made": output_of("Make", "made")},
            checkpoints="s3://work-bucket/checkpoints",
        ),
    )


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.job("make", """
(out / "made" / "made.json").write_text(json.dumps({"e": dict(os.environ), "a": sys.argv[1:]}))
""")  # fmt: skip
    workshop.job("train", """
(ml / "checkpoints" / "state").write_text("kept")
(ml / "model" / "weights").write_text((ml / "input/data/made/made.json").read_text())
""")  # fmt: skip
    return workshop


def test_a_job_runs_in_its_image_with_the_same_contract(
    ready: Workshop, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_CONTAINER_FLAGS", "--ulimit 'nproc=1024:1024' --network host")
    execution = ready.run(pipeline(), runtime="podman")

    assert execution.status == "Succeeded", execution.failure_reason
    make, train = read(calls, "run")
    name = execution.steps["Make"].outputs["ProcessingJobName"]
    attempt = ready.home / "executions" / execution.id / "steps" / "Make" / "attempt-1"
    assert make == [
        *("podman", "run", "--rm", "--name", name, "--env-file", str(attempt / "environment")),
        *("--volume", f"{attempt / 'ml'}:/opt/ml", "--volume", f"{ready.home}:{ready.home}"),
        *("--volume", f"{ready.home}/s3:{ready.home}/s3:ro"),
        *("--volume", f"{ready.home}/cache:{ready.home}/cache:ro"),
        *("--volume", f"{ready.home}/executions:{ready.home}/executions:ro"),
        *("--ulimit", "nproc=1024:1024", "--network", "host"),
        *("--entrypoint", "python", "slm/processing:1", "-m", "jobs.make", "--x", "1"),
    ]
    assert f"{ready.home}/s3/work-bucket/checkpoints:/opt/ml/checkpoints" in train
    assert ready.read("s3://work-bucket/checkpoints/state") == "kept"
    made = json.loads(ready.read(f"s3://work-bucket/runs/{execution.id}/Make/made/made.json"))
    assert made["a"] == ["--x", "1"]
    assert made["e"]["HUB_TOKEN"] == "secret"
    assert made["e"]["SLM_REGISTRY"] == "mlflow"
    assert made["e"]["MODE"] == oct(stat.S_IFREG | 0o600)
    assert "secret" not in calls.read_text()
    assert not (attempt / "environment").exists()


def test_docker_runs_a_job_as_the_user(ready: Workshop, calls: Path) -> None:
    assert ready.run(pipeline(), runtime="docker").status == "Succeeded"
    assert f"--user {os.getuid()}:{os.getgid()}" in " ".join(read(calls, "run")[0])


def test_an_image_runs_its_own_command_when_none_is_named(workshop: Workshop, calls: Path) -> None:
    train, make = training("Train"), processing("Make", arguments=["--x"])
    del train["Arguments"]["AlgorithmSpecification"]["ContainerEntrypoint"]
    del make["Arguments"]["AppSpecification"]["ContainerEntrypoint"]
    document = definition(train, make)
    assert workshop.run(document, runtime="podman", max_parallel=1).status == "Succeeded"
    lines = [event.line for event in workshop.of_kind(StepLog)]
    assert lines == ["image-default train", "image-default --x"]


def test_another_image_is_another_result(ready: Workshop, calls: Path) -> None:
    document = pipeline()
    for step in document["Steps"]:
        step["CacheConfig"] = {"Enabled": True}
    ready.run(document, runtime="podman")
    again = ready.run(document, runtime="podman")
    assert [step.cached for step in again.steps.values()] == [True, True]
    assert not any(step.cached for step in ready.run(document).steps.values())


def test_an_image_that_is_not_there_yet_is_not_cached(ready: Workshop, calls: Path) -> None:
    step = processing("Make", outputs=["made"], CacheConfig={"Enabled": True})
    step["Arguments"]["AppSpecification"]["ImageUri"] = "unknown/image"
    for _ in range(2):
        assert not ready.run(definition(step), runtime="podman").steps["Make"].cached


def test_a_killed_container_counts_as_killed(workshop: Workshop, calls: Path) -> None:
    workshop.job("die", "os.kill(os.getpid(), signal.SIGKILL)")
    execution = workshop.run(definition(processing("Die")), runtime="podman")
    assert execution.steps["Die"].failure_reason == "The job was killed by signal 9."


def test_a_container_is_stopped_by_its_name(workshop: Workshop, calls: Path) -> None:
    import signal

    workshop.job("sleep", 'print("up", flush=True); time.sleep(600)')

    def interrupt(event: object) -> None:
        if isinstance(event, StepLog) and event.line == "up":
            os.kill(os.getpid(), signal.SIGINT)

    execution = workshop.run(definition(processing("Sleep")), interrupt, runtime="podman")
    assert execution.status == "Stopped"
    ((engine, *stop),) = read(calls, "stop")
    assert engine == "podman"
    assert stop[:3] == ["stop", "-t", "10"]
    assert stop[3].startswith(f"pipelines-{execution.id}-Sleep-")


def test_a_variable_of_several_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="Variable A has several lines"):
        write_environment(tmp_path / "environment", {"A": "1\n2"})
