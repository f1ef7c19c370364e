"""The geometry of the report's pictures: from arrays to the points of inline SVG.

Every picture is drawn in a box 360 units wide, a phone's width, so that its letters keep their
size there. ``charts.html`` holds the shapes and colours; nothing here knows of HTML.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from steps.evaluate import metrics
from steps.evaluate.metrics import Array

WIDTH = 360
_CURVE_POINTS = 240


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class EnergyChart:
    """Two histograms back to back: in scope above the axis, out of scope below."""

    inside: str
    """SVG path."""
    outside: str | None
    threshold: float | None
    threshold_text: str
    ticks: list[Tick]
    axis: float = 158.0
    bottom: float = 296.0


@dataclass(frozen=True)
class Square:
    """The unit square of a picture: where 0 and 1 lie on the page."""

    left: float = 44.0
    top: float = 12.0
    side: float = 300.0

    def x(self, share: float) -> float:
        return round(self.left + self.side * float(share), 2)

    def y(self, share: float) -> float:
        return round(self.top + self.side * (1 - float(share)), 2)

    def points(self, x: Array, y: Array) -> str:
        return " ".join(f"{self.x(a)},{self.y(b)}" for a, b in zip(x, y, strict=True))

    @property
    def ticks(self) -> list[Tick]:
        return [Tick(share, f"{share:.0%}".replace("%", "")) for share in (0, 0.25, 0.5, 0.75, 1)]


@dataclass(frozen=True)
class RocChart:
    """In-scope rows kept against out-of-scope rows accepted, at every threshold."""

    model: str
    """SVG points."""
    area: str
    baseline: str
    at_95: tuple[float, float]
    """Accepted and kept where 95 % of in-scope rows are kept."""
    at_threshold: tuple[float, float] | None
    square: Square = field(default_factory=Square)


@dataclass(frozen=True)
class Dot:
    """One bin of the reliability diagram."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class ReliabilityChart:
    """Accuracy against confidence; a dot's area is the share of rows in its bin."""

    scaled: list[Dot]
    unscaled: list[Dot]
    square: Square = field(default_factory=Square)

    @staticmethod
    def line(dots: list[Dot]) -> str:
        return " ".join(f"{dot.x},{dot.y}" for dot in dots)


def energy_chart(inside: Array, outside: Array, threshold: float) -> EnergyChart:
    """Histograms of energy; the outermost half per cent on either side is gathered at the edge."""
    everything = np.concatenate([inside, outside])
    low, high = np.percentile(everything, [0.5, 99.5])
    if np.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    bins = int(np.clip(1.5 * np.sqrt(len(inside)), 9, 43))
    edges = np.linspace(low, high, bins + 1)
    left, span = 8.0, WIDTH - 16.0

    def place(value: float) -> float:
        return round(left + span * float((value - low) / (high - low)), 2)

    def path(values: Array, reach: float) -> str:
        shares = np.histogram(np.clip(values, low, high), bins=edges)[0] / len(values)
        heights = shares / shares.max() * reach
        steps = [
            f"V{round(EnergyChart.axis - h, 2)}H{place(edge)}"
            for h, edge in zip(heights, edges[1:], strict=True)
        ]
        return f"M{left},{EnergyChart.axis}{''.join(steps)}V{EnergyChart.axis}Z"

    return EnergyChart(
        inside=path(inside, 130),
        outside=path(outside, -126) if len(outside) else None,
        threshold=place(threshold) if np.isfinite(threshold) else None,
        threshold_text=f"threshold {threshold:.2f}",
        ticks=[Tick(place(at), f"{at:g}") for at in _round_places(float(low), float(high))],
    )


def _round_places(low: float, high: float) -> list[float]:
    """Four to eight round numbers between ``low`` and ``high``."""
    unit = 10.0 ** np.floor(np.log10(high - low))
    step = next(unit * part for part in (1, 0.5, 0.2, 0.1) if (high - low) / (unit * part) >= 4)
    first = int(np.ceil(low / step))
    return [round(at * step, 10) for at in range(first, int(np.floor(high / step)) + 1)]


def roc_chart(
    inside: Array, outside: Array, baseline: tuple[Array, Array], threshold: float
) -> RocChart:
    """The model's curve and, dashed, the baseline's, from the scores of both kinds of rows."""
    square = Square()
    accepted, kept = _thinned(*metrics.roc_curve(inside, outside))
    curve = square.points(accepted, kept)
    corners = f"{square.x(1)},{square.y(0)} {square.x(0)},{square.y(0)}"
    at_threshold = None
    if np.isfinite(threshold):
        shares = float((outside >= threshold).mean()), float((inside >= threshold).mean())
        at_threshold = square.x(shares[0]), square.y(shares[1])
    return RocChart(
        model=curve,
        area=f"{curve} {corners}",
        baseline=square.points(*_thinned(*metrics.roc_curve(*baseline))),
        at_95=(square.x(metrics.accepted_at_kept(inside, outside)), square.y(0.95)),
        at_threshold=at_threshold,
    )


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """The corners of a staircase and, where they are too many to be seen, some of them."""
    along_x, along_y = np.diff(x) > 0, np.diff(y) > 0
    turns = (along_x[1:] != along_x[:-1]) | (along_y[1:] != along_y[:-1])
    corners = np.flatnonzero(np.concatenate([[True], turns, [True]]))
    if len(corners) > _CURVE_POINTS:
        along = (x + y)[corners]  # both ascend, so that this is the length walked
        wanted = np.linspace(along[0], along[-1], _CURVE_POINTS)
        chosen = np.unique(np.searchsorted(along, wanted).clip(0, len(corners) - 1))
        corners = corners[chosen]
    return x[corners], y[corners]


def reliability_chart(scaled: Array, unscaled: Array, right: Array) -> ReliabilityChart:
    """Dots for confidences with and without temperature scaling."""
    return ReliabilityChart(_dots(scaled, right), _dots(unscaled, right))


def _dots(confidences: Array, right: Array) -> list[Dot]:
    square, found = Square(), metrics.reliability(confidences, right)
    shares = found.rows / found.rows.sum()
    return [
        Dot(
            x=square.x(found.confidence[at]),
            y=square.y(found.accuracy[at]),
            radius=round(2.2 + 12 * float(np.sqrt(shares[at])), 2),
            text=f"{found.rows[at]:,} rows: confidence {found.confidence[at]:.1%}, "
            f"accuracy {found.accuracy[at]:.1%}",
        )
        for at in np.flatnonzero(found.rows).tolist()
    ]
