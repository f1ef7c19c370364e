from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.local.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    shop = Workshop(tmp_path)
    shop.source.mkdir()
    return shop
