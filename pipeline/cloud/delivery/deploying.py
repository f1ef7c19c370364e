"""``cdk deploy`` of an environment with images by digest.

What is deployed is the environment's own settings with ``[images]`` added, so that nothing else can
differ between environments than what their files say. Left out are the stacks that a person
deploys: the delivery itself, whose way no commit may change, and people's permission sets.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pipeline.cloud.delivery.images import ROOT
from pipeline.errors import PipelineError
from pipeline.names import ImageName
from pipeline.settings import ENVIRONMENTS, Settings, SettingsError

FOLDER = Path("build/delivery")
BY_HAND = ("delivery", "identity")
"""Parts of stacks' names."""


def write_settings(env: str, images: Mapping[ImageName, str], folder: Path = FOLDER) -> Path:
    """The settings file of an environment with the images in it.

    Raises:
        SettingsError: There is no such environment, it has images already, or they are not named
            by digest.
    """
    settings = Settings.load(env)
    path = Path(env) if env.endswith(".toml") else ENVIRONMENTS / f"{env}.toml"
    text = path.read_text(encoding="utf-8")
    if "images" in tomllib.loads(text):
        raise SettingsError(
            f"{path}: [images] is delivery's to write: remove it, or deploy with "
            f"cdk deploy --all -c settings={path} -c images=prebuilt."
        )
    lines = ["", "[images]", *(f'{name} = "{uri}"' for name, uri in images.items()), ""]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{settings.environment}.toml"
    file.write_text(text + "\n".join(lines), encoding="utf-8")
    Settings.read(file)
    return file


def command(settings: Settings, file: Path) -> list[str]:
    """The command that deploys ``file``, the settings of an environment."""
    windows = os.name == "nt"
    tool = ROOT / "node_modules" / ".bin" / ("cdk.cmd" if windows else "cdk")
    stacks = f"{settings.stack_name('')}!({'|'.join(BY_HAND)})"
    return [
        str(tool),
        "deploy",
        stacks,
        "--context",
        f"settings={file.resolve()}",
        "--context",
        "images=prebuilt",
        "--output",
        str(file.with_suffix(".cdk")),
        "--require-approval",
        "never",
        "--no-version-reporting",
    ]


def deploy(settings: Settings, file: Path, *more: str) -> None:
    """Deploy, and show what the command says.

    Raises:
        PipelineError: It is missing, or failed.
    """
    words = [*command(settings, file), *more]
    try:
        done = subprocess.run(words, cwd=ROOT, check=False)
    except FileNotFoundError:
        raise PipelineError(f"{words[0]} is missing: run make setup-delivery.") from None
    if done.returncode != 0:
        raise PipelineError(
            f"{settings.name} was not deployed: cdk ended with {done.returncode}, see above."
        )
