"""Promotion on one machine: from MLflow's registry into a folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pipeline.cloud.promotion import folder as folders
from pipeline.errors import PipelineError, UsageError
from pipeline.local.signing import signing_key
from pipeline.settings import Settings
from tests.pipeline.cloud.emulated import run_slm
from tests.steps.registries import use_mlflow

SETTINGS = Settings.load("local")
GROUP, COMPONENT = SETTINGS.model_package_group, SETTINGS.component_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runner's home, with an empty registry."""
    folder = tmp_path / "home"
    folder.mkdir()
    use_mlflow(folder, monkeypatch)
    return folder


def client(home: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def register(home: Path, number: int, status: str = "Approved") -> Path:
    """Version ``number`` as a run of the pipeline leaves it; returns the package's folder."""
    mlflow = client(home)
    if number == 1:
        mlflow.create_registered_model(GROUP)
    place = f"slm-pipeline-artifacts/executions/e{number}/PackageComponent/package"
    package = home / "s3" / place
    package.mkdir(parents=True)
    version = f"1.0.{number}"
    archives = {}
    for architecture in ("x86_64", "aarch64"):
        content = f"{architecture} {version}".encode()
        file = f"{COMPONENT}-{architecture}.zip"
        (package / file).write_bytes(content)
        archives[architecture] = {"zip": file, "sha256": hashlib.sha256(content).hexdigest()}
    manifest = json.dumps({"component": COMPONENT, "version": version}).encode()
    (package / "manifest.json").write_bytes(manifest)
    key: Any = load_pem_private_key(signing_key(home).read_bytes(), password=None)
    (package / "manifest.sig").write_bytes(key.sign(manifest))
    recipe = {"ComponentName": COMPONENT, "ComponentVersion": version, "Manifests": []}
    (package / "recipe.json").write_text(json.dumps(recipe))
    summary = {
        "name": COMPONENT,
        "version": version,
        "archives": archives,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }
    (package / "package.json").write_text(json.dumps(summary))
    digest = hashlib.sha256((package / "package.json").read_bytes()).hexdigest()
    tags = {"package_url": f"s3://{place}", "package_sha256": digest, "approval_status": status}
    mlflow.create_model_version(GROUP, source="file:///nowhere", tags=tags)
    return package


def promote(home: Path, to: Path, version: str | None = None) -> folders.Promoted:
    return folders.promote(home, GROUP, COMPONENT, version, to)


def test_the_newest_approved_version_is_copied_and_recorded_in_both_places(
    home: Path, tmp_path: Path
) -> None:
    register(home, 1)
    made = register(home, 2)
    register(home, 3, "PendingManualApproval")
    fleet = tmp_path / "fleet"
    done = promote(home, fleet)
    assert (done.component, done.new) == ("1.0.2", True)
    assert {path.name: path.read_bytes() for path in done.place.iterdir()} == {
        path.name: path.read_bytes() for path in made.iterdir()
    }
    assert json.loads((fleet / "current.json").read_text()) == {
        "component": COMPONENT,
        "version": "1.0.2",
    }
    record = json.loads((fleet / "promotions" / GROUP / "2.json").read_text())
    assert record["state"] == "done"
    tags = client(home).get_model_version(GROUP, "2").tags
    assert (tags["promotion.state"], tags["promotion.target"]) == ("done", "fleet")
    again = promote(home, fleet)
    assert (again.component, again.new) == ("1.0.2", False)
    assert client(home).get_model_version(GROUP, "2").tags == tags


def test_what_was_cut_off_is_taken_up_again(home: Path, tmp_path: Path) -> None:
    register(home, 1)
    fleet = tmp_path / "fleet"
    done = promote(home, fleet)
    (fleet / "current.json").unlink()
    assert promote(home, fleet).new is False
    assert (fleet / "current.json").is_file()
    half = done.place.with_name(f".{done.place.name}.1.partial")
    half.mkdir()
    for file in done.place.iterdir():
        file.unlink()
    done.place.rmdir()
    assert promote(home, fleet).new is True


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("package.json", "package.json is not the file that the registry names"),
        (f"{COMPONENT}-x86_64.zip", "x86_64.zip is missing or is not the file"),
        ("manifest.sig", "is not signed with"),
    ],
)
def test_what_was_changed_is_refused_with_the_reason(
    home: Path, tmp_path: Path, file: str, reason: str
) -> None:
    alter(register(home, 1) / file)
    fleet = tmp_path / "fleet"
    with pytest.raises(PipelineError, match=reason):
        promote(home, fleet, "1")
    assert not (fleet / "components").exists()
    assert not (fleet / "current.json").exists()
    tags = client(home).get_model_version(GROUP, "1").tags
    assert tags["promotion.state"] == "refused"
    assert reason in tags["promotion.ended"]


def test_neither_an_older_version_nor_one_that_is_not_approved_is_promoted(
    home: Path, tmp_path: Path
) -> None:
    register(home, 1)
    register(home, 2)
    register(home, 3, "Rejected")
    fleet = tmp_path / "fleet"
    promote(home, fleet, "2")
    with pytest.raises(PipelineError, match=r"has 1\.0\.2, which is newer than 1\.0\.1"):
        promote(home, fleet, "1")
    with pytest.raises(PipelineError, match=r"Version 3 of .* is Rejected: set its tag"):
        promote(home, fleet, "3")
    with pytest.raises(UsageError, match="There is no version 9"):
        promote(home, fleet, "9")
    assert json.loads((fleet / "current.json").read_text())["version"] == "1.0.2"


def test_the_command_promotes_into_a_folder(home: Path, tmp_path: Path) -> None:
    register(home, 1)
    fleet = tmp_path / "fleet"
    done = run_slm("promote", "--to-folder", fleet, "--home", home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"done     {GROUP}/1: 1.0.1 in {fleet}")
    nowhere = run_slm("promote", "--to-folder", fleet, "--home", tmp_path / "nowhere")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)
