"""The emulated account of emulated.py, and our own definition, built once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.cloud.emulated import account, emulated, emulator  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def ours() -> dict[str, Any]:
    """What is deployed to dev."""
    from pipeline.definition import build_definition
    from pipeline.settings import Settings

    return build_definition(Settings.load("dev"))
