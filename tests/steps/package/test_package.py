from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steps.contract import StepError
from steps.package.__main__ import main, parse
from steps.package.config import PackageConfig, PackagePaths, requirements_file, wheels_folder
from steps.package.job import package
from tests.steps.package.conftest import CONFIG

ZIPS = ("com.example.Intents-x86_64.zip", "com.example.Intents-aarch64.zip")


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.testzip() is None
        return {name: zipped.read(name) for name in zipped.namelist()}


def test_the_same_inputs_give_the_same_bytes(packaged: Path, paths: PackagePaths) -> None:
    """Under another clock, mask, locale, time zone and order of files."""
    program = (
        "import os, sys, time; os.umask(0o077); listdir = os.scandir\n"
        "time.time = lambda: 4102444800.0; time.time_ns = lambda: 4102444800 * 10**9\n"
        "from pathlib import Path\n"
        "glob, rglob = Path.glob, Path.rglob\n"
        "Path.glob = lambda self, pattern: reversed(list(glob(self, pattern)))\n"
        "Path.rglob = lambda self, pattern: reversed(list(rglob(self, pattern)))\n"
        "from steps.package.config import PackagePaths\n"
        "from steps.package.job import package\n"
        "from tests.steps.package.conftest import CONFIG\n"
        "package(PackagePaths(*map(Path, sys.argv[1:])), CONFIG)\n"
    )
    for path in paths.compiled.iterdir():
        os.utime(path, (0, 0))
    (paths.compiled / "model.onnx").chmod(0o600)
    given = (paths.compiled, paths.registration, paths.output, paths.wheels, paths.requirements)
    environment = {"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", program, *given], env={**os.environ, **environment}, check=True
    )
    assert {path.name for path in packaged.iterdir()} == {
        *ZIPS, "manifest.json", "package.json", "recipe.json", "reference.json",
    }  # fmt: skip
    for path in packaged.iterdir():
        assert (paths.output / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_was_timed_does_not_reach_the_component(packaged: Path, paths: PackagePaths) -> None:
    change_record(paths, latency={}, neo={"seconds": 3})
    package(paths, CONFIG)
    for name in ZIPS:
        assert (paths.output / name).read_bytes() == (packaged / name).read_bytes()


def test_the_manifest_has_every_file_of_both_zips_but_itself(packaged: Path) -> None:
    text = (packaged / "manifest.json").read_bytes()
    manifest = json.loads(text)
    found: dict[str, Any] = {}
    for archive, architecture in zip(ZIPS, ("x86_64", "aarch64"), strict=True):
        files = contents(packaged / archive)
        assert files.pop("manifest.json") == text
        assert {name.split("/")[1] for name in files if name.startswith("wheels/")} == {
            architecture
        }
        for name, data in files.items():
            own = {"architecture": architecture} if name.startswith("wheels/") else {}
            described = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **own}
            assert found.setdefault(name, described) == described
    assert manifest["files"] == found
    assert {
        "edge/classifier.py", "edge/cli.py", "requirements.txt", "model/compilation.json",
        "model/intents.json", "model/model.onnx", "model/selftest.json", "model/tokenizer.json",
    } < set(found)  # fmt: skip


def test_the_manifest_says_what_the_component_is_and_needs(packaged: Path) -> None:
    manifest = json.loads((packaged / "manifest.json").read_text())
    del manifest["files"]
    requires = manifest.pop("requires")
    assert manifest == {
        "format": 2,
        "component": "com.example.Intents",
        "version": "1.0.7",
        "model_version": "7",
        "python": "3.11",
        "architectures": ["aarch64", "x86_64"],
    }
    assert {"numpy", "onnxruntime", "tokenizers", "cryptography", "uvicorn"} < set(requires)


