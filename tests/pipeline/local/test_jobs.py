"""A job finds what SageMaker would give its container, and leaves what SageMaker would take."""

from __future__ import annotations

import errno
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.local import StepFailed, StepStarted, StorageError, runs, storage
from pipeline.local.environment import commit_of
from tests.pipeline.local.workshop import (
    Workshop,
    definition,
    get,
    output_of,
    parameter,
    processing,
    training,
)

LOOK = """
(out / "seen" / "seen.json").write_text(json.dumps({
    "files": {str(p.relative_to(ml)): p.read_text()
              for p in sorted(ml.rglob("*")) if p.is_file()},
    "folders": sorted(str(p.relative_to(ml)) for p in ml.rglob("*") if p.is_dir()),
    "environment": dict(os.environ), "cwd": os.getcwd(), "python": sys.executable,
    "group": os.getpgid(0), "arguments": sys.argv[1:]}))
"""


def test_a_processing_job_finds_its_container(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "private")
    monkeypatch.setenv("MY_DIARY", "private")
    workshop.job("look", LOOK)
    workshop.put("s3://data-bucket/raw", {"a.txt": "one", "deep/b.txt": "two"})
    document = definition(
        processing(
            "Look",
            inputs={"raw": "s3://data-bucket/raw/", "one": "s3://data-bucket/raw/a.txt"},
            outputs=["seen"],
            arguments=["--a", "1"],
            environment={"SLM_OWN": get("Parameters.Own"), "OMP_NUM_THREADS": "2"},
        ),
        parameters=[parameter("Own", "Integer", 7)],
    )

    execution = workshop.run(document)

    assert execution.status == "Succeeded", execution.failure_reason
    seen = json.loads(workshop.read(f"s3://work-bucket/runs/{execution.id}/Look/seen/seen.json"))
    files, environment = seen["files"], seen["environment"]
    assert files["processing/input/raw/a.txt"] == "one"
    assert files["processing/input/raw/deep/b.txt"] == "two"
    assert files["processing/input/one/a.txt"] == "one"
    job = json.loads(files["config/processingjobconfig.json"])
    assert job["ProcessingJobName"] == execution.steps["Look"].outputs["ProcessingJobName"]
    assert job["Environment"]["SLM_OWN"] == 7
    assert json.loads(files["config/resourceconfig.json"])["hosts"] == ["algo-1"]
    assert "output" in seen["folders"]
    assert seen["arguments"] == ["--a", "1"]
    assert environment["SLM_ML_ROOT"] == seen["cwd"]
    assert environment["SLM_REGISTRY"] == "mlflow"
    assert environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{workshop.home}/mlflow.db"
    assert environment["SLM_EXECUTION_ID"] == execution.id
    assert environment["SLM_COMMIT"] == ""
    assert environment["SLM_OWN"] == "7"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["PYTHONPATH"] == str(workshop.source)
    assert environment["PROCESSING_JOB_NAME"] == job["ProcessingJobName"]
    assert not {"MY_DIARY", "AWS_SECRET_ACCESS_KEY"} & environment.keys()


