from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.classifier import IntentClassifier
from steps.compile.parity import Reference
from steps.compile.selftest import CASES, choose

THRESHOLD = 2.0


def reference(labels: list[int]) -> Reference:
    texts = [f"utterance {row}" for row in range(len(labels))]
    return Reference(texts, np.array(labels), np.zeros((len(labels), 2), dtype=np.float32))


def logits(labels: list[int], intents: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.normal(0, 0.1, (len(labels), intents)).astype(np.float32)
    for row, label in enumerate(labels):
        if label >= 0:
            found[row, label] += rng.uniform(4, 8)
    return found


def test_intents_are_spread_and_two_rows_are_out_of_scope() -> None:
    labels = [row % 50 for row in range(500)] + [-1] * 30
    chosen = choose(logits(labels, 50), reference(labels), THRESHOLD)
    found = [labels[row] for row in chosen]
    assert len(chosen) == len(set(chosen)) == CASES
    assert found[-2:] == [-1, -1]
    assert len(set(found[:-2])) == CASES - 2
    assert max(found) >= 40


def test_a_few_intents_give_more_than_one_row_each() -> None:
    labels = [row % 3 for row in range(60)]
    chosen = choose(logits(labels, 3), reference(labels), THRESHOLD)
    assert len(chosen) == 9
    assert sorted(labels[row] for row in chosen) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_test_split_of_few_rows_gives_them_all() -> None:
    labels = [0, 1, 1]
    assert sorted(choose(logits(labels, 2), reference(labels), THRESHOLD)) == [0, 1, 2]


def test_unclear_answers_are_not_asked() -> None:
    labels = [0] * 40 + [1] * 40
    found = logits(labels, 2)
    found[:35] = 0.0  # no intent ahead of the other
    chosen = choose(found, reference(labels), THRESHOLD)
    assert min(chosen) >= 35


def test_the_stored_answers_are_those_of_the_compiled_model(tiny_compiled: Path) -> None:
    stored = json.loads((tiny_compiled / "selftest.json").read_text())
    classifier = IntentClassifier.load(tiny_compiled)
    assert stored["format"] == 1
    assert stored["cases"]
    for case in stored["cases"]:
        answer = classifier.predict(case["text"])
        assert answer.top[0].intent == case["intent"]
        assert answer.out_of_scope == case["out_of_scope"]
        assert answer.energy == pytest.approx(case["energy"], abs=1e-3)
