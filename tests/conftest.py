"""What several tests share: a tiny encoder, a prepared dataset and a model, made in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compiled import write_compiled
from tests.tiny import write_tiny_base_model, write_tiny_model, write_tiny_prepared

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def tiny_base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer BERT of random weights and the bundled model's tokenizer."""
    return write_tiny_base_model(tmp_path_factory.mktemp("base-model"))


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A *prepared* folder of a few hand-made utterances in three intents and out of scope."""
    return write_tiny_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def tiny_model(
    tmp_path_factory: pytest.TempPathFactory, tiny_base_model: Path, tiny_prepared: Path
) -> Path:
    """A *model* folder: the tiny encoder with a head from class centroids, nothing trained."""
    return write_tiny_model(tmp_path_factory.mktemp("model"), tiny_base_model, tiny_prepared)


@pytest.fixture(scope="session")
def tiny_compiled(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_prepared: Path
) -> Path:
    """The tiny model's *compiled* folder, int8; copy it before changing anything."""
    return write_compiled(tmp_path_factory.mktemp("compile"), tiny_model, tiny_prepared)


@pytest.fixture
def read_json():
    return lambda path: json.loads(Path(path).read_text(encoding="utf-8"))
