"""The base model is found where the contract says, in its order, and verified."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from steps import base_model
from steps.base_model import bundled_base_model, find_base_model, verify_bundled_model
from steps.contract import StepError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    (made / "config.json").write_text("{}")
    return made


def test_a_folder_comes_before_the_channel(folder: Path, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    channel.mkdir()
    (channel / "config.json").write_text("{}")
    assert find_base_model(str(folder), channel) == folder


def test_the_channel_comes_before_the_bundled_model(folder: Path) -> None:
    assert find_base_model("all-MiniLM-L6-v2", folder) == folder


@pytest.mark.parametrize("name", base_model.BUNDLED_NAMES)
def test_an_empty_or_missing_channel_is_passed_over(tmp_path: Path, name: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert find_base_model(name, empty) == bundled_base_model()
    assert find_base_model(name, tmp_path / "missing") == bundled_base_model()
    assert find_base_model(name, None) == bundled_base_model()


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"no model: .* has no config\.json"):
        find_base_model(str(tmp_path), None)
    (tmp_path / "weights.bin").touch()
    with pytest.raises(StepError, match="The input channel 'base-model' is no model"):
        find_base_model("all-MiniLM-L6-v2", tmp_path)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "~/nowhere/x", "s3://a/b"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(StepError, match="is not there: no such folder"):
        find_base_model(name, None)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(StepError, match="name is empty"):
        find_base_model(" ", None)


def test_a_name_that_nothing_carries_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StepError, match="'nobody/nothing' is not there") as raised:
        find_base_model("nobody/nothing", None)
    assert "channel 'base-model'" in str(raised.value)


def test_the_bundled_weights_are_the_published_ones() -> None:
    bundled = bundled_base_model()
    assert bundled is not None
    verify_bundled_model(bundled)


def test_changed_bundled_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = bundled_base_model()
    assert bundled is not None
    copy = tmp_path / "model"
    copy.mkdir()
    shutil.copy(bundled / "config.json", copy)
    monkeypatch.setattr(base_model, "bundled_base_model", lambda: copy)
    with pytest.raises(StepError, match="has no weights"):
        verify_bundled_model(copy)
    (copy / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(StepError, match="not the published one"):
        verify_bundled_model(copy)


def test_other_folders_are_not_measured_against_the_pin(folder: Path) -> None:
    verify_bundled_model(folder)