def test_a_training_job_finds_its_container_and_leaves_a_model(workshop: Workshop) -> None:
    workshop.job("train", """
config = ml / "input" / "config"
(ml / "model" / "deep").mkdir()
(ml / "model" / "deep" / "seen.json").write_text(json.dumps({
    "config": {p.name: json.loads(p.read_text()) for p in config.iterdir()},
    "data": (ml / "input" / "data" / "prepared" / "x.txt").read_text(),
    "checkpoints": os.listdir(ml / "checkpoints")}))
(ml / "checkpoints" / "step-1").write_text("1")
(ml / "output" / "data" / "plot.txt").write_text("a plot")
print("loss=0.5 accuracy=0.25"); print("loss=0.125 accuracy=high"); print("loss=nothing")
""")  # fmt: skip
    workshop.put("s3://data-bucket/prepared", {"x.txt": "rows"})
    document = definition(
        training(
            "Train",
            channels={"prepared": "s3://data-bucket/prepared"},
            hyperparameters={"epochs": get("Parameters.Epochs"), "rate": "0.1", "flag": True},
            metrics={"loss": r"loss=([0-9.]+)", "accuracy": r"accuracy=(\S+)", "none": "no=(.)"},
            checkpoints="s3://work-bucket/checkpoints/shared",
        ),
        parameters=[parameter("Epochs", "Integer", 2)],
    )

    execution = workshop.run(document)

    outputs = execution.steps["Train"].outputs
    assert execution.status == "Succeeded", execution.failure_reason
    model = outputs["ModelArtifacts"]["S3ModelArtifacts"]
    name = outputs["TrainingJobName"]
    assert model == f"s3://work-bucket/models/{name}/output/model.tar.gz"
    assert name.startswith(f"pipelines-{execution.id}-Train-")
    archive = workshop.home / "s3" / model.removeprefix("s3://")
    with tarfile.open(archive, "r:gz") as tar:
        assert tar.getnames() == ["deep", "deep/seen.json"]
        member = tar.extractfile("deep/seen.json")
        assert member is not None
        seen = json.loads(member.read())
    assert seen["data"] == "rows"
    assert seen["checkpoints"] == []
    assert seen["config"]["hyperparameters.json"] == {"epochs": "2", "rate": "0.1", "flag": "true"}
    assert seen["config"]["inputdataconfig.json"]["prepared"]["TrainingInputMode"] == "File"
    assert seen["config"]["resourceconfig.json"]["current_instance_type"] == "ml.m5.xlarge"
    with tarfile.open(archive.with_name("output.tar.gz")) as tar:
        assert tar.getnames() == ["plot.txt"]
    assert workshop.read("s3://work-bucket/checkpoints/shared/step-1") == "1"
    metrics = {m["MetricName"]: m["Value"] for m in outputs["FinalMetricDataList"]}
    assert metrics == {"loss": 0.125, "accuracy": 0.25}
    assert outputs["TrainingJobStatus"] == "Completed"


def test_the_same_model_is_packed_into_the_same_bytes(workshop: Workshop) -> None:
    workshop.job("train", """
(ml / "model" / "weights").write_text("abc"); os.utime(ml / "model", (time.time_ns() % 10**6, 0))
""")  # fmt: skip
    archives: list[bytes] = []
    for _ in range(2):
        outputs = workshop.run(definition(training("Train"))).steps["Train"].outputs
        model = outputs["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://")
        archives.append((workshop.home / "s3" / model).read_bytes())
    assert archives[0] == archives[1]


def test_a_job_cannot_alter_what_is_stored(workshop: Workshop) -> None:
    workshop.job("spoil", '(inp / "raw" / "a.txt").write_text("spoiled")')
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})
    execution = workshop.run(
        definition(processing("Spoil", inputs={"raw": "s3://data-bucket/raw"}))
    )
    assert execution.status == "Succeeded"
    assert workshop.read("s3://data-bucket/raw/a.txt") == "one"


def failing(workshop: Workshop, body: str, kind: str = "processing") -> tuple[str, StepFailed]:
    workshop.job("break", body)
    step = processing("Break", outputs=["made"]) if kind == "processing" else training("Break")
    execution = workshop.run(definition(step, processing("After", DependsOn=["Break"])))
    assert execution.status == "Failed"
    assert workshop.statuses(execution) == {"Break": "Failed", "After": "NotStarted"}
    assert not (workshop.home / "s3" / "work-bucket").exists()
    (event,) = workshop.of_kind(StepFailed)
    return execution.steps["Break"].failure_reason or "", event


def test_the_failure_file_of_a_processing_job_is_the_reason(workshop: Workshop) -> None:
    body = (
        '(ml / "output" / "message").write_text("The folder is empty: add rows.\\n"); sys.exit(1)'
    )
    reason, event = failing(workshop, "[print(n) for n in range(50)]\n" + body)
    assert reason == event.reason == "The folder is empty: add rows."
    assert event.log_tail == tuple(str(n) for n in range(30, 50))
    assert event.log is not None
    assert event.log.read_text().startswith("0\n1\n")


def test_the_failure_file_of_a_training_job_is_the_reason(workshop: Workshop) -> None:
    body = '(ml / "output" / "failure").write_text("No CUDA device."); sys.exit(1)'
    reason, _ = failing(workshop, body, "training")
    assert reason == "No CUDA device."


def test_without_a_failure_file_the_end_of_the_log_is_the_reason(workshop: Workshop) -> None:
    reason, _ = failing(workshop, 'print("half\\rdone"); sys.exit("cannot go on")')
    assert reason == "The job ended with exit code 1: cannot go on"


