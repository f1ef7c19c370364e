from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steps.contract import StepError
from steps.package.__main__ import main, parse
from steps.package.config import PackageConfig, PackagePaths
from steps.package.job import package
from steps.package.recipe import build_recipe
from tests.compiled import write_registration

CONFIG = PackageConfig("com.example.Intents", "Example", "s3://deployments/dev/components")


@pytest.fixture(scope="module")
def packaged(tiny_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("package")
    package(
        PackagePaths(tiny_compiled, write_registration(root / "registration"), root / "package"),
        CONFIG,
    )
    return root / "package"


@pytest.fixture
def paths(tiny_compiled: Path, tmp_path: Path) -> PackagePaths:
    """Folders that a test may damage."""
    compiled = Path(shutil.copytree(tiny_compiled, tmp_path / "compiled"))
    registration = write_registration(tmp_path / "registration")
    return PackagePaths(compiled, registration, tmp_path / "package")


def test_the_same_inputs_give_the_same_bytes(packaged: Path, paths: PackagePaths) -> None:
    for path in paths.compiled.iterdir():
        path.touch()
    (paths.compiled / "model.onnx").chmod(0o600)
    package(paths, CONFIG)
    for path in packaged.iterdir():
        assert (paths.output / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_was_timed_does_not_reach_the_component(packaged: Path, paths: PackagePaths) -> None:
    path = paths.compiled / "compilation.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "latency": {}, "neo": {"seconds": 3}}))
    package(paths, CONFIG)
    name = "com.example.Intents.zip"
    assert (paths.output / name).read_bytes() == (packaged / name).read_bytes()


def test_the_manifest_has_every_file_of_the_zip_but_itself(packaged: Path) -> None:
    manifest = json.loads((packaged / "manifest.json").read_text())
    with zipfile.ZipFile(packaged / "com.example.Intents.zip") as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}
    assert contents.pop("manifest.json") == (packaged / "manifest.json").read_bytes()
    assert list(contents) == sorted(contents)
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in contents.items()
    }
    assert {"edge/classifier.py", "model/model.onnx", "requirements.txt"} < set(contents)
    assert (manifest["version"], manifest["model_version"]) == ("1.0.7", "7")


def test_the_summary_describes_the_zip(packaged: Path) -> None:
    summary = json.loads((packaged / "package.json").read_text())
    data = (packaged / summary["zip"]).read_bytes()
    assert summary["sha256"] == hashlib.sha256(data).hexdigest()
    assert summary["bytes"] == len(data)
    assert (summary["name"], summary["version"]) == ("com.example.Intents", "1.0.7")


def test_the_zip_works_alone_in_an_empty_folder(packaged: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packaged / "com.example.Intents.zip") as archive:
        archive.extractall(tmp_path)
    # -I: neither the environment nor the working folder may help
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import runpy; sys.argv = ['edge', 'play some jazz']\n"
        "import edge; assert edge.__file__.startswith(sys.path[0]), edge.__file__\n"
        "try: runpy.run_module('edge', run_name='__main__')\n"
        "finally: assert not {'torch', 'steps', 'pipeline', 'boto3'} & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["model_version"] == "7"
    assert len(answer["top"]) == 3


def test_the_requirements_are_the_versions_that_were_measured(packaged: Path) -> None:
    import numpy
    import onnxruntime
    import tokenizers

    with zipfile.ZipFile(packaged / "com.example.Intents.zip") as archive:
        lines = archive.read("requirements.txt").decode().splitlines()
    assert lines == [
        f"numpy=={numpy.__version__}",
        f"onnxruntime=={onnxruntime.__version__}",
        f"tokenizers=={tokenizers.__version__}",
    ]


# Spelling as in AWS's component recipe reference; nucleus lite compares case
TOP = {
    "RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentType",
    "ComponentDescription", "ComponentPublisher", "Manifests",
}  # fmt: skip
VARIABLES = {"artifacts:decompressedPath", "work:path"}


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def test_the_recipe_is_one_that_both_nuclei_take(packaged: Path) -> None:
    recipe = json.loads((packaged / "recipe.json").read_text())
    assert set(recipe) == TOP
    assert recipe["RecipeFormatVersion"] == "2020-01-25"
    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe["ComponentVersion"])
    architectures = [m["Platform"]["architecture"] for m in recipe["Manifests"]]
    assert architectures == ["amd64", "aarch64"]
    for manifest in recipe["Manifests"]:
        assert set(manifest) == {"Platform", "Lifecycle", "Artifacts"}
        assert manifest["Platform"]["os"] == "linux"
        assert manifest["Platform"]["runtime"] == "*"
        # lite knows no shutdown, recover or Skipif
        assert set(manifest["Lifecycle"]) == {"install", "run"}
        assert set(manifest["Lifecycle"]["install"]) == {"Script", "Timeout"}
        assert set(manifest["Lifecycle"]["run"]) == {"Script"}
        assert manifest["Artifacts"] == [
            {
                "Uri": "s3://deployments/dev/components/com.example.Intents/1.0.7/"
                "com.example.Intents.zip",
                "Unarchive": "ZIP",
            }
        ]
    used = {name for s in strings(recipe) for name in re.findall(r"\{([^}]+)\}", s)}
    assert used == VARIABLES


