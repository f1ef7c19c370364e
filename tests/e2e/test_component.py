"""The component from its zip, as a nucleus installs, runs, updates and refuses it."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.signing import signing_key
from steps.package.config import PackageConfig, PackagePaths, requirements_file, wheels_folder
from steps.package.job import package
from steps.package.recipe import environment_name
from tests.compiled import write_registration
from tests.e2e.nucleus import Nucleus, borrow_environment, wait_for

COMPONENT = "slm.edge.IntentModel"
ADDRESS = "http://127.0.0.1:{port}"


class Release:
    """What the *package* step made of a version."""

    def __init__(self, folder: Path, compiled: Path, number: int, key: Path, wheels: Path) -> None:
        self.folder = folder / f"package-{number}"
        own = Path(shutil.copytree(compiled, folder / f"compiled-{number}"))
        record = json.loads((own / "compilation.json").read_text())
        record["model_version"] = str(number)
        (own / "compilation.json").write_text(json.dumps(record))
        registration = write_registration(folder / f"registration-{number}", version=number)
        paths = PackagePaths(own, registration, self.folder, wheels, requirements_file())
        package(paths, PackageConfig(signing_key=f"file:{key}"))
        self.recipe = json.loads((self.folder / "recipe.json").read_text())


def ask(port: int, text: str) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own
        ADDRESS.format(port=port) + "/v1/predict",
        data=json.dumps({"text": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


def version(port: int) -> str:
    with urllib.request.urlopen(ADDRESS.format(port=port) + "/v1/version", timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())["package"]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def device(tmp_path: Path, free_port: int) -> Nucleus:
    """A nucleus in an empty folder, provisioned with the laptop's public key."""
    key = signing_key(tmp_path / "home")
    config = tmp_path / "device" / "config.toml"
    trusted = config.with_name("trusted")
    trusted.mkdir(parents=True)
    shutil.copyfile(key.with_name("public.pem"), trusted / "release.pem")
    config.write_text(
        f'listen = "127.0.0.1:{free_port}"\n'
        f'[updates]\ntrusted_keys = "{trusted}"\ntrial_seconds = 1.0\n'
    )

    def fetch(uri: str) -> Path:
        name, number = uri.rpartition("/")[2], uri.split("/")[-2].rpartition(".")[2]
        return tmp_path / f"package-{number}" / name

    return Nucleus(tmp_path / "nucleus", fetch, {"SLM_EDGE_CONFIG": str(config)})


def test_a_component_is_installed_updated_and_a_tampered_one_refused(
    device: Nucleus, tmp_path: Path, tiny_compiled: Path, free_port: int
) -> None:
    wheels = wheels_folder()
    if not wheels.is_dir():
        wheels = tmp_path / "no-wheels"
    key = tmp_path / "home" / "signing" / "private.pem"
    first, second, third = (
        Release(tmp_path, tiny_compiled, number, key, wheels) for number in (1, 2, 3)
    )
    if not wheels.is_dir():  # without them pip would need an index: this interpreter's packages
        digest = json.loads((first.folder / "manifest.json").read_text())["files"]
        name = environment_name(digest["requirements.txt"]["sha256"])
        borrow_environment(device.work(COMPONENT), name)

    result = device.deploy(first.recipe)
    assert result.succeeded, result.reason + result.output
    device.run()
    wait_for(lambda: _answers(free_port, "1.0.1"), "the first version")
    assert set(ask(free_port, "play some jazz")) >= {"intent", "confidence", "out_of_scope", "top"}
    log = device.log.read_text()
    assert "1.0.1 serves on" in log

    result = device.deploy(second.recipe)
    assert result.succeeded, result.reason + result.output
    device.run()
    wait_for(lambda: _answers(free_port, "1.0.2"), "the second version")
    state = device.work(COMPONENT) / "state" / "state.json"
    wait_for(lambda: json.loads(state.read_text())["serving"] == "1.0.2", "its confirmation")

    # somebody changes the runtime in the zip: the version that serves looks before anything runs
    _tamper(third.folder / f"{COMPONENT}-{platform.machine()}.zip")
    result = device.deploy(third.recipe)
    assert not result.succeeded
    assert "get the package again" in result.output
    wait_for(lambda: _answers(free_port, "1.0.2"), "the version before")
    assert not (tmp_path / "owned").exists()
    assert device.stop() == 0


def _answers(port: int, wanted: str) -> bool:
    try:
        return version(port) == wanted
    except OSError:
        return False


def _tamper(path: Path) -> None:
    """Code of a stranger in the zip's ``edge/__init__.py``."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    owned = path.parent.parent / "owned"
    contents["edge/__init__.py"] = f"open({str(owned)!r}, 'w')\n".encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
