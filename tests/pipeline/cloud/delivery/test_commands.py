"""``slm deliver`` as a build calls it: options from the environment, values handed on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cloud.delivery import deploying, device
from pipeline.cloud.fleet.packages import Package
from pipeline.settings import Settings
from tests.pipeline.cloud.delivery.conftest import COMMIT
from tests.pipeline.cloud.delivery.test_images import repositories, tool  # noqa: F401 - fixtures
from tests.pipeline.cloud.delivery.test_promoting import PENDING, sha256_of
from tests.pipeline.cloud.delivery.test_running import variables
from tests.pipeline.cloud.emulated import SETTINGS, Emulated
from tests.pipeline.cloud.promotion.promotable import register

DELIVERY = """
[delivery]
github = "example/slm-edge"
"""


@pytest.fixture
def deliver(cloud: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call a command of ``slm deliver`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, exit_code: int = 0, **given: str) -> str:
        done = CliRunner().invoke(app, ["deliver", *words, *cloud.options], env=given)
        assert done.exit_code == exit_code, done.output + str(done.exception)
        return done.output

    return call


@pytest.mark.usefixtures("repositories", "tool")
def test_images_are_handed_on_and_deployed_and_marked_as_what_runs(
    cloud: Emulated, deliver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The deployment itself is left out: test_deploying.py has its command, and tests/e2e cdk."""
    deliver("images", SLM_COMMIT=COMMIT)
    handed = variables(tmp_path)
    assert set(handed) == {"PROCESSING_IMAGE", "TRAINING_IMAGE"}
    deployed: list[tuple[str, Settings]] = []
    monkeypatch.setattr(
        deploying, "deploy", lambda one, file: deployed.append((one.name, Settings.read(file)))
    )
    cloud.file.write_text(SETTINGS + DELIVERY)
    given = {f"SLM_{name}": uri for name, uri in handed.items()}
    deliver("deploy", SLM_COMMIT=COMMIT, **given)
    [(name, settings)] = deployed
    assert name == "slm-edge-dev"
    assert settings.images.processing == handed["PROCESSING_IMAGE"]
    assert settings.images.training == handed["TRAINING_IMAGE"]
    for image in ("processing", "training"):
        found = cloud.client("ecr").describe_images(repositoryName=f"slm-edge-dev/{image}")
        [detail] = found["imageDetails"]
        assert f"in-dev-{COMMIT}" in detail["imageTags"]


def test_an_environment_that_is_not_delivered_to_is_not_deployed(deliver):
    images = dict.fromkeys(("SLM_PROCESSING_IMAGE", "SLM_TRAINING_IMAGE"), "x")
    said = deliver("deploy", exit_code=2, SLM_COMMIT=COMMIT, **images)
    assert "is not delivered to: set delivery.tooling" in said


def test_a_device_gets_the_package_that_was_handed_on_and_no_other(
    cloud: Emulated, deliver, monkeypatch: pytest.MonkeyPatch
):
    """The lifecycle itself is test_device.py's: these zips are stand-ins."""
    version = register(cloud, 1, status=PENDING)
    seen: list[tuple[Package, bytes]] = []

    def carry_out(package: Package, key: bytes, *_: object) -> None:
        assert (package.folder / "manifest.sig").is_file()
        seen.append((package, key))

    monkeypatch.setattr(device, "carry_out", carry_out)
    given = {"SLM_MODEL_PACKAGE": version.arn, "SLM_PACKAGE_SHA256": sha256_of(cloud, version)}
    said = deliver("device", **given)
    assert "package slm.edge.IntentModel 1.0.1: hashes and signature are good" in said
    [(package, key)] = seen
    assert package.version == "1.0.1"
    assert key.startswith(b"-----BEGIN PUBLIC KEY-----")
    given["SLM_PACKAGE_SHA256"] = "0" * 64
    assert "is not what was approved" in deliver("device", exit_code=1, **given)
    assert len(seen) == 1


def test_what_can_be_promoted_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = tmp_path / "summary"
    names = ("COMMIT", "PROCESSING_IMAGE", "TRAINING_IMAGE", "MODEL_PACKAGE", "PACKAGE_SHA256",
             "FIGURES", "REPORT")  # fmt: skip
    given = {f"SLM_{name}": f"the {name.lower()}" for name in names}
    given["GITHUB_STEP_SUMMARY"] = str(shown)
    done = CliRunner().invoke(app, ["deliver", "summary"], env=given)
    assert done.exit_code == 0, done.output
    assert done.output == "".join(f"- {n.lower()}: `the {n.lower()}`\n" for n in names)
    assert shown.read_text() == done.output