def test_the_recipe_passes_the_service_model_of_greengrass() -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    client = botocore.session.get_session().create_client(
        "greengrassv2", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    shape = client.meta.service_model.operation_model("CreateComponentVersion").input_shape
    recipe = json.dumps(build_recipe(CONFIG, "1.0.7")).encode()
    assert not ParamValidator().validate({"inlineRecipe": recipe}, shape).has_errors()


def test_the_recipes_scripts_run_what_the_zip_holds(packaged: Path, tmp_path: Path) -> None:
    """The run script as a nucleus would start it, with this interpreter in the place of venv's."""
    root = tmp_path / "decompressed" / "com.example.Intents"
    with zipfile.ZipFile(packaged / "com.example.Intents.zip") as archive:
        archive.extractall(root)
    work = tmp_path / "work"
    (work / "venv" / "bin").mkdir(parents=True)
    (work / "venv" / "bin" / "python").symlink_to(sys.executable)
    recipe = json.loads((packaged / "recipe.json").read_text())
    script = recipe["Manifests"][0]["Lifecycle"]["run"]["Script"]
    script = script.replace("{artifacts:decompressedPath}", str(root.parent))
    script = script.replace("{work:path}", str(work))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONSAFEPATH": "1"}
    # a linked interpreter does not see its environment's packages: name them
    site = str(Path(pytest.__file__).parent.parent)
    script = script.replace(f"PYTHONPATH={root}", f"PYTHONPATH={root}:{site}")
    ended = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=work, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["model_version"] == "7"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "intents.json"])
def test_a_file_altered_after_compilation_is_refused(paths: PackagePaths, name: str) -> None:
    path = paths.compiled / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(StepError, match="was altered after compilation"):
        package(paths, CONFIG)
    assert not paths.output.exists()
    path.unlink()
    with pytest.raises(StepError, match="is missing: compile the model again"):
        package(paths, CONFIG)


def change_record(paths: PackagePaths, **changes: Any) -> None:
    path = paths.compiled / "compilation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_version": "6"}, "is of model version 6 but version 7 is to be packaged"),
        ({"parity": {"passed": 0, "message": "agreement fell"}}, "missed the parity gate"),
        ({"parity": {"passed": float("nan"), "message": ""}}, "not as compile and register write"),
        ({"files": {}}, "not as compile and register write"),
        ({"versions": {}}, "does not say which numpy"),
        ({"versions": {"numpy": "2; rm -rf /"}}, "does not say which numpy"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    paths: PackagePaths, changes: dict[str, Any], reason: str
) -> None:
    change_record(paths, **changes)
    with pytest.raises(StepError, match=reason):
        package(paths, CONFIG)


def test_missing_inputs_are_named(paths: PackagePaths) -> None:
    with pytest.raises(StepError, match="The registration of the model is missing"):
        package(replace(paths, registration=paths.output), CONFIG)
    (paths.compiled / "compilation.json").unlink()
    with pytest.raises(StepError, match="The record of the compilation is missing"):
        package(paths, CONFIG)


def test_a_local_build_is_pinned_by_its_release(paths: PackagePaths) -> None:
    versions = {"numpy": "2.4.6", "onnxruntime": "1.32.0+cpu", "tokenizers": "0.23.3"}
    change_record(paths, versions=versions)
    package(paths, CONFIG)
    with zipfile.ZipFile(paths.output / "com.example.Intents.zip") as archive:
        assert b"onnxruntime==1.32.0\n" in archive.read("requirements.txt")


def test_an_old_signature_does_not_outlive_its_manifest(paths: PackagePaths) -> None:
    paths.output.mkdir()
    (paths.output / "manifest.sig").write_bytes(b"of another manifest")
    package(paths, CONFIG)
    assert not (paths.output / "manifest.sig").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"component_name": "no spaces, please"},
        {"publisher": " "},
        {"artifact_prefix": "https://example.com/x"},
        {"artifact_prefix": "s3://bucket/a'; rm -rf /"},
        {"artifact_prefix": "s3://bucket/trailing/"},
    ],
)
def test_a_value_that_greengrass_would_not_take_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(StepError):
        PackageConfig(**values)


def test_the_container_contract_is_kept(
    paths: PackagePaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = tmp_path / "ml" / "processing" / "input"
    inputs.mkdir(parents=True)
    paths.compiled.rename(inputs / "compiled")
    paths.registration.rename(inputs / "registration")
    monkeypatch.setenv("SLM_ML_ROOT", str(tmp_path / "ml"))
    monkeypatch.setattr(sys, "argv", ["steps.package", "--component-name", "a.b"])
    main()
    output = tmp_path / "ml" / "processing" / "output" / "package"
    assert {p.name for p in output.iterdir()} == {
        "a.b.zip", "manifest.json", "package.json", "recipe.json",
    }  # fmt: skip
    assert capsys.readouterr().out.startswith("package: a.b 1.0.7, ")


def test_wrong_usage_ends_with_two() -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--no-such-argument"])
    assert ended.value.code == 2
