"""What was asked for on the command line, as settings: ``-c env=dev`` or ``-c settings=FILE.toml``.

``-c images=build`` (the default) makes the images from this checkout; ``-c images=prebuilt`` takes
the ones that ``[images]`` names by digest, which is how an image moves from one environment to the
next without being built again. Everything that can be wrong with that is said here, before the
first construct exists, so that bad input leaves nothing behind.

Leaves out: the rules of the settings themselves (``pipeline.settings``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.settings import Settings

ImageMode = Literal["build", "prebuilt"]
IMAGE_MODES: tuple[ImageMode, ...] = ("build", "prebuilt")
KEYS = ("env", "settings", "images")
"""The context values that are read."""


class ContextError(Exception):
    """A context value that is wrong: one sentence with what, where and what to do."""


@dataclass(frozen=True)
class Request:
    """What to synthesize."""

    settings: Settings
    images: ImageMode

    @classmethod
    def of(cls, context: Mapping[str, object]) -> Request:
        """Read the values of :data:`KEYS`; those that are absent or None were not given.

        Raises:
            ContextError: A value is missing, unknown or contradicts another.
            SettingsError: The settings break a rule.
        """
        given = {key: value for key in KEYS if (value := context.get(key)) is not None}
        settings = _settings(given)
        images = _image_mode(given.get("images", "build"))
        if settings.environment == "local":
            raise ContextError(
                "environment 'local' has no account to deploy to: choose dev, staging or prod."
            )
        if images == "prebuilt":
            _check_images(settings, where=given.get("settings") or f"{settings.environment}.toml")
        return cls(settings, images)


def _settings(given: Mapping[str, object]) -> Settings:
    environment, file = given.get("env"), given.get("settings")
    if environment is not None and file is not None:
        raise ContextError(
            f"-c env={environment} and -c settings={file} name two environments: give one of them."
        )
    if file is not None:
        return Settings.read(Path(str(file)))
    if environment is None:
        raise ContextError(
            "no environment is given: add -c env=dev, staging or prod, or -c settings=FILE.toml."
        )
    return Settings.load(str(environment))


def _image_mode(value: object) -> ImageMode:
    for mode in IMAGE_MODES:
        if value == mode:
            return mode
    raise ContextError(f"-c images={value} is not known: use {' or '.join(IMAGE_MODES)}.")


def _check_images(settings: Settings, *, where: object) -> None:
    images = {"processing": settings.images.processing, "training": settings.images.training}
    if missing := [name for name, uri in images.items() if not uri]:
        raise ContextError(
            f"{where}: images.{missing[0]} is missing, which -c images=prebuilt needs: add the "
            "image's URI by digest (registry/name@sha256:...), or use -c images=build."
        )
