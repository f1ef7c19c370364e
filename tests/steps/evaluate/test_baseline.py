"""TF-IDF and a linear SVM, on more and on exactly two intents."""

from __future__ import annotations

import numpy as np
import pytest

from steps.contract import StepError
from steps.evaluate.baseline import Baseline

TEXTS = ["lights off", "light off now", "play jazz", "play a song", "rain today", "will it rain"]


def test_it_learns_what_words_tell_and_scores_the_unknown_lower():
    baseline = Baseline(TEXTS, np.array([0, 0, 1, 1, 2, 2]), seed=0)
    labels, scores = baseline.labels_and_scores(["play a jazz song", "lights off", "hamlet"])
    assert labels.tolist()[:2] == [1, 0]
    assert scores[2] < min(scores[:2])
    assert baseline.fit_seconds > 0
    assert baseline.latency(TEXTS)["p95_ms"] >= baseline.latency(TEXTS)["median_ms"] * 0.1


def test_two_intents_have_a_margin_each_and_out_of_scope_rows_teach_nothing():
    baseline = Baseline(TEXTS, np.array([0, 0, 3, 3, -1, -1]), seed=0)
    assert baseline.margins(TEXTS).shape == (6, 2)
    assert baseline.predict(["lights off", "play jazz"]).tolist() == [0, 3]


def test_rows_of_a_single_intent_are_refused_in_a_sentence():
    with pytest.raises(StepError, match="fewer than two intents"):
        Baseline(TEXTS, np.array([0, 0, 0, 0, -1, -1]), seed=0)
