from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edge.classifier import IntentClassifier
from edge.telemetry.bins import EDGES
from edge.telemetry.window import Window
from steps.compile import reference
from steps.compile.parity import read_reference
from tests.compiled import write_evaluation


def texts(prepared: Path) -> list[str]:
    return pq.read_table(prepared / "test.parquet")["text"].to_pylist()


def test_the_reference_counts_the_test_split_as_a_device_does(
    tiny_compiled: Path, tiny_prepared: Path, read_json: Callable[[Path], Any]
) -> None:
    """The same utterances through the classifier that ships and a window of its telemetry."""
    found = read_json(tiny_compiled / "reference.json")
    classifier, window = IntentClassifier.load(tiny_compiled), Window(0.0)
    for text in texts(tiny_prepared):
        window.add(classifier.predict(text), len(text), 0.001)
    for name in ("confidence", "energy", "characters", "tokens", "unknown"):
        assert found["counts"][name] == window.histograms[name], name
        assert found["edges"][name] == list(EDGES[name])
        assert sum(found["counts"][name]) == found["utterances"] == len(texts(tiny_prepared))
    assert found["counts"]["intents"] == window.intents
    assert found["counts"]["out_of_scope"] == window.out_of_scope
    assert found["counts"]["token_sum"] == window.tokens
    assert (found["format"], found["model_version"]) == (1, "7")
    assert found["intents"] == sorted(classifier.intents)


def test_every_predicted_intent_is_named_and_nothing_was_timed(
    tiny_compiled: Path, read_json: Callable[[Path], Any]
) -> None:
    counts = read_json(tiny_compiled / "reference.json")["counts"]
    assert counts["other"] == 0
    assert sum(counts["intents"].values()) + counts["out_of_scope"] == sum(counts["energy"])
    assert "milliseconds" not in counts


def test_the_same_model_and_split_give_the_same_reference(
    tiny_compiled: Path, tiny_model: Path, tiny_prepared: Path, tmp_path: Path
) -> None:
    evaluation = write_evaluation(tmp_path, tiny_model, tiny_prepared)
    split = read_reference(tiny_prepared, evaluation)
    again = reference.build(IntentClassifier.load(tiny_compiled), split, "7")
    assert again == json.loads((tiny_compiled / "reference.json").read_text())


def test_the_reference_holds_no_text(tiny_compiled: Path, tiny_prepared: Path) -> None:
    written = (tiny_compiled / "reference.json").read_text()
    assert not [text for text in texts(tiny_prepared) if text in written]
