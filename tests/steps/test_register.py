"""Registering a model: what is recorded, what is accepted from elsewhere, what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from steps.archive import pack
from steps.contract import StepError, write_json
from steps.register.__main__ import main, parse
from steps.register.config import RegisterConfig, RegisterPaths
from steps.register.model_folder import check_model
from steps.register.register import register
from steps.registry import ModelPackage, open_registry
from tests.steps.registries import use_mlflow
from tests.tiny import TINY_INTENTS

GROUP = "slm-intents"
DATASET = "d" * 64
CONFIG = RegisterConfig(model_package_group=GROUP, execution_id="execution-1")


def write_head(path: Path, rows: int = 3, hidden: int = 4, bias: int | None = None) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    shape = rows if bias is None else bias
    save_file(
        {
            "weight": np.zeros((rows, hidden), np.float32),
            "bias": np.zeros(shape, np.float32),
        },
        str(path),
    )


def write_model(folder: Path) -> Path:
    """The files of a model that registering looks at; tests/e2e registers a real one."""
    for part in ("encoder", "tokenizer"):
        (folder / part).mkdir(parents=True)
    write_json(folder / "encoder" / "config.json", {"model_type": "bert"})
    (folder / "encoder" / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "tokenizer" / "tokenizer.json", {})
    write_head(folder / "head.safetensors")
    write_json(folder / "intents.json", {"intents": TINY_INTENTS})
    training = {
        "pooling": "mean",
        "base_model": "all-MiniLM-L6-v2",
        "dataset_sha256": DATASET,
        "hyperparameters": {"epochs": 3, "learning_rate": 0.001},
        "versions": {"torch": "2.13.0"},
        "commit": "abc123",
        "parameters": 22_700_000,
    }
    write_json(folder / "training.json", training)
    return folder


def write_evaluation(folder: Path, *, passed: int = 1, intents: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    gate = {
        "accuracy": 0.97, "macro_f1": 0.96, "out_of_scope_auroc": 0.98, "out_of_scope_rows": 12,
        "expected_calibration_error": 0.01, "champion_p_value": 1.0, "passed": passed,
        "message": "accuracy 0.9700 is below MinAccuracy 0.9990" if not passed else "all met",
    }  # fmt: skip
    rows = [{"intent": intent, "f1": 0.9} for intent in intents or TINY_INTENTS]
    write_json(folder / "evaluation.json", {"gate": gate, "intents": rows})
    (folder / "report.html").write_text("<p>report")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> RegisterPaths:
    """What the job is given: a packed model, its evaluation and its data."""
    model = tmp_path / "job" / "model"
    pack(write_model(tmp_path / "trained"), model / "model.tar.gz")
    prepared = tmp_path / "job" / "prepared"
    statistics = {"dataset_sha256": DATASET, "tokenizer_sha256": "e" * 64, "rows": {"train": 21}}
    write_json(prepared / "statistics.json", statistics)
    evaluation = write_evaluation(tmp_path / "job" / "evaluation")
    return RegisterPaths(model, evaluation, prepared, tmp_path / "job" / "registration")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MLflow's empty registry, and an environment that names it."""
    for name in ("SLM_EXECUTION_ID", "SLM_COMMIT"):
        monkeypatch.delenv(name, raising=False)
    return use_mlflow(tmp_path, monkeypatch)


