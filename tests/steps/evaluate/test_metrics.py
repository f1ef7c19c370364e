"""The figures against scikit-learn, against hand-made numbers and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from steps.evaluate import metrics


@pytest.fixture
def answers():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 7, 400)
    predicted = np.where(generator.random(400) < 0.7, labels, generator.integers(0, 7, 400))
    return labels, predicted


def test_precision_recall_and_f1_equal_scikit_learns(answers):
    labels, predicted = answers
    confusion = metrics.confusion_matrix(labels, predicted, 7)
    counts = metrics.Counts.of(confusion)

    expected = reference.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(labels, predicted))
    np.testing.assert_allclose(counts.precision(), expected[0])
    np.testing.assert_allclose(counts.recall(), expected[1])
    np.testing.assert_allclose(counts.f_score(), expected[2])
    for beta in (0.5, 2.0):
        weighted = reference.fbeta_score(labels, predicted, beta=beta, average="weighted")
        assert counts.weighted(counts.f_score(beta)) == pytest.approx(weighted)
    macro = reference.f1_score(labels, predicted, average="macro")
    assert counts.macro(counts.f_score()) == pytest.approx(macro)


def test_an_intent_without_test_rows_does_not_lower_the_macro_mean():
    confusion = metrics.confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 1]), 3)
    counts = metrics.Counts.of(confusion)
    assert counts.macro(counts.f_score()) == 1.0
    assert counts.f_score()[2] == 0.0


def test_auroc_equals_scikit_learns_with_ties_and_without():
    generator = np.random.default_rng(1)
    inside, outside = generator.normal(1, 1, 300), generator.normal(0, 1, 90)
    for decimals in (0, 1, 12):
        a, b = inside.round(decimals), outside.round(decimals)
        truth = np.r_[np.ones(300), np.zeros(90)]
        assert metrics.auroc(a, b) == pytest.approx(reference.roc_auc_score(truth, np.r_[a, b]))


def test_the_roc_curve_ascends_from_nothing_to_everything_and_has_the_auroc_as_its_area():
    generator = np.random.default_rng(1)
    inside, outside = generator.normal(1, 1, 300).round(1), generator.normal(0, 1, 90).round(1)
    accepted, kept = metrics.roc_curve(inside, outside)
    assert (accepted[0], kept[0]) == (0, 0)
    assert (accepted[-1], kept[-1]) == (1, 1)
    assert (np.diff(accepted) >= 0).all()
    assert (np.diff(kept) >= 0).all()
    assert np.trapezoid(kept, accepted) == pytest.approx(metrics.auroc(inside, outside))


def test_false_positives_are_counted_where_95_percent_of_in_scope_rows_are_kept():
    inside = np.arange(1, 101, dtype=float)  # 95 % kept: those of 6 and more
    assert metrics.accepted_at_kept(inside, np.array([5.9, 6.0, 200.0, 1.0])) == 0.5
    assert metrics.accepted_at_kept(np.array([3.0]), np.array([2.0])) == 0.0


def test_rejection_counts_what_is_found_and_what_is_lost():
    right = np.array([True, True, False, True])
    found = metrics.rejection(
        right, np.array([9.0, 1.0, 9.0, 9.0]), np.array([0.0, 1.5, 7.0, 0.5]), threshold=2.0
    )
    assert found.recall == 0.75
    assert found.precision == 0.75
    assert found.in_scope_rejected == 0.25
    assert found.in_scope_accuracy == 0.5
    assert found.accuracy == (2 + 3) / 8


def test_a_model_that_rejects_nothing_has_no_precision_of_rejection():
    found = metrics.rejection(np.array([True]), np.array([1.0]), np.array([1.0]), float("-inf"))
    assert found.precision is None
    assert found.recall == 0.0


def test_calibration_error_is_the_weighted_gap_of_each_bin():
    confidences = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False])
    assert metrics.expected_calibration_error(confidences, right) == pytest.approx(0.05)
    found = metrics.reliability(confidences, right)
    assert found.rows.sum() == 4
    assert found.rows[14] == 2


def test_a_confidence_of_one_falls_into_the_last_bin_and_of_zero_into_the_first():
    assert metrics.calibration_bin(np.array([0.0, 1.0])).tolist() == [0, 14]


def test_temperature_changes_confidence_and_neither_energy_nor_answer():
    logits = np.array([[2.0, 0.0], [1000.0, -1000.0]], dtype=np.float32)
    np.testing.assert_allclose(metrics.energy(logits), [np.log(np.exp(2) + 1), 1000.0])
    cold, hot = metrics.confidence(logits, 0.5), metrics.confidence(logits, 2.0)
    assert cold[0] > hot[0]
    assert cold[0] == pytest.approx(1 / (1 + np.exp(-4)))
    assert np.isfinite(cold).all()
