"""How far devices' shares lie from the reference's, and how far chance alone takes them.

The distance is that of Jensen and Shannon (base 2: 0 for the same shares, 1 for shares that have
nothing in common). Its threshold is drawn, for the sample's very size, by a Bayesian bootstrap
(Rubin 1981) of the reference: the reference is a finite sample itself, so each draw first takes
shares that could have given it (Dirichlet, with half an utterance a group more, Jeffreys' prior:
what none of 300 utterances did may still be done by one of a thousand), then a sample of those
shares. The threshold is exceeded by the share ``alpha`` of the draws.

Devices are no coins: one kitchen asks for timers all day. Utterances of few devices that differ
much say less than as many of many, by the design effect (Kish 1965; for several categories the mean
generalised design effect of Rao and Scott 1981), which is measured on the sample itself, device
against device. The sample counts as ``utterances / design effect`` independent ones. A design
effect that is measured on few devices is uncertain too, so each draw takes one that could have
given it (scaled inverse chi-square), as Student's t does for a mean.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import gamma

from steps.drift.figures import Counts, Floats, Sample

PRIOR = 0.5
BEYOND = 16
"""Draws beyond the threshold: its own error is then a quarter of alpha."""
AT_ONCE = 4096
UTTERANCE_STEP, DEVICE_STEP = 1.1, 1.25
MORE_THAN_ONE = 0.05
"""The probability with which a quarter has more than one false alarm."""


def alpha(checks_per_quarter: float, tests: int) -> float:
    """How often a single test may be wrong, for one false alarm a quarter at most.

    False alarms of many rare tests are Poisson distributed at worst (tests that go together
    alarm together); their expected number is the sum of all tests' alphas, whatever depends on
    whatever. It is chosen so that two or more come with probability ``MORE_THAN_ONE`` (0.355 a
    quarter), and divided among the tests.
    """
    expected = float(gamma.ppf(MORE_THAN_ONE, 2))  # P(Poisson(m) >= 2) = P(Gamma(2) <= m)
    return expected / (checks_per_quarter * max(tests, 1))


def draws(alpha: float) -> int:
    """How many draws a threshold takes."""
    return math.ceil(BEYOND / alpha)


def smoothed(counts: Counts) -> Floats:
    """Shares with half an utterance a group more, which are all positive."""
    return np.asarray((counts + PRIOR) / float((counts + PRIOR).sum()), dtype=np.float64)


def between(shares: Floats, others: Floats) -> Floats:
    """The distance of ``others`` ([..., groups]) from ``shares`` ([groups])."""
    with np.errstate(invalid="ignore"):  # rounding may make the root's argument negative: it is 0
        found: Any = jensenshannon(np.broadcast_to(shares, others.shape), others, base=2, axis=-1)  # pyright: ignore[reportCallIssue]
    return np.nan_to_num(np.asarray(found))


def design_effect(sample: Sample) -> float:
    """How many of the sample's utterances say as much as one independent one; 1 at least."""
    counts = np.column_stack([sample.counts, sample.other])
    devices, total = len(counts), float(counts.sum())
    shares = counts.sum(axis=0) / total
    counts, shares = counts[:, shares > 0], shares[shares > 0]
    if len(shares) < 2 or devices < 2:
        return 1.0
    apart = counts - counts.sum(axis=1, keepdims=True) * shares
    variance = (apart**2).sum(axis=0) * devices / (devices - 1) / total**2
    return max(1.0, float((variance / shares).sum()) * total / (len(shares) - 1))


def effective_devices(sample: Sample) -> float:
    """How many devices of one size say as much about how much devices differ (Kish)."""
    sizes = sample.counts.sum(axis=1) + sample.other
    return float(sizes.sum() ** 2 / (sizes**2).sum())


@dataclass(frozen=True)
class Size:
    """What a threshold depends on besides the reference, in steps.

    Rounded down, which gives the larger threshold, so that one is drawn for many samples.
    """

    utterances: int
    """Independent ones that say as much as the sample."""
    devices: int
    """Of one size, that say as much about how much devices differ."""

    @classmethod
    def of(cls, sample: Sample) -> Size:
        return cls(
            _step(sample.total / design_effect(sample), UTTERANCE_STEP),
            _step(effective_devices(sample), DEVICE_STEP),
        )


def _step(value: float, ratio: float) -> int:
    if value < 1:
        return 0
    return int(ratio ** math.floor(round(math.log(value) / math.log(ratio), 9)))


@lru_cache(maxsize=4096)
def threshold(reference: tuple[int, ...], size: Size, alpha: float) -> float:
    """The distance that a sample without drift exceeds with probability ``alpha``.

    Args:
        reference: Utterances by group.
        size: Of the sample.
        alpha: The share of draws beyond.
    """
    counts = np.array(reference)
    shares = smoothed(counts)
    wanted = draws(alpha)
    # seeded by the question, so that the same counts have the same threshold in any order
    seed = hashlib.blake2b(repr((reference, size)).encode(), digest_size=8).digest()
    generator = np.random.default_rng(int.from_bytes(seed, "big"))
    freedom = max(size.devices - 1, 1)
    found: list[Floats] = []
    for start in range(0, wanted, AT_ONCE):
        many = min(AT_ONCE, wanted - start)
        truth = generator.dirichlet(counts + PRIOR, size=many)
        known = generator.chisquare(freedom, size=many) / freedom
        sizes = np.maximum(size.utterances * known, 1.0).astype(np.int64)
        found.append(between(shares, generator.multinomial(sizes, truth) / sizes[:, None]))
    return float(np.quantile(np.concatenate(found), 1 - alpha, method="higher"))
