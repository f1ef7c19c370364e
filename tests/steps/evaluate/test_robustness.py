"""Perturbations: repeatable, never empty, and what they claim to be."""

from __future__ import annotations

import random

import numpy as np
import pytest

from steps.evaluate import robustness
from steps.evaluate.robustness import PERTURBATIONS, perturbed

TEXTS = ["turn off the kitchen light", "it's too bright, isn't it?", "ok", "42", "日本語", "a"]


def draw(seed: int = 0) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secrets


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_repeats_itself_row_by_row_and_leaves_something(name):
    first = perturbed(name, TEXTS, seed=1)
    assert first == perturbed(name, TEXTS, seed=1)
    assert first[::-1] == perturbed(name, TEXTS[::-1], seed=1)
    assert all(text.strip() for text in first)


def test_another_seed_makes_other_slips():
    assert perturbed("typos", TEXTS, seed=1) != perturbed("typos", TEXTS, seed=2)


def test_typos_are_slips_of_single_letters():
    text = "please turn the heating down"
    for seed in range(60):
        (slipped,) = perturbed("typos", [text], seed)
        assert abs(len(slipped) - len(text)) <= 2
    assert robustness.typos("12 34", draw()) == "12 34"
    assert robustness._NEIGHBOURS["s"] == "adwezx"


def test_a_fifth_of_the_words_is_dropped_and_a_single_word_is_kept():
    text = " ".join("abcdefghij")
    assert len(robustness.dropped_words(text, draw()).split()) == 8
    assert robustness.dropped_words("lights", draw()) == "lights"


def test_casing_changes_only_case():
    styles = {robustness.casing("turn it off", draw(seed)) for seed in range(20)}
    assert {text.lower() for text in styles} == {"turn it off"}
    assert {"TURN IT OFF", "Turn It Off"} <= styles


def test_what_is_misheard_has_no_punctuation_and_a_word_that_sounds_alike():
    assert robustness.misheard("It's too dark here!", draw()) in {
        "its two dark here", "its too dark hear", "its to dark here",
    }  # fmt: skip
    assert robustness.misheard("?!", draw()) == "?!"


def test_a_sample_holds_in_scope_rows_alone_and_is_repeatable(monkeypatch):
    monkeypatch.setattr(robustness, "SAMPLE", 5)
    texts = [f"utterance {row}" for row in range(20)]
    labels = np.array([-1, 0] * 10, dtype=np.int32)
    sample = robustness.Sample.draw(texts, labels, seed=0)
    assert len(sample.texts) == 5
    assert (sample.labels == 0).all()
    assert sample.texts == robustness.Sample.draw(texts, labels, seed=0).texts


def test_accuracy_is_measured_as_written_and_under_each_perturbation():
    sample = robustness.Sample(["lights off", "some jazz"], np.array([0, 1]))
    known = {"lights off": 0, "some jazz": 1}

    def exact(texts: list[str]):
        return np.array([known.get(text, -5) for text in texts])

    found = robustness.measure(sample, {"model": exact}, seed=0)
    assert found["rows"] == 2
    assert found["perturbations"].keys() == {"none", *PERTURBATIONS}
    assert found["perturbations"]["none"]["model"]["value"] == 1.0
    assert "example" not in found["perturbations"]["none"]
    assert found["perturbations"]["dropped_words"]["model"]["value"] == 0.0
    assert found["perturbations"]["dropped_words"]["changed"] == 1.0
