"""Adds windows up by component version, period and device; the rest is set aside with a reason.

Memory grows with devices (some 500 bytes each, a period) and with windows (some 100 bytes each, to
know one again), never with utterances. A window is counted once, whatever the order in which
windows arrive and however often; one that is refused is not counted at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from steps.drift.config import DriftConfig
from steps.drift.fleet import Fleet
from steps.drift.quarantine import Quarantine
from steps.drift.references import BINNED, Reference, References, UnusableError
from steps.drift.sources import Item
from steps.drift.windows import RefusedError, Window, read_window

_FIRST_ROWS = 64


@dataclass
class Cell:
    """Everything that one version's devices counted in one period, a row a device."""

    reference: Reference
    devices: dict[str, int] = field(default_factory=dict)
    """Row by thing."""
    windows: int = 0
    untold: int = 0
    """Utterances of windows with too few of them to tell of."""
    _rows: NDArray[np.uint32] = field(init=False)

    def __post_init__(self) -> None:
        self._rows = np.zeros((_FIRST_ROWS, width(self.reference)), np.uint32)

    def add(self, window: Window) -> None:
        """Count a window.

        Raises:
            RefusedError: It names an intent that the model does not have.
        """
        if window.histograms is None:
            self.untold += window.utterances
            return
        positions = self.reference.positions
        try:
            named = [(positions[intent], count) for intent, count in window.intents.items()]
        except KeyError:
            raise RefusedError("it names an intent that its model does not have") from None
        # [utterances, out of scope, every histogram's bins, intents by name, other intents]
        row = np.zeros(width(self.reference), np.int64)
        row[0], row[1] = window.utterances, window.out_of_scope
        at = 2
        for name in BINNED:
            bins = window.histograms[name]
            row[at : at + len(bins)] = bins
            at += len(bins)
        for position, count in named:
            row[at + position] = count
        row[-1] = window.other
        place = self._place(window.thing)
        # a device that counts beyond 32 bits is cut down to its share long before
        self._rows[place] = np.minimum(self._rows[place] + row, np.iinfo(np.uint32).max)
        self.windows += 1

    def _place(self, thing: str) -> int:
        place = self.devices.setdefault(thing, len(self.devices))
        if place >= len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        return place

    @property
    def rows(self) -> NDArray[np.uint32]:
        """[devices, counts], in the order of ``add``."""
        return self._rows[: len(self.devices)]


def width(reference: Reference) -> int:
    """Counts of a device: its utterances, what was out of scope, bins, intents and other ones."""
    return 3 + sum(map(len, reference.histograms.values())) + len(reference.intents)


@dataclass
class Added:
    """What came of all windows."""

    cells: dict[tuple[str, datetime], Cell] = field(default_factory=dict)
    """By component version and start of the period."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Why a component version is compared with nothing."""
    uncompared: Counter[str] = field(default_factory=Counter)
    """Its windows."""
    fleet: Fleet = field(default_factory=Fleet)
    """Which versions the devices run."""
    read: int = 0
    duplicates: int = 0
    outside: int = 0
    """Of other periods than those that are looked at."""


def add_windows(
    items: Iterable[Item], references: References, config: DriftConfig, quarantine: Quarantine
) -> Added:
    """Read, check and add up ``items``, one at a time."""
    added, seen = Added(), set[bytes]()
    periods = config.complete_periods()
    starts, newest = set(periods), periods[-1]
    for item in items:
        added.read += 1
        try:
            window = read_window(item.data, item.path, config.until)
            identity = f"{window.thing}\0{window.id}".encode()
            mark = hashlib.blake2b(identity, digest_size=8).digest()
            if mark in seen:
                added.duplicates += 1
                continue
            start = config.period_of(window.ended)
            if start in starts:
                _add(added, window, start, references)
                added.fleet.note(window, is_newest=start == newest)
            else:
                added.outside += 1
            seen.add(mark)  # one that was refused may still come whole
        except RefusedError as refusal:
            quarantine.put(item.path, str(refusal))
    return added


def _add(added: Added, window: Window, start: datetime, references: References) -> None:
    key = (window.version, start)
    if key not in added.cells:
        try:
            reference = references.of(window.version)
        except UnusableError as error:
            added.unusable[window.version] = str(error)
            added.uncompared[window.version] += 1
            return
        added.cells[key] = Cell(reference)
    cell = added.cells[key]
    if window.model != cell.reference.model_version:
        raise RefusedError("its model version is not that of its component version's reference")
    cell.add(window)