def test_a_job_without_a_word_says_so(workshop: Workshop) -> None:
    reason, _ = failing(workshop, "sys.exit(3)")
    assert reason == "The job ended with exit code 3: it wrote no log"


def test_a_killed_job_names_the_signal(workshop: Workshop) -> None:
    reason, _ = failing(workshop, "os.kill(os.getpid(), signal.SIGKILL)")
    assert reason == "The job was killed by signal 9."


def test_a_program_that_is_not_there_is_named(workshop: Workshop) -> None:
    step = processing("Break")
    step["Arguments"]["AppSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    execution = workshop.run(definition(step))
    reason = "no-such-program cannot be run: No such file or directory."
    assert execution.steps["Break"].failure_reason == reason


def test_an_input_that_is_not_there_is_named_with_its_folder(workshop: Workshop) -> None:
    execution = workshop.run(definition(processing("Look", inputs={"raw": "s3://data-bucket/raw"})))
    reason = execution.steps["Look"].failure_reason or ""
    assert reason.startswith("Nothing is stored at s3://data-bucket/raw: ")
    assert str(workshop.home / "s3/data-bucket/raw") in reason


def test_a_full_disk_is_named_and_nothing_is_half_published(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.job("make", '(out / "made" / "a.txt").write_text("a")')
    workshop.job("use", "")
    document = definition(
        processing("Make", outputs=["made"]),
        processing("Use", inputs={"made": output_of("Make", "made")}),
    )

    def full(source: Path, target: Path) -> None:
        target.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(storage, "copy_file", full)
    execution = workshop.run(document)
    reason = execution.steps["Use"].failure_reason or ""
    assert reason.startswith("The disk is full while writing ")
    assert reason.endswith("a.txt: free some space, then resume.")
    monkeypatch.undo()
    assert workshop.run({}, resume=execution.id).status == "Succeeded"


def test_a_record_that_cannot_be_written_stops_the_execution_in_one_sentence(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.job("make", 'print("up", flush=True); time.sleep(600)')
    written = runs.write_json

    def full(path: Path, value: object) -> None:
        if path.name == "execution.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written(path, value)

    def listen(event: object) -> None:
        if isinstance(event, StepStarted):
            monkeypatch.setattr(runs, "write_json", full)

    workshop.job("quick", "")
    document = definition(processing("Quick"), processing("Make"))
    with pytest.raises(StorageError, match=r"The disk is full while writing .*execution\.json: "):
        workshop.run(document, listen)
    monkeypatch.undo()
    (execution,) = runs.list_executions(workshop.home)
    assert execution.status == "Stopped"
    workshop.job("make", "")
    assert workshop.run({}, resume=execution.id).status == "Succeeded"


def test_a_home_that_cannot_be_made_is_named(workshop: Workshop) -> None:
    workshop.home.write_text("a file")
    with pytest.raises(
        StorageError, match=r"\.slm/executions cannot be read or written: Not a dir"
    ):
        workshop.run(definition(processing("Make")))


def test_what_a_job_leaves_running_is_ended_with_it(workshop: Workshop, tmp_path: Path) -> None:
    workshop.job("leave", """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
""")  # fmt: skip
    workshop.run(definition(processing("Leave", arguments=[str(tmp_path / "pid")])))
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_secrets_stay_out_of_the_record(workshop: Workshop) -> None:
    workshop.job("look", 'assert os.environ["HUB_TOKEN"] == "hidden-word"')
    environment = {"HUB_TOKEN": "hidden-word", "SLM_OWN": "shown"}
    execution = workshop.run(definition(processing("Look", environment=environment)))
    assert execution.status == "Succeeded"
    assert execution.steps["Look"].outputs["Environment"] == {"SLM_OWN": "shown"}
    record = workshop.home / "executions" / execution.id / "execution.json"
    assert "hidden-word" not in record.read_text()


def test_the_commit_says_whether_files_differ_from_it(workshop: Workshop) -> None:
    def git(*words: str) -> str:
        settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(workshop.source)]
        command = ["git", *settings, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert commit_of(workshop.source) == ""
    git("init", "-q")
    workshop.job("make", "")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert commit_of(workshop.source) == head
    workshop.job("make", "pass")
    assert commit_of(workshop.source) == f"{head}-dirty"


def test_without_git_there_is_no_commit(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(workshop.root))
    assert commit_of(workshop.source) == ""
