"""Which versions the devices run and how fast they answer, from the same windows.

A device's newest window says what it runs now. It is behind where another device runs a newer
version that the account knows, and it has not caught up. Latency is that of the newest complete
period, over all of a version's devices.

Memory grows with devices, some 200 bytes each. Leaves out: devices that say nothing, which windows
cannot tell of, and which version a device was told to run (``slm fleet status``).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.telemetry.bins import MILLISECONDS
from steps.drift.windows import Window

SHARE = 0.95


@dataclass
class Fleet:
    """What is known of the devices, one window at a time."""

    _runs: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Of each device, when its newest window ended and which version that was of."""
    _utterances: Counter[str] = field(default_factory=Counter)
    _milliseconds: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def note(self, window: Window, *, is_newest: bool) -> None:
        """Take a window into account; ``is_newest``: it is of the newest complete period."""
        version = sys.intern(window.version)
        ended = window.ended.timestamp()
        if ended >= self._runs.get(window.thing, (0.0, ""))[0]:
            self._runs[window.thing] = (ended, version)
        if is_newest:
            self._utterances[version] += window.utterances
            if window.histograms is not None:
                bins = self._milliseconds.setdefault(version, np.zeros(len(MILLISECONDS), np.int64))
                bins += np.array(window.histograms["milliseconds"], np.int64)

    def summary(self, known: Container[str]) -> dict[str, Any]:
        """What ``drift.json`` says of the fleet.

        Args:
            known: Versions that the account has a reference of; one that a device made up makes no
                other device old.
        """
        devices = Counter(version for _, version in self._runs.values())
        newest = max((one for one in devices if one in known), key=version_order, default="")
        order = version_order(newest)
        versions = sorted(devices, key=version_order, reverse=True)
        everything = sum(self._milliseconds.values(), np.zeros(len(MILLISECONDS), np.int64))
        return {
            "devices": devices.total(),
            "behind": sum(devices[one] for one in versions if version_order(one) < order),
            "newest": newest,
            "p95_milliseconds": percentile(everything),
            "versions": [
                {
                    "version": one,
                    "devices": devices[one],
                    "utterances": self._utterances[one],
                    "p95_milliseconds": percentile(self._milliseconds.get(one)),
                }
                for one in versions
            ],
        }


def version_order(version: str) -> tuple[int, ...]:
    """``1.0.10`` after ``1.0.9``; a version that is no numbers is before all others."""
    if not version[:1].isdigit():
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def percentile(bins: NDArray[np.int64] | None) -> float | None:
    """The latency that 95 of 100 answers keep, evenly spread within its bin; None of none."""
    if bins is None or not bins.sum():
        return None
    wanted = SHARE * float(bins.sum())
    reached = np.cumsum(bins)
    place = int(np.searchsorted(reached, wanted))
    low = float(MILLISECONDS[place])
    if place + 1 == len(MILLISECONDS):
        return low  # the last bin is open above
    share = (wanted - float(reached[place] - bins[place])) / float(bins[place])
    return round(low + share * (float(MILLISECONDS[place + 1]) - low), 3)