def test_wheels_are_stored_and_all_else_is_deflated(packaged: Path) -> None:
    with zipfile.ZipFile(packaged / ZIPS[0]) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    for info in infos:
        stored = info.filename.endswith(".whl")
        assert info.compress_type == (zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
        assert info.external_attr >> 16 == stat.S_IFREG | 0o644
        assert info.date_time == (1980, 1, 1, 0, 0, 0)


def test_every_file_of_the_runtime_is_packed(packaged: Path, repository: Path) -> None:
    folder = repository / "edge"
    source = {
        path.relative_to(repository).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in contents(packaged / ZIPS[0]) if name.startswith("edge/")}
    assert source - packed == {"edge/requirements.txt"}  # it stands at the top


def test_the_device_keeps_of_the_record_what_it_needs(packaged: Path) -> None:
    record = json.loads(contents(packaged / ZIPS[0])["model/compilation.json"])
    assert set(record) == {"files", "int8", "model_version", "parity"}
    assert set(record["files"]) == {
        "intents.json", "model.onnx", "selftest.json", "tokenizer.json",
    }  # fmt: skip


def test_the_summary_describes_the_zips(packaged: Path) -> None:
    summary = json.loads((packaged / "package.json").read_text())
    for architecture, archive in summary["archives"].items():
        data = (packaged / archive["zip"]).read_bytes()
        assert archive["zip"] == f"com.example.Intents-{architecture}.zip"
        assert archive["sha256"] == hashlib.sha256(data).hexdigest()
        assert archive["bytes"] == len(data)
    manifest = (packaged / "manifest.json").read_bytes()
    assert summary["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert summary["files"] == len(json.loads(manifest)["files"]) + 1
    assert (summary["name"], summary["version"]) == ("com.example.Intents", "1.0.7")
    assert (summary["wheels"], summary["signature"]) == (True, None)


def test_the_reference_lies_beside_the_zips_and_in_neither(
    packaged: Path, tiny_compiled: Path
) -> None:
    data = (packaged / "reference.json").read_bytes()
    assert data == (tiny_compiled / "reference.json").read_bytes()
    summary = json.loads((packaged / "package.json").read_text())
    assert summary["reference_sha256"] == hashlib.sha256(data).hexdigest()
    for archive in ZIPS:
        assert not [name for name in contents(packaged / archive) if "reference" in name]


def test_another_reference_leaves_the_component_as_it_was(
    packaged: Path, paths: PackagePaths
) -> None:
    path = paths.compiled / "reference.json"
    path.write_bytes(path.read_bytes() + b"\n")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    change_record(paths, reference={"sha256": sha256, "bytes": path.stat().st_size})
    package(paths, CONFIG)
    for name in ZIPS:
        assert (paths.output / name).read_bytes() == (packaged / name).read_bytes()


def test_the_zip_works_alone_in_an_empty_folder(packaged: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packaged / ZIPS[0]) as archive:
        archive.extractall(tmp_path)
    # -I: neither the environment nor the working folder may help
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import runpy; sys.argv = ['edge', 'predict', 'play some jazz']\n"
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


def test_the_requirements_have_one_line_with_hashes_for_each_distribution(packaged: Path) -> None:
    lines = contents(packaged / ZIPS[0])["requirements.txt"].decode().splitlines()
    manifest = json.loads((packaged / "manifest.json").read_text())
    wheels = {f["sha256"] for name, f in manifest["files"].items() if name.startswith("wheels/")}
    assert dict(line.split(" ")[0].split("==") for line in lines) == manifest["requires"]
    hashes = {word.removeprefix("--hash=sha256:") for line in lines for word in line.split()[1:]}
    assert hashes == wheels


def test_without_wheels_the_component_has_none_and_says_so(
    paths: PackagePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(paths.wheels / "x86_64")
    lacking = replace(paths, wheels=paths.output / "none")
    summary = package(lacking, CONFIG)
    assert summary["wheels"] is False
    assert "make wheels" in capsys.readouterr().out
    assert not [name for name in contents(paths.output / ZIPS[0]) if name.endswith(".whl")]
    recipe = json.loads((paths.output / "recipe.json").read_text())
    assert "--no-index" not in json.dumps(recipe)
    assert "--require-hashes" in json.dumps(recipe)
    with pytest.raises(StepError, match=r"has no wheel of awscrt .* for x86_64: run python -m"):
        package(paths, CONFIG)


@pytest.mark.parametrize(
    "name", ["model.onnx", "tokenizer.json", "intents.json", "selftest.json", "reference.json"]
)
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
        ({"reference": None}, "not as compile and register write"),
        ({"versions": {}}, "does not say which numpy"),
        ({"versions": None}, "does not say which numpy"),
        ({"versions": {"numpy": "2; rm -rf /"}}, "does not say which numpy"),
        ({"versions": {"numpy": "2.0.0"}}, "measured with numpy 2.0.0 but the device installs"),
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


def test_a_local_build_counts_as_its_release(paths: PackagePaths) -> None:
    record = json.loads((paths.compiled / "compilation.json").read_text())
    local = f"{record['versions']['onnxruntime']}+cpu"
    change_record(paths, versions={**record["versions"], "onnxruntime": local})
    package(paths, CONFIG)


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


def test_a_variable_that_names_no_folder_of_wheels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLM_WHEELS", raising=False)
    assert wheels_folder().parts[-2:] == ("build", "wheels")
    monkeypatch.setenv("SLM_WHEELS", str(tmp_path / "nowhere"))
    with pytest.raises(StepError, match=r"SLM_WHEELS names .*nowhere, which is no folder: run"):
        wheels_folder()
    monkeypatch.setenv("SLM_WHEELS", "none")
    assert not wheels_folder().is_dir()


@pytest.fixture
def job(paths: PackagePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder; the real list of what the device needs has no wheels there."""
    inputs = tmp_path / "ml" / "processing" / "input"
    inputs.mkdir(parents=True)
    paths.compiled.rename(inputs / "compiled")
    paths.registration.rename(inputs / "registration")
    monkeypatch.setenv("SLM_ML_ROOT", str(tmp_path / "ml"))
    monkeypatch.setenv("SLM_WHEELS", str(paths.wheels))
    monkeypatch.setattr(sys, "argv", ["steps.package", "--component-name", "a.b"])
    config = "steps.package.config.requirements_file"
    monkeypatch.setattr(config, lambda: paths.requirements)
    return tmp_path / "ml"


def test_the_container_contract_is_kept(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SLM_SIGNING_KEY", raising=False)
    main()
    output = job / "processing" / "output" / "package"
    assert {p.name for p in output.iterdir()} == {
        "a.b-x86_64.zip", "a.b-aarch64.zip", "manifest.json", "package.json", "recipe.json",
        "reference.json",
    }  # fmt: skip
    said = capsys.readouterr().out
    assert said.startswith("package: a.b 1.0.7, ")
    assert said.endswith(", not signed\n")


def test_wrong_usage_ends_with_two() -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--no-such-argument"])
    assert ended.value.code == 2


def test_the_versions_of_the_device_are_those_of_the_repository(repository: Path) -> None:
    from steps.package.requirements import read_pins

    lines = (repository / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split(" ")[0].split("==") for line in lines if "==" in line)
    for pin in read_pins(requirements_file()):
        assert pinned[pin.name] == pin.version
