"""The regression set on the compiled model: what quantisation costs is counted and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.classifier import IntentClassifier
from steps.compile.regression import compare
from steps.regression.cases import Case
from steps.regression.judging import Rule

CASES = [
    Case("must_pass", ("turn the lamp off",), "lights_off"),
    Case("invariance", ("some jazz", "Some jazz!")),
]


def rule_of(folder: Path) -> Rule:
    written = json.loads((folder / "intents.json").read_text())
    return Rule(written["intents"], written["temperature"], float("-inf"))


def test_a_model_against_itself_loses_nothing(tiny_compiled: Path):
    model = IntentClassifier.load(tiny_compiled)
    found = compare(CASES, model, model, rule_of(tiny_compiled))
    assert found is not None
    assert found["cases"] == 2
    assert found["pass_rate"] == found["float32_pass_rate"]
    assert found["lost"] == []


class Turned:
    """A model whose logits have moved by one intent: a quantisation that went wrong."""

    def __init__(self, model: IntentClassifier) -> None:
        self._model = model

    def logits(self, texts: list[str], *, batch: int) -> NDArray[np.float32]:
        return np.roll(self._model.logits(texts, batch=batch), 1, axis=1)


def test_a_case_that_only_the_compiled_model_fails_is_named(tiny_compiled: Path):
    model = IntentClassifier.load(tiny_compiled)
    answer = model.predict("turn the lamp off").top[0].intent
    case = Case("must_pass", ("turn the lamp off",), answer)
    found = compare([case], model, Turned(model), rule_of(tiny_compiled))  # type: ignore[arg-type]
    assert found is not None
    assert (found["float32_pass_rate"], found["pass_rate"]) == (1.0, 0.0)
    assert [lost["text"] for lost in found["lost"]] == ["turn the lamp off"]


def test_without_a_set_there_is_nothing_to_compare(tiny_compiled: Path):
    model = IntentClassifier.load(tiny_compiled)
    assert compare([], model, model, rule_of(tiny_compiled)) is None
    assert json.loads((tiny_compiled / "compilation.json").read_text())["regression"] is None
