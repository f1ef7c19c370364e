"""MLflow's empty tables for tests, made once: migrating takes longer than what is tested."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest


@functools.cache
def _empty_database() -> bytes:
    from steps.registry.mlflow_registry import open_client

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        open_client(f"sqlite:///{database}")
        return database.read_bytes()


def use_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty MLflow store into ``folder`` and name it in the environment."""
    database = folder / "mlflow.db"
    database.write_bytes(_empty_database())
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return database
