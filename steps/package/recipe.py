"""The component's recipe, one for both nuclei of Greengrass.

Nucleus lite reads keys case-sensitively, wants ``runtime: "*"``, and knows neither ``shutdown``,
``recover`` nor ``Skipif``, nor variables of other components or of the configuration; the classic
nucleus takes the same recipe. Sources: the component recipe reference of AWS IoT Greengrass and
"Types of Recipes Supported by GG nucleus lite" in aws-greengrass-lite.

What it leaves out: serving. The component installs its runtime and answers once, which proves
that the model works on the device; the service comes with the device.
"""

from __future__ import annotations

from typing import Any

from steps.package.config import PackageConfig

ARCHITECTURES = ("amd64", "aarch64")
"""Greengrass's names of x86_64 and of 64-bit ARM (never ``arm64``)."""
INSTALL_SECONDS = 900
"""Unpacking wheels on a slow card takes minutes; the nucleus allows two unless told."""
TRIAL = "is anybody there"


def component_version(model_version: int) -> str:
    """The component's version for version ``model_version`` of the registered model."""
    return f"1.0.{model_version}"


def build_recipe(config: PackageConfig, version: str) -> dict[str, Any]:
    """The recipe as JSON has it."""
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": config.component_name,
        "ComponentVersion": version,
        "ComponentType": "aws.greengrass.generic",
        "ComponentDescription": "Turns an utterance into an intent on the device.",
        "ComponentPublisher": config.publisher,
        "Manifests": [_manifest(config, version, name) for name in ARCHITECTURES],
    }


def artifact_uri(config: PackageConfig, version: str) -> str:
    """Where the recipe expects the zip."""
    name = config.component_name
    return f"{config.artifact_prefix}/{name}/{version}/{name}.zip"


def _manifest(config: PackageConfig, version: str, architecture: str) -> dict[str, Any]:
    # an unpacked zip lies in a folder named after it
    root = f"{{artifacts:decompressedPath}}/{config.component_name}"
    # wheels/ is empty until wheels are vendored; pip then takes from it what fits the machine
    install = (
        "python3 -m venv {work:path}/venv && "
        "{work:path}/venv/bin/python -m pip install --disable-pip-version-check --no-deps "
        f"--find-links {root}/wheels -r {root}/requirements.txt"
    )
    run = f"PYTHONPATH={root} {{work:path}}/venv/bin/python -m edge '{TRIAL}'"
    return {
        "Platform": {"os": "linux", "architecture": architecture, "runtime": "*"},
        "Lifecycle": {
            "install": {"Script": install, "Timeout": INSTALL_SECONDS},
            "run": {"Script": run},
        },
        "Artifacts": [{"Uri": artifact_uri(config, version), "Unarchive": "ZIP"}],
    }
