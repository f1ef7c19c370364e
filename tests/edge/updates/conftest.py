from __future__ import annotations

from pathlib import Path

import pytest

from tests.edge.packages import Device, new_key


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device with an empty state root, which trusts one key."""
    return Device(tmp_path, new_key())
