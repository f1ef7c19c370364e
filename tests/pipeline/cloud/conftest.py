"""The emulated account of emulated.py."""

from __future__ import annotations

from tests.pipeline.cloud.emulated import account, emulated, emulator  # noqa: F401 - fixtures
