"""Which environments are delivered to, and from where.

The tooling environment's settings name the others, and those name it: neither side can hand itself
rights in the other's account. Where all have one account number, everything is in that account.
"""

from __future__ import annotations

from pipeline.settings import Settings, SettingsError


def tooling_of(settings: Settings) -> Settings | None:
    """The environment that delivers to ``settings``: itself, another one, or None.

    Raises:
        SettingsError: There is no such environment, or it delivers nothing.
    """
    delivery = settings.delivery
    if delivery.here:
        if delivery.tooling:
            raise SettingsError(
                f"{settings.environment}: delivery.tooling = {delivery.tooling!r} is not allowed "
                "beside delivery.connection or delivery.github: an environment delivers, or is "
                "delivered to by another one."
            )
        return settings
    if not delivery.tooling:
        return None
    tooling = Settings.load(delivery.tooling)
    if not tooling.delivery.here:
        raise SettingsError(
            f"{settings.environment}: delivery.tooling = {delivery.tooling!r} delivers nothing: "
            "set delivery.connection or delivery.github there."
        )
    return tooling


def targets_of(tooling: Settings) -> tuple[Settings, Settings, Settings]:
    """Where the tooling environment delivers to, in order: itself, staging and prod.

    Raises:
        SettingsError: An environment does not name this one as its tooling environment, lies in
            another region (SageMaker pulls images from its own region only), or is named twice.
    """
    found = [tooling]
    for key in ("staging", "prod"):
        named: str = getattr(tooling.delivery, key)
        target = Settings.load(named)
        where = f"{tooling.environment}: delivery.{key} = {named!r}"
        if target.environment in {one.environment for one in found}:
            raise SettingsError(f"{where} is {target.environment} again: name another one.")
        if target.region != tooling.region:
            raise SettingsError(
                f"{where} is in {target.region}, not in {tooling.region}: images are pulled from "
                "the same region only."
            )
        expected = target.delivery.tooling and Settings.load(target.delivery.tooling)
        if not expected or expected.name != tooling.name or expected.account != tooling.account:
            raise SettingsError(
                f"{where} does not let this environment deliver to it: set delivery.tooling = "
                f"{tooling.environment!r} there."
            )
        found.append(target)
    return found[0], found[1], found[2]
