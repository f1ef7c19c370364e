"""Temperature, threshold and the figures about energy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from steps.train.calibration import auroc, energy, fit_temperature, fit_threshold, threshold_rule


def test_the_temperature_undoes_a_known_overconfidence():
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(4000, 5, generator=generator) * 2
    labels = torch.multinomial(honest.softmax(1), 1, generator=generator).squeeze(1)
    assert fit_temperature(honest * 3, labels) == pytest.approx(3, rel=0.1)


def test_the_temperature_stays_finite_when_nothing_is_wrong():
    logits = torch.eye(4) * 10
    assert 0.05 <= fit_temperature(logits, torch.arange(4)) <= 1


def test_without_rows_the_temperature_is_one():
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0)) == 1.0


def test_logits_that_are_no_numbers_leave_the_temperature_at_one():
    logits = torch.full((4, 3), math.nan)
    assert fit_temperature(logits, torch.zeros(4)) == 1.0


def test_energy_is_logsumexp():
    assert energy(torch.tensor([[0.0, 0.0]])) == pytest.approx([math.log(2)])


def test_the_threshold_lies_in_the_gap_between_the_two():
    threshold = fit_threshold(np.array([10.0, 11, 12]), np.arange(10) / 2.0)
    assert 4.5 < threshold < 10


def test_the_threshold_does_not_depend_on_how_many_are_out_of_scope():
    inside = np.random.default_rng(0).normal(12, 1, 500)
    outside = np.random.default_rng(1).normal(9, 1, 50)
    assert fit_threshold(inside, outside) == fit_threshold(inside, np.repeat(outside, 7))


def test_with_too_few_out_of_scope_rows_a_low_quantile_decides():
    inside = np.arange(1000.0)
    assert fit_threshold(inside, np.array([500.0])) == pytest.approx(9.99)
    assert (inside >= fit_threshold(inside, np.array([]))).mean() == 0.99


def test_without_in_scope_rows_nothing_is_rejected():
    assert fit_threshold(np.array([]), np.arange(20.0)) == -math.inf


def test_the_record_says_which_rule_chose_the_threshold():
    assert "Youden" in threshold_rule(100, 50)
    assert "99%" in threshold_rule(100, 3)
    assert "nothing is rejected" in threshold_rule(0, 50)


def test_auroc_counts_pairs_and_halves_ties():
    assert auroc(np.array([3.0, 4]), np.array([1.0, 2])) == 1.0
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5
    assert auroc(np.array([1.0, 3]), np.array([2.0])) == 0.5
    assert auroc(np.array([]), np.array([2.0])) is None
    assert auroc(np.array([1.0]), np.array([])) is None
