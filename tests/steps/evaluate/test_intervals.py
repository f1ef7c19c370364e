"""Bootstrap intervals: repeatable, equal to the plain definition, and of the right width."""

from __future__ import annotations

import numpy as np
import pytest

from steps.evaluate import intervals, metrics


@pytest.fixture
def answers():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 4, 120)
    predicted = np.where(generator.random(120) < 0.8, labels, generator.integers(0, 4, 120))
    return labels, predicted, generator.uniform(0.3, 1.0, 120)


def test_resampled_figures_equal_those_of_the_rows_that_were_drawn(answers, monkeypatch):
    labels, predicted, confidences = answers
    monkeypatch.setattr(intervals, "RESAMPLES", 30)
    monkeypatch.setattr(intervals.resample_weights, "__defaults__", (30,))
    found = intervals.classification(labels, predicted, {"error": confidences}, 4, seed=1)

    accuracies, scores, errors = [], [], []
    for weights in np.concatenate(
        list(intervals.resample_weights(120, np.random.default_rng(1))), axis=1
    ).T:
        rows = np.repeat(np.arange(120), weights.astype(int))
        right = labels[rows] == predicted[rows]
        counts = metrics.Counts.of(metrics.confusion_matrix(labels[rows], predicted[rows], 4))
        accuracies.append(right.mean())
        scores.append(counts.macro(counts.f_score()))
        errors.append(metrics.expected_calibration_error(confidences[rows], right))
    for name, values in {"accuracy": accuracies, "macro_f1": scores, "error": errors}.items():
        assert found[name].low == pytest.approx(np.percentile(values, 2.5))
        assert found[name].high == pytest.approx(np.percentile(values, 97.5))
        assert found[name].standard_deviation == pytest.approx(np.std(values))


def test_the_value_is_that_of_the_rows_as_they_are(answers):
    labels, predicted, confidences = answers
    right = labels == predicted
    found = intervals.classification(labels, predicted, {"error": confidences}, 4, seed=1)
    assert found["accuracy"].value == pytest.approx(right.mean())
    assert found["weighted_recall"].value == pytest.approx(right.mean())
    expected = metrics.expected_calibration_error(confidences, right)
    assert found["error"].value == pytest.approx(expected)
    assert all(each.low <= each.high for each in found.values())


def test_the_same_seed_gives_the_same_intervals(answers):
    labels, predicted, _ = answers
    first = intervals.classification(labels, predicted, {}, 4, seed=7)
    assert first == intervals.classification(labels, predicted, {}, 4, seed=7)
    assert first != intervals.classification(labels, predicted, {}, 4, seed=8)


def test_many_rows_are_drawn_in_parts_and_each_resample_has_as_many_rows(monkeypatch):
    monkeypatch.setattr(intervals, "_CELLS", 100)
    parts = list(intervals.resample_weights(30, np.random.default_rng(0), 10))
    assert [part.shape for part in parts] == [(30, 3), (30, 3), (30, 3), (30, 1)]
    assert all((part.sum(axis=0) == 30).all() for part in parts)


def test_the_interval_of_an_auroc_surrounds_it_and_narrows_with_more_rows(monkeypatch):
    generator = np.random.default_rng(2)
    inside, outside = generator.normal(1, 1, 800).round(1), generator.normal(0, 1, 300).round(1)
    wide = intervals.separation(inside[:80], outside[:30], seed=0)
    monkeypatch.setattr(intervals, "_CELLS", 200_000)
    narrow = intervals.separation(inside, outside, seed=0)
    for found in (wide, narrow):
        assert found.low < found.value < found.high
    assert narrow.high - narrow.low < wide.high - wide.low
    # Hanley & McNeil 1982 put the standard error of such an AUROC at about 0.017
    assert narrow.standard_deviation == pytest.approx(0.017, abs=0.004)


def test_the_interval_of_a_share_is_that_of_the_binomial():
    found = intervals.of_share(np.arange(400) < 360, seed=0)
    assert found.value == 0.9
    assert found.standard_deviation == pytest.approx(0.015, abs=0.002)
    assert found.to_json().keys() == {"value", "low", "high", "standard_deviation"}
