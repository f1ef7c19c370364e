"""The check itself: every version's newest periods, figure by figure, against its reference.

Each period of a version ends in one of four words: ``drift``, ``no drift``, ``not enough`` (with
how much there is and how much it takes) or ``no reference``. What it leaves out: reading windows,
and telling anybody.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from steps.drift import distance
from steps.drift.adding import Added, Cell
from steps.drift.config import DriftConfig
from steps.drift.distance import Size
from steps.drift.figures import FIGURES, Figure, Floats, completed, cut_down, figures_of, sample

DRIFT, NO_DRIFT, NOT_ENOUGH = "drift", "no drift", "not enough"
NO_REFERENCE = "no reference"
LEAST_NAMED = 0.1
"""Share of the answers in scope whose intent devices must have named for *intents* to be tested."""
LEAST_EFFECTIVE = 30
"""Independent utterances that a figure's sample must be worth."""


@dataclass(frozen=True)
class Found:
    """One figure of one period."""

    name: str
    status: str
    message: str
    statistic: float | None = None
    threshold: float | None = None
    effective_utterances: int = 0
    design_effect: float = 1.0
    named_share: float = 1.0
    """Of the answers that could be counted by name: what the bins hold is told in full."""
    labels: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    """Shares."""
    now: tuple[float, ...] = ()


def check(added: Added, config: DriftConfig) -> list[dict[str, Any]]:
    """What came of every component version, in the order of their names."""
    periods = config.complete_periods()
    newest = periods[-1]
    tested = sum(1 for _, start in added.cells if start == newest)
    alpha = distance.alpha(config.checks_per_quarter, len(FIGURES) * tested)
    versions = sorted({version for version, _ in added.cells} | set(added.unusable), key=_order)
    found: list[dict[str, Any]] = []
    for version in versions:
        if version in added.unusable:
            found.append(_uncompared(version, added))
            continue
        cells = [(start, added.cells.get((version, start))) for start in periods]
        one = next(cell for _, cell in cells if cell is not None)
        found.append(
            {
                "version": version,
                "model_version": one.reference.model_version,
                "reference_utterances": one.reference.utterances,
                "periods": [
                    {**_period(start, config), **check_cell(cell, config, alpha)}
                    for start, cell in cells
                    if cell is not None
                ],
            }
        )
    for entry in found:
        last = entry["periods"][-1] if entry["periods"] else None
        current = last is not None and last["start"] == _iso(newest)
        if "status" not in entry:
            entry["status"] = last["status"] if last and current else NOT_ENOUGH
            entry["message"] = (
                last["message"] if last and current else "no utterances in the newest period"
            )
    return found


def check_cell(cell: Cell, config: DriftConfig, alpha: float) -> dict[str, Any]:
    """One version in one period."""
    rows, reduced = cut_down(cell)
    utterances = int(cell.rows[:, 0].sum()) if len(rows) else 0
    counted = int(rows[:, 0].sum()) if len(rows) else 0
    entry: dict[str, Any] = {
        "windows": cell.windows,
        "devices": len(rows),
        "utterances": utterances,
        "counted_utterances": counted,
        "untold_utterances": cell.untold,
        "cut_down_devices": reduced,
        "figures": [],
    }
    missing = _missing(counted, len(rows), config)
    if missing:
        return {**entry, "status": NOT_ENOUGH, "message": f"not enough {missing}"}
    found = [_check(figure, rows, alpha) for figure in figures_of(cell.reference)]
    entry["figures"] = [asdict(one) for one in found]
    over = [one.name for one in found if one.status == DRIFT]
    if over:
        message = f"{', '.join(over)} further from the reference than chance takes them"
        return {**entry, "status": DRIFT, "message": message.replace("_", " ")}
    tested = sum(one.status == NO_DRIFT for one in found)
    return {**entry, "status": NO_DRIFT, "message": f"{tested} figures within their thresholds"}


def _missing(utterances: int, devices: int, config: DriftConfig) -> str:
    wanted: list[str] = []
    if utterances < config.minimum_utterances:
        wanted.append(f"utterances: {utterances:,} of {config.minimum_utterances:,}")
    if devices < config.minimum_devices:
        wanted.append(f"devices: {devices:,} of {config.minimum_devices:,}")
    return ", ".join(wanted)


def _check(figure: Figure, rows: Floats, alpha: float) -> Found:
    counted = sample(figure, rows)
    shares = distance.smoothed(figure.reference)
    if figure.name == "intents" and (counted.total == 0 or counted.named_share < LEAST_NAMED):
        message = (
            f"not enough intents were named: {counted.named_share:.0%} of the answers in scope, "
            f"of {LEAST_NAMED:.0%}; longer windows name more"
        )
        return Found(figure.name, NOT_ENOUGH, message)
    if len(figure.groups) < 2 or counted.total < 1:
        return Found(figure.name, NOT_ENOUGH, "not enough to tell shares apart")
    size = Size.of(counted)
    effect = _rounded(distance.design_effect(counted))
    if size.utterances < LEAST_EFFECTIVE:
        message = (
            f"not enough utterances: as devices differ, {counted.total:,.0f} count as "
            f"{size.utterances:,} independent ones, of {LEAST_EFFECTIVE}"
        )
        return Found(figure.name, NOT_ENOUGH, message, design_effect=effect)
    counts = completed(counted, shares)
    now = counts / counts.sum()
    statistic = float(distance.between(shares, now))
    bound = distance.threshold(tuple(figure.reference.tolist()), size, alpha)
    over = statistic > bound
    return Found(
        figure.name,
        DRIFT if over else NO_DRIFT,
        _largest(figure, shares, now) if over else "within its threshold",
        _rounded(statistic),
        _rounded(bound),
        size.utterances,
        effect,
        _rounded(counted.named_share),
        figure.labels,
        tuple(_rounded(share) for share in figure.reference / figure.utterances),
        tuple(_rounded(share) for share in now),
    )


def _largest(figure: Figure, shares: Floats, now: Floats) -> str:
    """Where most of the distance comes from, for a person to begin with."""
    middle = (shares + now) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.nan_to_num(now * np.log(now / middle)) + shares * np.log(shares / middle)
    at = int(parts.argmax())
    return f"most at {figure.labels[at]}: {shares[at]:.1%} in the reference, {now[at]:.1%} now"


def _uncompared(version: str, added: Added) -> dict[str, Any]:
    return {
        "version": version,
        "model_version": None,
        "reference_utterances": 0,
        "status": NO_REFERENCE,
        "message": f"{added.unusable[version]}; {added.uncompared[version]:,} windows wait for it",
        "periods": [],
    }


def _period(start: datetime, config: DriftConfig) -> dict[str, str]:
    return {"start": _iso(start), "end": _iso(start + config.period)}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _order(version: str) -> tuple[list[int], str]:
    """1.0.10 comes after 1.0.9."""
    return [int(part) for part in version.split(".") if part.isdecimal()], version


def _rounded(value: float) -> float:
    """Six decimals; ``drift.json`` is read by people too."""
    return round(value, 6) if math.isfinite(value) else value
