from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from steps.contract import StepError
from steps.package.noting import note_package
from steps.registry import RegistryEntry, open_registry
from tests.compiled import write_registration
from tests.steps.registries import use_mlflow

URL = "s3://slm-pipeline-artifacts/executions/e1/PackageComponent/package"


def write_job(folder: Path, name: str = "package") -> Path:
    """``processingjobconfig.json`` as SageMaker leaves it for a job."""
    path = folder / "processingjobconfig.json"
    output = {"OutputName": name, "S3Output": {"S3Uri": URL}}
    path.write_text(json.dumps({"ProcessingOutputConfig": {"Outputs": [output]}}))
    return path


def write_summary(folder: Path) -> Path:
    folder.mkdir()
    (folder / "package.json").write_text('{"version": "1.0.1"}')
    return folder


def test_a_job_notes_where_its_package_will_lie_and_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mlflow(tmp_path, monkeypatch)
    model = tmp_path / "model.tar.gz"
    model.write_bytes(b"model")
    registry = open_registry("tiny")
    version = registry.register(RegistryEntry(model, "0" * 64, "e1", properties={"commit": "c"}))
    registration = write_registration(tmp_path / "registration", model_package=version.name)
    output = write_summary(tmp_path / "package")
    assert note_package(registration, output, write_job(tmp_path))
    from mlflow import MlflowClient

    tags = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_model_version("tiny", "1").tags
    expected = hashlib.sha256((output / "package.json").read_bytes()).hexdigest()
    assert (tags["package_url"], tags["package_sha256"]) == (URL, expected)
    assert tags["commit"] == "c"


def test_a_step_by_hand_notes_nothing(tmp_path: Path) -> None:
    output = write_summary(tmp_path / "package")
    assert not note_package(tmp_path / "registration", output, tmp_path / "missing.json")


def test_a_job_whose_package_would_lie_nowhere_is_refused(tmp_path: Path) -> None:
    output = write_summary(tmp_path / "package")
    registration = write_registration(tmp_path / "registration")
    with pytest.raises(StepError, match="has no output package"):
        note_package(registration, output, write_job(tmp_path, "other"))
