"""The settings that are deployed, and the command that deploys them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pipeline.cloud.delivery import deploying
from pipeline.cloud.delivery.images import ROOT
from pipeline.errors import PipelineError
from pipeline.names import ImageName
from pipeline.settings import ENVIRONMENTS, Settings, SettingsError

IMAGES: dict[ImageName, str] = {
    "processing": f"a.example/processing@sha256:{'a' * 64}",
    "training": f"a.example/training@sha256:{'b' * 64}",
}


@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_an_environments_own_settings_are_deployed_with_the_images_and_nothing_else(
    env: str, tmp_path: Path
):
    file = deploying.write_settings(env, IMAGES, tmp_path)
    assert file == tmp_path / f"{env}.toml"
    deployed, own = Settings.read(file), Settings.load(env)
    assert deployed.images.model_dump() == IMAGES
    assert deployed.model_dump(exclude={"images"}) == own.model_dump(exclude={"images"})
    assert file.read_text().startswith((ENVIRONMENTS / f"{env}.toml").read_text())


def test_images_that_are_set_already_or_named_by_tag_are_refused(tmp_path: Path):
    own = tmp_path / "own.toml"
    own.write_text((ENVIRONMENTS / "dev.toml").read_text() + "\n[images]\n")
    with pytest.raises(SettingsError, match=r"\[images\] is delivery's to write"):
        deploying.write_settings(str(own), IMAGES, tmp_path / "out")
    with pytest.raises(SettingsError, match="must name an image by digest"):
        deploying.write_settings("dev", {**IMAGES, "training": "a.example/training:1"}, tmp_path)


def test_the_command_deploys_prebuilt_images_without_asking(tmp_path: Path):
    words = deploying.command(Settings.load("staging"), tmp_path / "staging.toml")
    assert words[:3] == [
        str(ROOT / "node_modules/.bin/cdk"), "deploy", "slm-edge-staging-!(delivery|identity)",
    ]  # fmt: skip
    given = list(itertools.pairwise(words))
    assert ("--context", f"settings={tmp_path / 'staging.toml'}") in given
    assert ("--context", "images=prebuilt") in given
    assert ("--require-approval", "never") in given


def test_a_deployment_that_fails_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = Settings.load("dev")
    monkeypatch.setattr(deploying, "command", lambda *_: ["false"])
    with pytest.raises(PipelineError, match="slm-edge-dev was not deployed: cdk ended with 1"):
        deploying.deploy(settings, tmp_path / "dev.toml")
    monkeypatch.setattr(deploying, "command", lambda *_: [str(tmp_path / "cdk")])
    with pytest.raises(PipelineError, match="is missing: run make setup-delivery"):
        deploying.deploy(settings, tmp_path / "dev.toml")
