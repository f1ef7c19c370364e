"""Simulated devices that answer as a real model did: outcomes of utterances, drawn again and again.

``outcomes.csv`` beside this file holds what the demo's compiled model answered to its own test
split, an utterance a row without its text, and to the same utterances with slips (typos, misheard)
as *evaluate* makes them. Devices differ in what they are asked: each draws its mix of intents from
a Dirichlet distribution around that of the test split, and its traffic from a gamma distribution,
and keeps both.

What it leaves out: time of day, devices that come and go, and users who change their language
because the model does not understand them.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge.telemetry.bins import EDGES, SPECIAL_TOKENS, find_bin
from edge.telemetry.disclosure import name_intents
from steps.drift.adding import Cell
from steps.drift.references import BINNED, Reference
from steps.drift.windows import Window

OUTCOMES = Path(__file__).with_name("outcomes.csv")
COLUMNS = (
    "source", "label", "intent", "confidence", "energy", "characters", "tokens", "unknown_tokens",
)  # fmt: skip
OUT_OF_SCOPE = "out_of_scope"
SIMILARITY = 30.0
"""Concentration of the devices' mixes: at 30 a device that is asked for 18 intents is asked for its
favourite about three times as often as the average device is."""
TRAFFIC_SHAPE = 1.5
"""Of the gamma distribution of traffic: one device in ten has more than twice the mean."""
MINIMUM_COUNT = 5
"""``telemetry.minimum_count`` as it ships."""


@dataclass(frozen=True)
class Outcomes:
    """What a model answered to some utterances, a row each."""

    labels: tuple[str, ...]
    """What was meant."""
    intents: tuple[str, ...]
    """What was answered."""
    bins: dict[str, np.ndarray]
    """Bin by row, of every histogram that a device counts."""

    def __len__(self) -> int:
        return len(self.labels)


def read_outcomes(path: Path = OUTCOMES) -> dict[str, Outcomes]:
    """Outcomes by source: ``test``, ``typos`` and ``misheard``, in one order of utterances."""
    rows: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["source"], []).append(row)
    return {source: _outcomes(some) for source, some in rows.items()}


def _outcomes(rows: Sequence[dict[str, str]]) -> Outcomes:
    def values(row: dict[str, str]) -> dict[str, float]:
        tokens, unknown = int(row["tokens"]), int(row["unknown_tokens"])
        return {
            "confidence": float(row["confidence"]),
            "energy": float(row["energy"]),
            "characters": int(row["characters"]),
            "tokens": tokens,
            "unknown": unknown / max(tokens - SPECIAL_TOKENS, 1),
            "milliseconds": 1.0,
        }

    every = [values(row) for row in rows]
    bins = {
        name: np.array([find_bin(edges, one[name]) for one in every])
        for name, edges in EDGES.items()
    }
    return Outcomes(tuple(row["label"] for row in rows), tuple(row["intent"] for row in rows), bins)


def draw_reference(
    outcomes: Outcomes, generator: np.random.Generator, utterances: int, version: str = "7"
) -> Reference:
    """A test split of ``utterances``: its rows are drawn, as a real one is a sample itself."""
    rows = generator.integers(len(outcomes), size=utterances)
    intents = [outcomes.intents[row] for row in rows]
    known = sorted({*outcomes.labels, *outcomes.intents} - {OUT_OF_SCOPE})
    return Reference(
        version,
        utterances,
        intents.count(OUT_OF_SCOPE),
        {
            name: np.bincount(outcomes.bins[name][rows], minlength=len(EDGES[name]))
            for name in BINNED
        },
        {name: intents.count(name) for name in known},
    )


@dataclass(frozen=True)
class Shift:
    """How users change: this share of their utterances becomes another kind."""

    share: float = 0.0
    kind: str = "misheard"
    """``typos`` or ``misheard``: the same utterances with slips. ``new``: what no intent is for."""


class Fleet:
    """Devices that keep their mixes and their traffic."""

    def __init__(
        self,
        outcomes: dict[str, Outcomes],
        devices: int,
        utterances: float,
        generator: np.random.Generator,
        similarity: float = SIMILARITY,
    ) -> None:
        """Make devices.

        Args:
            outcomes: By source.
            devices: How many.
            utterances: Of a device in a period, in the mean.
            generator: Draws everything.
            similarity: Of the devices' mixes; infinite where all are the same.
        """
        self._outcomes = outcomes
        self._generator = generator
        test = outcomes["test"]
        labels, position, count = np.unique(test.labels, return_inverse=True, return_counts=True)
        shares = count / len(test)
        if np.isfinite(similarity):
            mixes = generator.dirichlet(shares * similarity, size=devices)
        else:
            mixes = np.tile(shares, (devices, 1))
        self._cumulated = np.cumsum(mixes[:, position] / count[position], axis=1)
        self._new = np.flatnonzero(np.array(test.labels) == OUT_OF_SCOPE)
        scale = utterances / TRAFFIC_SHAPE
        self.traffic = generator.gamma(TRAFFIC_SHAPE, scale, size=devices)
        self.names = [f"device-{number:05}" for number in range(devices)]
        del labels

    def windows(
        self,
        ended: datetime,
        *,
        shift: Shift = Shift(),
        size: int = 30,
        version: str = "1.0.7",
        model: str = "7",
    ) -> list[Window]:
        """What the devices count in one period.

        Args:
            ended: When every window ended.
            shift: How users speak.
            size: Utterances of a window; a busy device has more windows.
        """
        made: list[Window] = []
        numbers = self._generator.poisson(self.traffic)
        for device, number in enumerate(numbers.tolist()):
            for start in range(0, number, size):
                count = min(size, number - start)
                if count >= MINIMUM_COUNT:
                    made.append(self._window(device, count, ended, shift, version, model))
        return made

    def _window(
        self, device: int, count: int, ended: datetime, shift: Shift, version: str, model: str
    ) -> Window:
        histograms = {name: np.zeros(len(edges), np.int64) for name, edges in EDGES.items()}
        asked = np.searchsorted(self._cumulated[device], self._generator.random(count))
        asked = np.minimum(asked, len(self._outcomes["test"]) - 1)
        intents: dict[str, int] = {}
        changed = self._generator.random(count) < shift.share
        if shift.kind == "new":
            asked[changed] = self._generator.choice(self._new, size=int(changed.sum()))
            parts = [("test", asked)]
        else:
            parts = [("test", asked[~changed]), (shift.kind, asked[changed])]
        for source, rows in parts:
            outcomes = self._outcomes[source]
            for name, counts in histograms.items():
                counts += np.bincount(outcomes.bins[name][rows], minlength=len(counts))
            for row in rows.tolist():
                intent = outcomes.intents[row]
                intents[intent] = intents.get(intent, 0) + 1
        outside = intents.pop(OUT_OF_SCOPE, 0)
        named, other = name_intents(intents, MINIMUM_COUNT)
        return Window(
            str(uuid.UUID(bytes=self._generator.bytes(16))),
            self.names[device], version, model, ended, count, outside,
            {name: counts.tolist() for name, counts in histograms.items()}, named, other,
        )  # fmt: skip


def count(reference: Reference, windows: Sequence[Window]) -> Cell:
    """Windows of one version and period, added up."""
    cell = Cell(reference)
    for window in windows:
        cell.add(window)
    return cell


def encode(window: Window) -> dict[str, Any]:
    """The window as a device sends it."""
    histograms = window.histograms or {}
    tokens = sum(
        int(edge) * number
        for edge, number in zip(EDGES["tokens"], histograms["tokens"], strict=True)
    )
    ended = window.ended.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "format": 1, "id": window.id, "thing": window.thing, "component": window.version,
        "model": window.model, "sequence": 1, "seconds": 3600.0, "complete": True, "clock": "set",
        "started": ended, "ended": ended, "minimum_count": MINIMUM_COUNT,
        "utterances": window.utterances,
        "counts": {
            "out_of_scope": window.out_of_scope, "intents": window.intents, "other": window.other,
            "token_sum": tokens, "unknown_token_sum": 0, **histograms,
        },
        "errors": {}, "reports": [], "lost": {"overflow": 0, "damaged": 0, "refused": 0},
    }  # fmt: skip
