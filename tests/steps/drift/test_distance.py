from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import poisson

from steps.drift import distance
from steps.drift.distance import Size
from steps.drift.figures import Sample, completed, weights


def sample(counts: np.ndarray) -> Sample:
    return Sample(counts.astype(float), np.zeros(len(counts)))


def test_the_error_of_a_test_allows_one_false_alarm_a_quarter() -> None:
    """Two or more in a quarter, if false alarms are as many as they may be, have 5 %."""
    alpha = distance.alpha(checks_per_quarter=91.3, tests=6)
    expected = alpha * 91.3 * 6
    assert poisson.sf(1, expected) == pytest.approx(0.05, abs=1e-6)
    assert distance.alpha(91.3, 12) == pytest.approx(alpha / 2)


def test_the_distance_is_0_for_equal_shares_and_1_for_disjoint_ones() -> None:
    shares = np.array([0.5, 0.5, 0.0])
    found = distance.between(shares, np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert found == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("size", [50, 500, 5000])
@pytest.mark.parametrize("utterances", [100, 2000])
def test_a_threshold_is_exceeded_as_often_as_it_says(size: int, utterances: int) -> None:
    """Over references and samples of the same shares, both drawn anew: both err."""
    generator, alpha = np.random.default_rng(5), 0.05
    shares = generator.dirichlet(np.full(8, 3.0))
    over, tries = 0, 400
    for _ in range(tries):
        reference = generator.multinomial(utterances, shares)
        bound = distance.threshold(tuple(reference.tolist()), Size(size, 10**6), alpha)
        now = generator.multinomial(size, shares) / size
        over += distance.between(distance.smoothed(reference), now) > bound
    # three standard errors of 400 tries at 5 %
    assert over / tries == pytest.approx(alpha, abs=3 * math.sqrt(alpha * (1 - alpha) / tries))


def test_what_no_utterance_of_the_reference_did_may_still_be_done() -> None:
    """One of 500 with an unknown token is no drift from none of 263; one of ten is."""
    bound = distance.threshold((263, 0), Size(500, 10**6), 0.001)
    shares = distance.smoothed(np.array([263, 0]))
    assert distance.between(shares, np.array([499, 1]) / 500) < bound
    assert distance.between(shares, np.array([450, 50]) / 500) > bound


def test_a_threshold_shrinks_with_either_sample_and_with_more_devices() -> None:
    def bound(reference: int, size: int, devices: int = 100) -> float:
        counts = (np.array([4, 3, 2, 1]) * reference // 10).tolist()
        return distance.threshold(tuple(counts), Size(size, devices), 0.001)

    assert bound(200, 500) > bound(2000, 500) > bound(20000, 5000)
    assert bound(2000, 500, devices=5) > bound(2000, 500, devices=20) > bound(2000, 500)
    assert bound(2000, 500) == bound(2000, 500)


def test_the_design_effect_is_one_for_devices_that_are_alike() -> None:
    generator = np.random.default_rng(2)
    counts = generator.multinomial(40, [0.5, 0.3, 0.2], size=2000)
    assert distance.design_effect(sample(counts)) == pytest.approx(1.0, abs=0.1)


def test_devices_that_ask_for_one_thing_each_count_as_one_utterance_each() -> None:
    """Each of 300 devices says the same thing 40 times: 300 answers, not 12,000."""
    generator = np.random.default_rng(2)
    counts = 40 * generator.multinomial(1, [0.5, 0.3, 0.2], size=300)
    assert distance.design_effect(sample(counts)) == pytest.approx(40, rel=0.1)
    assert Size.of(sample(counts)).utterances == pytest.approx(300, rel=0.15)


def test_a_size_is_rounded_to_the_side_of_the_larger_threshold() -> None:
    counts = np.random.default_rng(4).multinomial(37, [0.6, 0.4], size=83)
    one = sample(counts)
    size, exact = Size.of(one), one.total / distance.design_effect(one)
    assert exact / 1.11 < size.utterances <= exact
    assert distance.effective_devices(one) / 1.26 < size.devices <= 83


def test_one_device_counts_three_times_the_median_at_most() -> None:
    factors = weights(np.array([100, 100, 90, 110, 10**9, 0]))
    assert (factors[:4] == 1).all()
    assert factors[4] * 10**9 == pytest.approx(300)
    assert not len(weights(np.array([], dtype=np.int64)))


def test_answers_without_a_name_are_given_to_the_intents_that_lack_most() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    named = Sample(np.array([[60.0, 0.0, 0.0]]), np.array([40.0]))
    # 40 answers bring both others to one level over their shares
    assert completed(named, shares) == pytest.approx([60, 24, 16])
    told = Sample(np.array([[60.0, 30.0, 10.0]]), np.array([0.0]))
    assert completed(told, shares) == pytest.approx([60, 30, 10])
    hidden = Sample(np.array([[0.0, 0.0, 0.0]]), np.array([50.0]))
    assert completed(hidden, shares) / 50 == pytest.approx(shares)


def test_no_other_completion_lies_nearer_to_the_reference() -> None:
    generator = np.random.default_rng(8)
    for _ in range(50):
        shares = generator.dirichlet(np.ones(5))
        named = generator.integers(0, 30, size=(1, 5)).astype(float)
        other = float(generator.integers(1, 80))
        best = completed(Sample(named, np.array([other])), shares)
        assert best.sum() == pytest.approx(named.sum() + other)
        assert (best >= named[0] - 1e-9).all()
        others = named + other * generator.dirichlet(np.ones(5), size=200)
        distances = distance.between(shares, others / others.sum(axis=1, keepdims=True))
        assert distance.between(shares, best / best.sum()) <= distances.min() + 1e-9
