"""The champion: the paired test, a champion of other intents, and one that cannot be used."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from steps.archive import pack
from steps.contract import StepError
from steps.evaluate import champion
from steps.registry import ModelPackage

TEXTS = ["turn the lamp off", "play some jazz", "will it rain", "who wrote hamlet"]


@dataclass
class Shelf:
    """A registry of one version, which is a file."""

    archive: Path | None
    kind: str = "shelf"

    def champion(self) -> ModelPackage | None:
        if self.archive is None:
            return None
        return ModelPackage("models:/intents/3", 3, "Approved", {}, "2026-11-01T00:00:00Z")

    def download(self, package: ModelPackage, folder: Path) -> Path:
        if not self.archive.exists():
            raise StepError(f"{package.name} has no model.tar.gz.")
        shutil.copy(self.archive, folder / "model.tar.gz")
        return folder


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory, tiny_model):
    return pack(tiny_model, tmp_path_factory.mktemp("archive") / "model.tar.gz")


def right(pattern: str):
    return np.array([letter == "1" for letter in pattern])


def test_the_p_value_is_the_tail_of_a_fair_coin():
    # 5 rows apart, the champion alone right on 4: (5 + 1) / 2**5
    found = champion.mcnemar(right("1000011"), right("0111111"))
    assert (found.champion_alone_right, found.candidate_alone_right) == (4, 1)
    assert found.p_value == pytest.approx(6 / 32)


def test_a_champion_that_is_never_better_has_a_p_value_of_one():
    assert champion.mcnemar(right("1111"), right("1100")).p_value == 1.0
    assert champion.mcnemar(right("1100"), right("1100")).p_value == 1.0


def test_a_champion_that_is_clearly_better_has_a_small_p_value():
    assert champion.mcnemar(right("0" * 10), right("1" * 10)).p_value == pytest.approx(2**-10)


def test_no_approved_model_is_no_champion(tmp_path):
    assert champion.score(Shelf(None), TEXTS, ["lights_off"], tmp_path) is None


def test_intents_are_matched_by_name_and_not_by_label(tmp_path, tiny_archive):
    names = ["lights_off", "play_music", "weather"]
    same = champion.score(Shelf(tiny_archive), TEXTS, names, tmp_path / "a")
    reordered = champion.score(Shelf(tiny_archive), TEXTS, ["weather", "new"], tmp_path / "b")
    expected = np.array([-2, -2, 0])[same.predicted]
    assert reordered.predicted.tolist() == expected.tolist()
    np.testing.assert_allclose(same.energy, reordered.energy)
    assert same.dataset_sha256 == "0" * 64


def unusable(kind: str, tmp_path: Path, tiny_model: Path) -> Path:
    archive = tmp_path / "model.tar.gz"
    if kind == "cut short":
        whole = pack(tiny_model, tmp_path / "whole.tar.gz").read_bytes()
        archive.write_bytes(whole[: len(whole) // 2])
    elif kind == "no archive":
        archive.write_bytes(b"nothing of the kind")
    elif kind == "a link":
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            link = tarfile.TarInfo("training.json")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        archive.write_bytes(gzip.compress(buffer.getvalue()))
    elif kind == "a part is missing":
        partial = tmp_path / "partial"
        shutil.copytree(tiny_model, partial)
        (partial / "head.safetensors").unlink()
        pack(partial, archive)
    return archive


@pytest.mark.parametrize(
    "kind", ["missing", "cut short", "no archive", "a link", "a part is missing"]
)
def test_a_champion_that_cannot_be_used_ends_the_job_and_says_what_to_do(
    kind, tmp_path, tiny_model
):
    archive = unusable(kind, tmp_path, tiny_model)
    with pytest.raises(StepError) as caught:
        champion.score(Shelf(archive), TEXTS, ["lights_off"], tmp_path / "scratch")
    sentence = str(caught.value)
    assert "champion models:/intents/3 (version 3) cannot be compared with" in sentence
    assert "or reject that version in the registry" in sentence
    assert "\n" not in sentence


def test_a_champion_of_another_tokenizer_is_read_with_its_own(tmp_path, tiny_model):
    longer = tmp_path / "longer"
    shutil.copytree(tiny_model, longer)
    rule = json.loads((longer / "intents.json").read_text())
    (longer / "intents.json").write_text(json.dumps(rule | {"max_length": 4}))
    archive = pack(longer, tmp_path / "model.tar.gz")
    text = ["turn the lamp off please and then play some music"]
    found = champion.score(Shelf(archive), text, ["lights_off"], tmp_path / "scratch")
    cut = champion.score(Shelf(archive), ["turn the"], ["lights_off"], tmp_path / "again")
    np.testing.assert_allclose(found.energy, cut.energy, rtol=1e-5)
