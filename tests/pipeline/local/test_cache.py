from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.local import Execution, StepSucceeded, fingerprints
from pipeline.local.fingerprints import FileHashes, code_identity, named_files
from tests.pipeline.local.workshop import (
    Workshop,
    definition,
    get,
    join,
    output_of,
    parameter,
    processing,
    training,
)

CACHED = {"Enabled": True, "ExpireAfter": "P30D"}


def pipeline(**cache: Any) -> dict[str, Any]:
    config = {**CACHED, **cache}
    return definition(
        processing(
            "Make",
            inputs={"raw": "s3://data-bucket/raw"},
            outputs=["made"],
            arguments=[
                get("Parameters.Word"),
                join(get("Execution.PipelineExecutionId"), get("Execution.StartDateTime")),
            ],
            environment={"HUB_TOKEN": get("Parameters.Token")},
            CacheConfig=config,
        ),
        training(
            "Train",
            channels={"made": output_of("Make", "made")},
            checkpoints=join("s3://work-bucket/checkpoints", get("Execution.PipelineExecutionId")),
            metrics={"loss": "loss=(.*)"},
            CacheConfig=config,
        ),
        processing(
            "Use",
            inputs={"model": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")},
            outputs=["used"],
            CacheConfig=config,
        ),
        parameters=[parameter("Word", default="a"), parameter("Token", default="t")],
    )


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    workshop.job("make", """
(out / "made" / "made.txt").write_text((inp / "raw" / "a.txt").read_text() + sys.argv[1])
""")  # fmt: skip
    workshop.job("train", """
(ml / "model" / "weights").write_text((ml / "input/data/made/made.txt").read_text())
print("loss=0.5")
""")  # fmt: skip
    workshop.job("use", '(out / "used" / "u").write_text(os.listdir(inp / "model")[0])')
    workshop.put("s3://data-bucket/raw", {"a.txt": "one"})
    return workshop


def cached(execution: Execution) -> list[str]:
    assert execution.status == "Succeeded", execution.failure_reason
    return [name for name, record in execution.steps.items() if record.cached]


EVERYTHING = ["Make", "Train", "Use"]


def test_an_unchanged_run_reuses_every_result(ready: Workshop) -> None:
    first = ready.run(pipeline())
    second = ready.run(pipeline())

    assert cached(first) == []
    assert cached(second) == EVERYTHING
    for name in EVERYTHING:
        assert second.steps[name].outputs == first.steps[name].outputs
        assert second.steps[name].log is None
    assert [event.cached for event in ready.of_kind(StepSucceeded)] == [True, True, True]


def test_a_secret_does_not_count(ready: Workshop) -> None:
    ready.run(pipeline())
    assert cached(ready.run(pipeline(), parameters={"Token": "other"})) == EVERYTHING


def test_a_changed_argument_counts(ready: Workshop) -> None:
    ready.run(pipeline())
    assert cached(ready.run(pipeline(), parameters={"Word": "b"})) == []


def test_changed_data_count_and_what_does_not_depend_on_them_is_reused(ready: Workshop) -> None:
    ready.run(pipeline())
    ready.put("s3://data-bucket/raw", {"b.txt": "a new file that Make does not read"})
    # the model is the same bytes, so what only reads the model is reused
    assert cached(ready.run(pipeline())) == ["Train", "Use"]


def test_changed_code_counts_for_the_steps_that_run_it(ready: Workshop) -> None:
    ready.run(pipeline())
    (ready.source / "requirements.txt").write_text("numpy==2.3.0\n")
    assert cached(ready.run(pipeline())) == []


def test_lost_or_changed_outputs_are_made_again(ready: Workshop) -> None:
    first = ready.run(pipeline())
    made = ready.home / "s3/work-bucket/runs" / first.id / "Make/made/made.txt"
    made.write_text("spoiled")
    assert cached(ready.run(pipeline())) == ["Train", "Use"]
    model = first.steps["Train"].outputs["ModelArtifacts"]["S3ModelArtifacts"]
    (ready.home / "s3" / model.removeprefix("s3://")).unlink()
    assert cached(ready.run(pipeline())) == ["Make", "Use"]


def test_a_touched_output_is_still_the_same(ready: Workshop) -> None:
    first = ready.run(pipeline())
    (ready.home / "s3/work-bucket/runs" / first.id / "Make/made/made.txt").touch()
    assert cached(ready.run(pipeline())) == EVERYTHING


def test_an_old_entry_is_not_used(ready: Workshop) -> None:
    ready.run(pipeline(ExpireAfter="T0S"))
    assert cached(ready.run(pipeline(ExpireAfter="T0S"))) == []


def test_a_step_without_caching_runs_again(ready: Workshop) -> None:
    ready.run(pipeline(Enabled=False))
    assert cached(ready.run(pipeline(Enabled=False))) == []
    assert not list((ready.home / "cache").glob("*/*.json"))


def test_a_folder_of_this_machine_counts_with_its_content(ready: Workshop) -> None:
    model = ready.root / "base-model"
    (model / "deep").mkdir(parents=True)
    (model / "deep" / "weights").write_text("1")
    word = {"Word": str(model)}
    ready.run(pipeline(), parameters=word)
    assert cached(ready.run(pipeline(), parameters=word)) == EVERYTHING
    (model / "deep" / "weights").write_text("2")
    assert cached(ready.run(pipeline(), parameters=word)) == ["Train", "Use"]


def test_files_named_by_arguments_are_read_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = FileHashes(tmp_path / "hashes.json")
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    words = [str(tmp_path / "a"), "relative", "/no/such/file", "s3://bucket/key", ""]
    assert set(named_files(words, hashes) or ()) == {str(tmp_path / "a")}
    monkeypatch.setattr(fingerprints, "_MOST_FILES", 1)
    assert named_files([str(tmp_path)], hashes) is None


def test_a_failed_step_leaves_no_entry(ready: Workshop) -> None:
    ready.job("make", "sys.exit(1)")
    document = pipeline()
    assert ready.run(document).status == "Failed"
    assert not list((ready.home / "cache").glob("*/*.json"))


def test_an_unreadable_entry_is_no_entry(ready: Workshop) -> None:
    ready.run(pipeline())
    for entry in (ready.home / "cache").glob("*/*.json"):
        entry.write_text("{")
    (ready.home / "cache" / "hashes.json").write_text("[]")
    assert cached(ready.run(pipeline())) == []


def test_an_input_that_is_gone_fails_as_without_a_cache(ready: Workshop) -> None:
    (ready.home / "s3/data-bucket/raw/a.txt").unlink()
    (ready.home / "s3/data-bucket/raw").rmdir()
    reason = ready.run(pipeline()).steps["Make"].failure_reason or ""
    assert reason.startswith("Nothing is stored at s3://data-bucket/raw")


def test_hashes_are_remembered_by_size_and_time(tmp_path: Path) -> None:
    file, memory = tmp_path / "a", tmp_path / "hashes.json"
    file.write_text("one")
    hashes = FileHashes(memory)
    one = hashes.sha256(file)
    hashes.save()
    assert json.loads(memory.read_text())[str(file)][1] == one
    remembered = json.loads(memory.read_text())
    remembered[str(file)][1] = "remembered"
    memory.write_text(json.dumps(remembered))
    assert FileHashes(memory).sha256(file) == "remembered"
    file.write_text("two!")
    assert FileHashes(memory).sha256(file) not in ("remembered", one)


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.write_text("x")
    hashes = FileHashes(tmp_path / "hashes.json")
    hashes.sha256(gone)
    hashes.save()
    gone.unlink()
    FileHashes(tmp_path / "hashes.json").save()
    assert json.loads((tmp_path / "hashes.json").read_text()) == {}


def test_the_code_of_a_step_is_what_its_module_can_reach(tmp_path: Path) -> None:
    for name in (
        *("requirements.txt", "steps/__init__.py", "steps/contract.py", "edge/classifier.py"),
        *("steps/prepare/__main__.py", "steps/prepare/deep/x.html", "steps/registry/mlflow.py"),
        *("steps/train/__main__.py", "steps/prepare/__pycache__/x.pyc", "scripts/run.sh"),
        *("alone.py", "README.md"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    hashes = FileHashes(tmp_path / "hashes.json")

    def files(*command: str) -> set[str]:
        return set(code_identity(command, tmp_path, hashes)) - {"python", "requirements.txt"}

    assert files("python", "-m", "steps.prepare") == {
        *("steps/__init__.py", "steps/contract.py", "steps/prepare/__main__.py"),
        *("steps/prepare/deep/x.html", "steps/registry/mlflow.py", "edge/classifier.py"),
    }
    assert files("python", "-m", "alone") == {"alone.py"}
    assert files("bash", "scripts/run.sh") == {"scripts/run.sh"}
    assert files("bash", "-c", "true") == set()
