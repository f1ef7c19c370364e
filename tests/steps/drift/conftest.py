from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.devices import Outcomes, draw_reference, encode, read_outcomes
from edge.telemetry.bins import EDGES
from steps.drift.config import DriftConfig
from steps.drift.references import Reference
from steps.drift.windows import Window

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""In the middle of the newest complete period of ``UNTIL``."""
UNTIL = datetime(2026, 11, 24, 4, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def outcomes() -> dict[str, Outcomes]:
    """What the demo's model answered to its test split."""
    return read_outcomes()


@pytest.fixture
def reference(outcomes: dict[str, Outcomes]) -> Reference:
    return draw_reference(outcomes["test"], np.random.default_rng(1), 263)


@pytest.fixture
def write_reference(reference: Reference) -> Callable[[Path], Path]:
    """Writes the reference as *compile* does."""

    def write(path: Path, **changes: Any) -> Path:
        value = {**reference_json(reference), **changes}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write


def reference_json(reference: Reference) -> dict[str, Any]:
    counts: dict[str, Any] = {name: bins.tolist() for name, bins in reference.histograms.items()}
    counts |= {
        "intents": {name: count for name, count in reference.intents.items() if count},
        "out_of_scope": reference.out_of_scope,
        "other": 0,
    }
    return {
        "format": 1,
        "window_format": 1,
        "model_version": reference.model_version,
        "utterances": reference.utterances,
        "counts": counts,
        "edges": {name: list(EDGES[name]) for name in reference.histograms},
        "intents": list(reference.intents),
    }


def write_windows(folder: Path, windows: Sequence[Window]) -> Path:
    """As the account keeps them: a file each, by device and day."""
    for window in windows:
        path = folder / window.thing / f"{window.ended:%Y/%m/%d}" / f"{window.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(encode(window)))
    return folder


def config(windows: Path | str, references: Path | str, **changes: Any) -> DriftConfig:
    given = {"component": "slm.edge.IntentModel", "until": UNTIL, **changes}
    return DriftConfig(windows=str(windows), references=str(references), **given)
