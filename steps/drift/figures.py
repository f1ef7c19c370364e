"""The figures that are compared: shares of groups of bins, of the reference and of devices.

Bins with few utterances of the reference are grouped with their neighbours, so that a share means
something. A device counts with three times the utterances of the median device at most, whatever it
sends. What it leaves out: how far apart two sets of shares may lie (:mod:`steps.drift.distance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.telemetry.bins import EDGES
from steps.drift.adding import Cell
from steps.drift.references import BINNED, Reference

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FIGURES = ("intents", "out_of_scope", *BINNED)
LEAST_ROWS, LEAST_SHARE = 5, 0.02
"""What a group holds of the reference, at least. Five is the old rule of chi-square tests; two per
cent leaves at most fifty groups, however many intents a model has."""
MOST_TIMES_MEDIAN = 3.0
"""What one device may count for, in utterances of the median device."""


@dataclass(frozen=True)
class Figure:
    """One figure of a version: how its counts are grouped, and the reference's share of each."""

    name: str
    groups: tuple[NDArray[np.intp], ...]
    """Positions of the counts that each group adds up."""
    labels: tuple[str, ...]
    reference: Counts
    """[groups], utterances."""

    @property
    def utterances(self) -> int:
        return int(self.reference.sum())


@dataclass(frozen=True)
class Sample:
    """What devices counted of one figure, each device cut down to its share."""

    counts: Floats
    """[devices, groups]; not whole where a device was cut down."""
    other: Floats
    """[devices], answers whose intent was not told; zeros for all other figures."""

    @property
    def total(self) -> float:
        return float(self.counts.sum() + self.other.sum())

    @property
    def named_share(self) -> float:
        return float(self.counts.sum()) / self.total if self.total else 0.0


def figures_of(reference: Reference) -> list[Figure]:
    """Every figure of a version, in the order of ``FIGURES``."""
    shape = _Columns(reference)
    accepted = reference.utterances - reference.out_of_scope
    intents = np.array(list(reference.intents.values()), dtype=np.int64)
    groups = _grouped(intents)
    names = list(reference.intents)
    found = [
        Figure(
            "intents",
            tuple(group + shape.intents for group in groups),
            tuple(" + ".join(names[at] for at in group) for group in groups),
            _sums(intents, groups),
        ),
        # the first column holds all utterances: what was accepted is worked out in ``sample``
        Figure(
            "out_of_scope",
            (np.array([0]), np.array([1])),
            ("accepted", "out of scope"),
            np.array([accepted, reference.out_of_scope]),
        ),
    ]
    for name in BINNED:
        bins = reference.histograms[name]
        groups = [np.array([0]), np.arange(1, len(bins))] if name == "unknown" else _grouped(bins)
        labels = ("none", "some") if name == "unknown" else _ranges(name, groups)
        moved = tuple(group + shape.histograms[name] for group in groups)
        found.append(Figure(name, moved, labels, _sums(bins, groups)))
    return found


def sample(figure: Figure, rows: Floats) -> Sample:
    """What devices say of a figure.

    Args:
        figure: Which.
        rows: [devices, counts] of a cell, cut down by ``weights``.
    """
    counts = np.stack([rows[:, group].sum(axis=1) for group in figure.groups], axis=1)
    other = np.zeros(len(rows))
    if figure.name == "out_of_scope":
        counts[:, 0] -= counts[:, 1]
    elif figure.name == "intents":
        other = rows[:, -1]
    return Sample(counts, other)


def weights(utterances: NDArray[np.integer]) -> Floats:
    """What each device's counts are multiplied by, so that none outweighs the others.

    A device counts with ``MOST_TIMES_MEDIAN`` times the utterances of the median device at most:
    of a thousand devices, one that sends millions counts like three. Its own shares stay.
    """
    told = utterances[utterances > 0]
    if not len(told):
        return np.zeros(len(utterances))
    most = MOST_TIMES_MEDIAN * float(np.median(told))
    return np.minimum(1.0, most / np.maximum(utterances, 1))


def cut_down(cell: Cell) -> tuple[Floats, int]:
    """The counts of devices that told of any, and how many devices were cut down."""
    rows = cell.rows
    told = rows[rows[:, 0] > 0] if len(rows) else rows
    factors = weights(told[:, 0]) if len(told) else np.zeros(0)
    return told * factors[:, None], int((factors < 1).sum())


def completed(sample: Sample, reference: Floats) -> Floats:
    """Counts by group, with the answers whose intent was not told where they speak against drift.

    A window names no intent that it counted seldom. Those answers are given to the groups that lie
    furthest below the reference, so that the shares come out as near to it as what was told allows:
    whatever the intents really were, the distance was at least this one. For a distance that is an
    f-divergence the nearest completion raises the lowest ratios to one level ("water-filling").

    Args:
        sample: Named counts and others.
        reference: Shares that are all positive, [groups].
    """
    named, other = sample.counts.sum(axis=0), float(sample.other.sum())
    if other <= 0:
        return named
    ratio = named / reference
    order = np.argsort(ratio, kind="stable")
    # with the lowest k groups at one level, that level is what they hold and get over their shares
    levels = (np.cumsum(named[order]) + other) / np.cumsum(reference[order])
    next_ratio = np.append(ratio[order][1:], np.inf)
    level = float(levels[np.argmax(levels <= next_ratio)])
    return np.maximum(named, level * reference)


class _Columns:
    """Where the counts of a cell's rows begin."""

    def __init__(self, reference: Reference) -> None:
        self.histograms: dict[str, int] = {}
        at = 2
        for name in BINNED:
            self.histograms[name] = at
            at += len(reference.histograms[name])
        self.intents = at


def _grouped(counts: Counts) -> list[NDArray[np.intp]]:
    """Neighbouring positions together until each group holds enough; the last takes what is left.

    There are two groups at least, if there are two positions.
    """
    least = max(LEAST_ROWS, LEAST_SHARE * float(counts.sum()))
    groups: list[list[int]] = [[]]
    for position in range(len(counts)):
        if groups[-1] and counts[groups[-1]].sum() >= least:
            groups.append([])
        groups[-1].append(position)
    if len(groups) > 1 and counts[groups[-1]].sum() < least:
        rest = groups.pop()
        groups[-1] += rest
    if len(groups) == 1 and len(groups[0]) > 1:
        groups = [groups[0][:-1], groups[0][-1:]]
    return [np.array(group, dtype=np.intp) for group in groups]


def _sums(counts: Counts, groups: list[NDArray[np.intp]]) -> Counts:
    return np.array([counts[group].sum() for group in groups], dtype=np.int64)


def _ranges(name: str, groups: list[NDArray[np.intp]]) -> tuple[str, ...]:
    """``below 8``, ``8 to 9`` and ``15 and more``."""
    edges = EDGES[name]
    labels: list[str] = []
    for group in groups:
        low, end = int(group[0]), int(group[-1]) + 1
        if low == 0:
            labels.append(f"below {edges[end]:g}" if end < len(edges) else "all")
        elif end == len(edges):
            labels.append(f"{edges[low]:g} and more")
        else:
            labels.append(f"{edges[low]:g} to {edges[end]:g}")
    return tuple(labels)
