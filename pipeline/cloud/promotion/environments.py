"""Which environment a version is promoted to, and which one promotes here.

Each names the other: neither side can hand itself rights in the other's account.
"""

from __future__ import annotations

from pipeline.settings import Settings, SettingsError


def target_of(settings: Settings) -> Settings:
    """Where versions of an environment go to: another one, or itself.

    Raises:
        SettingsError: There is no such environment, or it does not accept this one's versions.
    """
    named = settings.promotion.to
    if not named:
        return settings
    target = Settings.load(named)
    if not _is(target.promotion.accepts, settings) or target.name == settings.name:
        raise SettingsError(
            f"{settings.environment}: promotion.to = {named!r} does not accept its versions: set "
            f"promotion.accepts = {settings.environment!r} there."
        )
    return target


def source_of(settings: Settings) -> Settings | None:
    """The environment that promotes to this one; None where none does.

    Raises:
        SettingsError: There is no such environment, or it promotes elsewhere.
    """
    named = settings.promotion.accepts
    if not named:
        return None
    source = Settings.load(named)
    if not _is(source.promotion.to, settings) or source.name == settings.name:
        raise SettingsError(
            f"{settings.environment}: promotion.accepts = {named!r} does not promote to it: set "
            f"promotion.to = {settings.environment!r} there."
        )
    return source


def _is(named: str, settings: Settings) -> bool:
    if not named:
        return False
    other = Settings.load(named)
    return (other.name, other.account, other.region) == (
        settings.name,
        settings.account,
        settings.region,
    )
