"""A package's lifecycle from its zip: a good one is installed, asked, stopped, a bad one not."""

from __future__ import annotations

import json
import platform
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cloud.delivery import device
from pipeline.cloud.fleet import packages
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.session import CloudError
from pipeline.local.signing import signing_key
from steps.package.recipe import environment_name
from tests.e2e.nucleus import Nucleus, borrow_environment
from tests.e2e.test_component import COMPONENT, Release

pytestmark = pytest.mark.e2e
ASKED = ["play some jazz", "qwxz 17 §"]


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory, tiny_compiled: Path
) -> tuple[Package, bytes, Path]:
    """A signed package of the tiny model, the public key, and where its environment is made."""
    folder = tmp_path_factory.mktemp("release")
    key = signing_key(folder / "home")
    made = Release(folder, tiny_compiled, 1, key, folder / "no-wheels")
    package = packages.read(made.folder, COMPONENT)
    return package, key.with_name("public.pem").read_bytes(), folder


def prepared(package: Package, folder: Path) -> Path:
    """Where the lifecycle is carried out, with this interpreter's packages for an environment.

    tests/e2e/test_component.py makes one from the wheels, which takes longer than all the rest.
    """
    digest = json.loads((package.folder / "manifest.json").read_text())["files"]
    name = environment_name(digest["requirements.txt"]["sha256"])
    borrow_environment(Nucleus(folder / "nucleus", lambda _: b"").work(COMPONENT), name)
    return folder


def test_a_good_package_is_installed_answers_and_starts_again(
    release: tuple[Package, bytes, Path], tmp_path: Path
):
    package, key, _ = release
    said: list[str] = []
    device.carry_out(package, key, ASKED, prepared(package, tmp_path), said.append)
    assert [line.partition(" in ")[0] for line in said] == [
        f"installed {COMPONENT} 1.0.1",
        "start 1: 2 utterances answered, stopped",
        "start 2: 2 utterances answered, stopped",
    ]


def test_a_package_that_somebody_changed_or_another_key_signed_is_not_installed(
    release: tuple[Package, bytes, Path], tmp_path: Path
):
    package, key, _ = release
    other = signing_key(tmp_path / "other").with_name("public.pem").read_bytes()
    with pytest.raises(CloudError, match="is not good: install ended with exit code"):
        device.carry_out(package, other, ASKED, prepared(package, tmp_path / "1"), print)
    folder = Path(shutil.copytree(package.folder, tmp_path / "changed"))
    archive = folder / f"{COMPONENT}-{platform.machine()}.zip"
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("edge/stranger.py", "print('hello')\n")
    changed = replace(package, folder=folder)
    with pytest.raises(CloudError, match="is not good: install ended with exit code"):
        device.carry_out(changed, key, ASKED, prepared(package, tmp_path / "2"), print)


def test_a_package_without_this_machine_is_refused(
    release: tuple[Package, bytes, Path], tmp_path: Path
):
    package, key, _ = release
    recipe = json.loads(json.dumps(package.recipe))
    for manifest in recipe["Manifests"]:
        manifest["Platform"]["architecture"] = "riscv"
    elsewhere = replace(package, recipe=recipe)
    with pytest.raises(CloudError, match=r"was refused: no manifest .* is for linux on"):
        device.carry_out(elsewhere, key, ASKED, tmp_path, print)