def recorded(database: Path, version: int = 1):
    """The version as MLflow has it, with the names of its files."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{database}"
    client = MlflowClient(uri, uri)
    found = client.get_model_version(GROUP, str(version))
    return found, {one.path for one in client.list_artifacts(found.run_id)}


def test_a_version_records_figures_data_commit_parameters_and_lineage(
    store: Path, paths: RegisterPaths, tmp_path: Path
) -> None:
    write_json(
        tmp_path / "processingjobconfig.json",
        {
            "ProcessingJobName": "pipelines-abcdefgh1234-RegisterModel-x9",
            "AppSpecification": {"ImageUri": "image:1"},
            "ProcessingInputs": [
                {"InputName": "evaluation", "S3Input": {"S3Uri": "s3://bucket/evaluation/"}},
                {"InputName": "prepared", "S3Input": {"S3Uri": "s3://bucket/prepared"}},
            ],
        },
    )
    url = "s3://bucket/model/pipelines-abcdefgh1234-TrainModel-x8/output/model.tar.gz"
    paths = replace(paths, job=tmp_path / "processingjobconfig.json")
    config = replace(CONFIG, execution_id="", model_data_url=url)
    registration = register(paths, config)
    version, files = recorded(store)
    assert version.tags["execution_id"] == "abcdefgh1234"
    assert version.tags["dataset_sha256"] == DATASET
    assert version.tags["commit"] == "abc123"
    assert version.tags["hyperparameter.epochs"] == "3"
    assert version.tags["versions"] == "torch=2.13.0"
    assert version.tags["rows.train"] == "21"
    assert version.tags["training_job"] == "pipelines-abcdefgh1234-TrainModel-x8"
    assert version.tags["job_name"] == "pipelines-abcdefgh1234-RegisterModel-x9"
    assert version.tags["evaluation_url"] == "s3://bucket/evaluation/evaluation.json"
    assert version.tags["prepared_url"] == "s3://bucket/prepared"
    assert version.tags["metric.accuracy"] == "0.97"
    assert version.tags["metric.out_of_scope_auroc"] == "0.98"
    assert version.tags["model_sha256"] == registration["model_sha256"]
    assert "3 intents on all-MiniLM-L6-v2" in version.description
    assert files == {"model.tar.gz", "evaluation.json", "report.html", "training.json"}


def test_registration_json_names_the_version(store: Path, paths: RegisterPaths, read_json) -> None:
    register(paths, CONFIG)
    assert paths.output is not None
    registration = read_json(paths.output / "registration.json")
    assert registration["model_package"] == f"models:/{GROUP}/1"
    assert registration["group"] == GROUP
    assert registration["version"] == 1
    assert registration["status"] == "PendingManualApproval"
    assert registration["registry"] == "mlflow"


def test_a_second_attempt_of_the_execution_returns_the_same_version(
    store: Path, paths: RegisterPaths
) -> None:
    first = register(paths, CONFIG)
    assert register(paths, CONFIG) == first
    other = register(paths, replace(CONFIG, execution_id="execution-2"))
    assert (first["version"], other["version"]) == (1, 2)


def test_an_auroc_that_was_not_measured_is_not_recorded(
    store: Path, paths: RegisterPaths, read_json
) -> None:
    assert paths.evaluation is not None
    path = paths.evaluation / "evaluation.json"
    evaluation = read_json(path)
    evaluation["gate"] |= {"out_of_scope_auroc": 0, "out_of_scope_rows": 0}
    write_json(path, evaluation)
    register(paths, CONFIG)
    version, _ = recorded(store)
    assert "metric.out_of_scope_auroc" not in version.tags


def test_the_runner_says_which_execution_and_commit(
    store: Path, paths: RegisterPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_EXECUTION_ID", "run-7")
    monkeypatch.setenv("SLM_COMMIT", "def456")
    folder = tmp_path / "trained"
    training = json.loads((folder / "training.json").read_text())
    write_json(folder / "training.json", {**training, "commit": "unknown"})
    pack(folder, paths.model / "model.tar.gz")
    register(paths, replace(CONFIG, execution_id=""))
    version, _ = recorded(store)
    assert version.tags["execution_id"] == "run-7"
    assert version.tags["commit"] == "def456"


# ---- in its container


def test_the_job_reads_its_inputs_and_writes_its_output(
    store: Path, paths: RegisterPaths, tmp_path: Path, repository: Path, read_json
) -> None:
    root = tmp_path / "ml"
    shutil.copytree(tmp_path / "job", root / "processing" / "input")
    environment = {**os.environ, "SLM_ML_ROOT": str(root), "PYTHONPATH": str(repository)}
    command = [sys.executable, "-m", "steps.register", "--model-package-group", GROUP]
    command += ["--approval-status", "Approved", "--execution-id", "e-1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output = root / "processing" / "output" / "registration" / "registration.json"
    assert read_json(output) == json.loads(done.stdout)
    champion = open_registry(GROUP).champion()
    assert champion is not None
    assert champion.name == f"models:/{GROUP}/1"


def test_a_refusal_is_one_sentence_in_the_failure_file(
    store: Path, paths: RegisterPaths, tmp_path: Path, repository: Path
) -> None:
    root = tmp_path / "ml"
    shutil.copytree(tmp_path / "job", root / "processing" / "input")
    (root / "processing" / "input" / "model" / "model.tar.gz").unlink()
    environment = {**os.environ, "SLM_ML_ROOT": str(root), "PYTHONPATH": str(repository)}
    command = [sys.executable, "-m", "steps.register", "--model-package-group", GROUP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    failure = (root / "output" / "message").read_text()
    assert failure.startswith("No model in ")
    assert failure.count("\n") == 1
    assert not (root / "processing" / "output" / "registration" / "registration.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--approval-status", "Perhaps"], ["--evaluation", "folder"], ["--surprise"]],
)
def test_wrong_usage_ends_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# ---- by hand, trained elsewhere


def test_a_folder_is_registered_by_hand_without_evaluation(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_model(tmp_path / "elsewhere")
    before = sorted(folder.rglob("*"))
    command = ["steps.register", "--model", str(folder), "--model-package-group", GROUP]
    monkeypatch.setattr(sys, "argv", command)
    main()
    first = json.loads(capsys.readouterr().out)
    main()
    assert json.loads(capsys.readouterr().out) == first
    assert first["status"] == "PendingManualApproval"
    version, files = recorded(store)
    assert version.tags["execution_id"] == "by-hand"
    assert files == {"model.tar.gz", "training.json"}
    assert "not measured" in version.description
    assert sorted(folder.rglob("*")) == before


def test_what_was_registered_by_hand_can_be_downloaded_and_read(
    store: Path, tmp_path: Path, tiny_model: Path
) -> None:
    from steps.archive import model_folder
    from steps.intent_model import load

    register(RegisterPaths(tiny_model), CONFIG)
    package = ModelPackage(f"models:/{GROUP}/1", 1, "PendingManualApproval", {}, "")
    folder = open_registry(GROUP).download(package, tmp_path / "downloaded")
    _, rule = load(model_folder(folder, tmp_path / "unpacked"))
    assert rule.intents == TINY_INTENTS


def test_a_model_of_ones_own_script_needs_its_pooling_told(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "own")
    (folder / "training.json").unlink()
    with pytest.raises(StepError, match="add --pooling mean or --pooling last"):
        check_model(folder, tmp_path / "scratch")
    model = check_model(folder, tmp_path / "scratch", "last")
    assert model.training == {"pooling": "last", "trained": "elsewhere"}
    assert not (folder / "training.json").exists()


def hugging_face_folder(folder: Path, base_model: Path, *, labels: list[str] | None = None) -> Path:
    shutil.copytree(base_model, folder)
    configuration = json.loads((folder / "config.json").read_text())
    labels = TINY_INTENTS if labels is None else labels
    configuration["id2label"] = {str(index): label for index, label in enumerate(labels)}
    configuration["_name_or_path"] = "somebody/encoder"
    write_json(folder / "config.json", configuration)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_head(folder / "head.safetensors", hidden=32)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_hugging_face_folder_with_a_head_becomes_a_model(
    tmp_path: Path, tiny_base_model: Path, packed: bool
) -> None:
    from steps.archive import unpack
    from steps.intent_model import load, load_tokenizer

    folder = hugging_face_folder(tmp_path / "hub", tiny_base_model)
    if packed:
        pack(folder, tmp_path / "packed" / "model.tar.gz")
        folder = tmp_path / "packed"
    model = check_model(folder, tmp_path / "scratch")
    assert model.intents == TINY_INTENTS
    assert model.training["base_model"] == "somebody/encoder"
    unpacked = unpack(model.archive, tmp_path / "unpacked")
    network, rule = load(unpacked)
    assert rule.intents == TINY_INTENTS
    assert rule.energy_threshold == float("-inf")
    assert network.pooling == "mean"
    assert load_tokenizer(unpacked).encode("lamp off").ids


def test_a_hugging_face_folder_may_bring_its_own_decision_rule(
    tmp_path: Path, tiny_base_model: Path
) -> None:
    folder = hugging_face_folder(tmp_path / "hub", tiny_base_model, labels=["LABEL_0"])
    with pytest.raises(StepError, match="does not name its intents"):
        check_model(folder, tmp_path / "scratch")
    write_json(folder / "intents.json", {"intents": ["a", "b", "c"], "temperature": 2.0})
    assert check_model(folder, tmp_path / "other").intents == ["a", "b", "c"]


def test_a_classifier_on_its_own_pooler_is_sent_to_the_pipeline(
    tmp_path: Path, tiny_base_model: Path
) -> None:
    folder = hugging_face_folder(tmp_path / "hub", tiny_base_model)
    (folder / "head.safetensors").unlink()
    with pytest.raises(StepError, match="run the pipeline with BaseModel="):
        check_model(folder, tmp_path / "scratch")


# ---- refused


def test_a_model_without_evaluation_is_not_approved(store: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "elsewhere")
    with pytest.raises(StepError, match="Nobody has measured this model"):
        register(RegisterPaths(folder), replace(CONFIG, approval_status="Approved"))
    assert open_registry(GROUP).champion() is None


def test_a_model_that_missed_its_gate_is_kept_only_as_rejected(
    store: Path, paths: RegisterPaths
) -> None:
    assert paths.evaluation is not None
    write_evaluation(paths.evaluation, passed=0)
    with pytest.raises(StepError, match=r"missed its gate \(accuracy 0.9700 is below MinAccuracy"):
        register(paths, CONFIG)
    registration = register(paths, replace(CONFIG, approval_status="Rejected"))
    assert registration["status"] == "Rejected"


def test_an_evaluation_of_another_model_is_refused(store: Path, paths: RegisterPaths) -> None:
    assert paths.evaluation is not None
    write_evaluation(paths.evaluation, intents=[*TINY_INTENTS[:2], "forecast"])
    with pytest.raises(StepError, match=r"is of another model: its intents differ \(forecast"):
        register(paths, CONFIG)
    write_evaluation(paths.evaluation, intents=TINY_INTENTS[::-1])
    with pytest.raises(StepError, match="their order"):
        register(paths, CONFIG)


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"gate": {}, "intents": 3}'])
def test_a_damaged_evaluation_is_refused(store: Path, paths: RegisterPaths, content: str) -> None:
    assert paths.evaluation is not None
    (paths.evaluation / "evaluation.json").write_text(content)
    with pytest.raises(StepError, match=r"not an evaluation as evaluate writes it|not valid JSON"):
        register(paths, CONFIG)


def test_data_that_the_model_was_not_trained_on_is_refused(
    store: Path, paths: RegisterPaths
) -> None:
    assert paths.prepared is not None
    write_json(paths.prepared / "statistics.json", {"dataset_sha256": "f" * 64})
    with pytest.raises(StepError, match="trained on the data dddddddddddd but"):
        register(paths, CONFIG)


def add_link(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("encoder/model.safetensors")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(member)


def add_outside(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("../outside.json")
    member.size = 2
    tar.addfile(member, io.BytesIO(b"{}"))


@pytest.mark.parametrize("tamper", [add_link, add_outside])
def test_a_tampered_archive_is_refused(store: Path, paths: RegisterPaths, tamper) -> None:
    with tarfile.open(paths.model / "model.tar.gz", "w:gz") as tar:
        tamper(tar)
    with pytest.raises(StepError, match="was tampered with"):
        register(paths, CONFIG)
    assert not list(paths.model.parent.rglob("outside.json"))
    assert paths.output is not None
    assert not paths.output.exists()


def test_a_cut_off_archive_is_refused(store: Path, paths: RegisterPaths) -> None:
    archive = paths.model / "model.tar.gz"
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(StepError, match="is not a readable model archive"):
        register(paths, CONFIG)


def test_an_archive_with_a_damaged_block_is_refused(store: Path, paths: RegisterPaths) -> None:
    archive = paths.model / "model.tar.gz"
    content = bytearray(archive.read_bytes())
    content[40:60] = b"\xff" * 20
    archive.write_bytes(content)
    with pytest.raises(StepError, match="is not a readable model archive"):
        register(paths, CONFIG)


def test_an_archive_unpacks_on_a_python_without_extraction_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steps import archive

    monkeypatch.setattr(archive, "_EXTRACTION", {})
    packed = pack(write_model(tmp_path / "model"), tmp_path / "packed" / "model.tar.gz")
    assert check_model(packed.parent, tmp_path / "scratch").intents == TINY_INTENTS


def test_a_model_that_must_be_unpickled_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "encoder" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(StepError, match="may run code when it is loaded: save the model as safet"):
        check_model(folder, tmp_path / "scratch")


def test_a_folder_with_a_link_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "encoder" / "model.safetensors").unlink()
    (folder / "encoder" / "model.safetensors").symlink_to("/etc/hostname")
    with pytest.raises(StepError, match="is a link, which a registry cannot keep"):
        check_model(folder, tmp_path / "scratch")


@pytest.mark.parametrize(
    "missing", ["encoder/config.json", "encoder/model.safetensors", "tokenizer/tokenizer.json",
                "head.safetensors", "intents.json"],
)  # fmt: skip
def test_an_incomplete_model_is_refused(tmp_path: Path, missing: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(StepError, match=r"is incomplete: .* is missing"):
        check_model(folder, tmp_path / "scratch")


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_no_model_at_all_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StepError, match="No model in "):
        check_model(tmp_path / folder, tmp_path / "scratch")


def test_a_head_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_head(folder / "head.safetensors", rows=5)
    with pytest.raises(StepError, match=r"has 5 rows but intents\.json lists 3 intents"):
        check_model(folder, tmp_path / "scratch")
    write_head(folder / "head.safetensors", bias=2)
    with pytest.raises(StepError, match="which are no linear head"):
        check_model(folder, tmp_path / "scratch")
    (folder / "head.safetensors").write_bytes(b"not tensors")
    with pytest.raises(StepError, match="is not a readable head"):
        check_model(folder, tmp_path / "scratch")


@pytest.mark.parametrize("intents", [["one"], ["a", "a"], ["a", 3], "a", None])
def test_a_list_of_intents_that_is_none_is_refused(tmp_path: Path, intents) -> None:
    folder = write_model(tmp_path / "model")
    write_json(folder / "intents.json", {"intents": intents})
    with pytest.raises(StepError, match="does not list two or more different intents"):
        check_model(folder, tmp_path / "scratch")


def test_a_training_record_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "training.json").write_text("[]")
    with pytest.raises(StepError, match="is not a training record"):
        check_model(folder, tmp_path / "scratch")


def test_a_job_configuration_that_is_none_is_left_aside(
    store: Path, paths: RegisterPaths, tmp_path: Path
) -> None:
    (tmp_path / "processingjobconfig.json").write_text("[]")
    job = tmp_path / "processingjobconfig.json"
    assert register(replace(paths, job=job), CONFIG)["version"] == 1
