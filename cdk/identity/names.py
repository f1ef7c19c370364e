"""What the permission sets are called: Identity Center allows a name 32 characters."""

from __future__ import annotations

from pipeline.settings import Settings


def permission_set_name(settings: Settings, permission_set: str) -> str:
    """``slm-dev-data-scientist``; with the project's full name the longest would not fit."""
    return f"slm-{settings.environment}-{permission_set}"
