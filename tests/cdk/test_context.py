"""What is asked for on the command line, and what is said about it when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk.context import ContextError, Request
from pipeline.settings import SettingsError

DIGEST = "sha256:" + "0" * 64
DEV = """
environment = "dev"
account = "111111111111"
region = "eu-west-1"
budget.recipients = ["a@example.com"]
"""


def write(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def test_an_environment_is_chosen_by_name() -> None:
    request = Request.of({"env": "staging"})
    assert request.settings.environment == "staging"
    assert request.images == "build"


def test_settings_may_come_from_a_file_of_ones_own(tmp_path: Path) -> None:
    file = write(tmp_path, DEV + "max_parallel_steps = 9\n")
    assert Request.of({"settings": file}).settings.max_parallel_steps == 9


def test_prebuilt_images_are_those_that_the_settings_name(tmp_path: Path) -> None:
    images = f'[images]\nprocessing = "r/p@{DIGEST}"\ntraining = "r/t@{DIGEST}"\n'
    request = Request.of({"settings": write(tmp_path, DEV + images), "images": "prebuilt"})
    assert request.images == "prebuilt"
    assert request.settings.processing_image == f"r/p@{DIGEST}"


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({}, "no environment is given: add -c env=dev"),
        ({"env": None, "images": "build"}, "no environment is given"),
        ({"env": "local"}, "'local' has no account to deploy to: choose dev"),
        ({"env": "dev", "settings": "mine.toml"}, "name two environments: give one of them"),
        ({"env": "dev", "images": "docker"}, "-c images=docker is not known: use build or"),
        ({"env": "dev", "images": "prebuilt"}, "dev.toml: images.processing is missing"),
    ],
)
def test_context_that_is_missing_unknown_or_contradictory_gets_one_sentence(
    context: dict[str, object], said: str
) -> None:
    with pytest.raises(ContextError, match=said) as error:
        Request.of(context)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEV.replace('account = "111111111111"', ""), "account is missing"),
        (DEV.replace('region = "eu-west-1"', ""), "region is missing"),
        (DEV.replace("111111111111", "1111"), "account = '1111' is not allowed"),
        (DEV.replace('["a@example.com"]', "[]"), "budget.recipients is empty"),
        (DEV.replace("a@example.com", "a.example.com"), "budget.recipients"),
        (DEV + '[training]\ninstance_type = "ml.x9.huge"\n', "training.instance_type"),
        (DEV + '[images]\nprocessing = "r/p:latest"\n', "must name an image by digest"),
        (DEV + "colour = 1\n", "colour is not a setting"),
    ],
)
def test_settings_that_break_a_rule_get_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        Request.of({"settings": write(tmp_path, text), "images": "prebuilt"})
    assert "\n" not in str(error.value)


def test_an_unknown_environment_gets_one_sentence() -> None:
    with pytest.raises(SettingsError, match="environment 'test' is not one of dev, local, prod"):
        Request.of({"env": "test"})


def test_a_file_that_is_not_there_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        Request.of({"settings": str(tmp_path / "none.toml")})
