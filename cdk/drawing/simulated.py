"""Four weeks that nobody has measured, for the picture of the dashboard.

Made up by rule and by nothing random, so that the picture is the same each time: a training a week,
one of which fails; a new version that reaches the devices in two days; and a language that shifts
in the last week, so that drift is found, retrained for and gone.

Leaves out: what the picture looks like (dashboard.py), which says of every widget that it is
simulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

DAYS = 28
_TRAINED = (1, 8, 15, 22, 25)
_FAILED = 15
_MINUTES: Mapping[str, float] = {
    "PrepareData": 4.0,
    "TrainModel": 13.0,
    "EvaluateModel": 6.0,
    "RegisterModel": 3.0,
    "CompileModel": 6.0,
    "PackageComponent": 3.0,
}
Series = list[float | None]


def series(name: str, dimensions: Mapping[str, str]) -> Series:
    """A value a day, or None of a day without one.

    Raises:
        KeyError: Nobody has made this metric up yet.
    """
    if name == "StepDuration":
        step = dimensions["StepName"]
        return [_duration(step, day) for day in range(DAYS)]
    return [_OF_METRIC[name](day) for day in range(DAYS)]


def in_alarm(name: str) -> bool:
    """Whether an alarm of the picture rings: that of the drift of the last week."""
    return name.endswith("-drift")


def rows(title: str) -> list[Sequence[str]]:
    """A table of the logs: its head and its rows.

    Raises:
        KeyError: Nobody has made this table up yet.
    """
    return _TABLES[title]


def _duration(step: str, day: int) -> float | None:
    if day not in _TRAINED or (day == _FAILED and step not in ("PrepareData", "TrainModel")):
        return None
    return _MINUTES[step] * (1 + 0.06 * math.sin(3 * day)) * 60_000


def _count(days: Sequence[int]) -> Callable[[int], float | None]:
    return lambda day: float(days.count(day)) if day in days else None


def _figure(first: float, step: float) -> Callable[[int], float | None]:
    """A figure of each training that came as far as to be judged."""
    judged = [day for day in _TRAINED if day != _FAILED]
    return lambda day: first + step * judged.index(day) if day in judged else None


def _utterances(day: int) -> float:
    return 24_000 * (1 + 0.15 * math.sin(2 * math.pi * day / 7))


def _shifted(day: int) -> bool:
    return 23 <= day <= 26


def _out_of_scope(day: int) -> float:
    return _utterances(day) * (0.075 if _shifted(day) else 0.041 + 0.004 * math.sin(2 * day))


def _behind(day: int) -> float:
    return {9: 62.0, 10: 11.0, 26: 58.0, 27: 9.0}.get(day, 0.0)


_OF_METRIC: Mapping[str, Callable[[int], float | None]] = {
    "ExecutionStarted": _count(_TRAINED),
    "ExecutionSucceeded": _count([day for day in _TRAINED if day != _FAILED]),
    "ExecutionFailed": _count([_FAILED]),
    "ExecutionStopped": _count([]),
    "Accuracy": _figure(0.934, 0.003),
    "ChampionAccuracy": _figure(0.931, 0.002),
    "OutOfScopeAuroc": _figure(0.962, 0.004),
    "RegressionPassRate": _figure(0.851, 0.011),
    "CalibrationError": _figure(0.031, -0.003),
    "CompiledAgreement": _figure(0.988, 0.001),
    "Utterances": _utterances,
    "OutOfScope": _out_of_scope,
    "Errors": lambda day: _utterances(day) * (0.002 + (0.012 if day == 12 else 0)),
    "DriftFigures": lambda day: 2.0 if 24 <= day <= 26 else 0.0,
    "DriftUtterances": _utterances,
    "DevicesBehind": _behind,
    "LatencyP95": lambda day: 6.4 + 0.5 * math.sin(day),
    "StuckExecutions": lambda day: 0.0,
}
_TABLES: Mapping[str, list[Sequence[str]]] = {
    "Versions on devices": [
        ("version", "on_devices", "counted", "p95_ms"),
        ("1.0.5", "91", "21,804", "6.4"),
        ("1.0.4", "9", "1,911", "6.9"),
    ],
    "Newest errors in jobs": [
        ("time", "execution", "step", "message"),
        (
            "2026-11-12 03:19",
            "k3v9x1m2p7qd",
            "train",
            "error: The disk is full: free some space or ask for a larger volume.",
        ),
    ],
}
