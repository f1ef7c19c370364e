"""The component's recipe, one for both nuclei of Greengrass.

Nucleus lite reads keys case-sensitively, wants ``runtime: "*"``, and knows neither ``shutdown``,
``recover`` nor ``Skipif``, nor variables of other components or of the configuration; the classic
nucleus takes the same recipe. Both read ``{namespace:key}`` anywhere in a script as a variable of
theirs, so that the scripts do without the shell's own braces. Sources: the component recipe
reference of AWS IoT Greengrass and "Types of Recipes Supported by GG nucleus lite" in
aws-greengrass-lite.

Without ``accessControl`` either nucleus refuses the component every message. It may publish its
windows to IoT Core and answer requests on local topics, those of the runtime's defaults; a device
whose configuration file names others gets them by a deployment's configuration. A topic's thing is
a ``*``, which both nuclei match: nucleus lite did not always put a recipe's variables into
policies, and a device's IoT policy lets it publish below its own name only.

The scripts are plain POSIX shell, may be killed anywhere and run again, and take paths with spaces.
What they leave out: updating and serving, which are the component's own commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.settings import GreengrassSettings, TelemetrySettings
from steps.package.config import PYTHON, PackageConfig

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "aarch64"}
"""Greengrass's names (never ``arm64``) of the architectures that wheels are made for."""
INSTALL_SECONDS = 900
"""Unpacking wheels on a slow card takes minutes; the nucleus allows two unless told."""
SIGNATURE = "manifest.sig"

_WHERE = """\
root="{artifacts:decompressedPath}/@ARCHIVE@"
work="{work:path}"
venv="$work/@VENV@"
config=/etc/slm-edge/config.toml
if [ -n "$SLM_EDGE_CONFIG" ]; then config=$SLM_EDGE_CONFIG; fi
export PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
"""
_PYTHON = """\
python=$(command -v python@PYTHON@ || command -v python3 || true)
if [ -z "$python" ] || ! "$python" -I -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '@PYTHON@')"; then
  echo "error: This component needs Python @PYTHON@: install it so that python@PYTHON@ is on the PATH, and deploy again." >&2
  exit 1
fi
"""  # noqa: E501 - sentences for the device's log
# the version that serves judges the next one before any of its code or wheels is run
_VERIFY = """\
serving=$("$python" -I -c "
import json, pathlib, sys
root = pathlib.Path(sys.argv[1])
try:
    version = root / 'versions' / json.loads((root / 'state.json').read_text())['serving']
    print(version)
    print(json.loads((version / 'installed.json').read_text())['python'])
except (OSError, ValueError, KeyError, TypeError):
    pass
" "$work/state")
trusted=$(printf '%s\\n' "$serving" | sed -n 2p)
if [ -n "$trusted" ] && "$trusted" -c ""; then
  PYTHONPATH=$(printf '%s\\n' "$serving" | sed -n 1p) "$trusted" -m edge verify \\
    --package "$root"@SIGNATURE@ --config "$config"
fi
"""
_ENVIRONMENT = """\
if [ ! -f "$venv/.complete" ] || ! "$venv/bin/python" -c ""; then
  rm -rf "$venv"
  if ! "$python" -m venv "$venv"; then
    echo "error: $python cannot make a virtual environment: install its venv module (python3-venv on Debian) and deploy again." >&2
    exit 1
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps \\
    --only-binary :all: --require-hashes @SOURCE@ -r "$root/requirements.txt"
  sync
  touch "$venv/.complete"
fi
"""  # noqa: E501
_VENDORED = '--isolated --no-cache-dir --no-index --find-links "$root/wheels/@ARCHITECTURE@"'
_INSTALL = """\
PYTHONPATH="$root" "$venv/bin/python" -m edge install --root "$work/state" --package "$root"@SIGNATURE@ --config "$config"
for old in "$work"/venv-*; do
  if ! grep -qsF "/$(basename "$old")/" "$work"/state/versions/*/installed.json && [ "$old" != "$venv" ]; then
    rm -rf "$old"
  fi
done
"""  # noqa: E501
_RUN = """\
export PYTHONPATH="$root"
exec "$venv/bin/python" -m edge serve --root "$work/state" --config "$config"
"""


@dataclass(frozen=True)
class Contents:
    """What the recipe has to know of the component."""

    version: str
    requirements_sha256: str
    """The environment on the device is named after it, so that the next version may share it."""
    wheels: bool = True
    """Whether the zips carry them; if not, pip takes them from its index, by hash."""
    signed: bool = True


def component_version(model_version: int) -> str:
    """The component's version for version ``model_version`` of the registered model."""
    return f"1.0.{model_version}"


def environment_name(requirements_sha256: str) -> str:
    """The folder of the virtual environment, below the component's work folder."""
    return f"venv-{requirements_sha256[:12]}"


def archive_name(component: str, architecture: str) -> str:
    """The zip's name without its suffix, which is the folder that a nucleus unpacks it into."""
    return f"{component}-{architecture}"


def artifact_uri(config: PackageConfig, version: str, file: str) -> str:
    """Where the recipe expects a file of the component."""
    return f"{config.artifact_prefix}/{config.component_name}/{version}/{file}"


def build_recipe(config: PackageConfig, contents: Contents) -> dict[str, Any]:
    """The recipe as JSON has it."""
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": config.component_name,
        "ComponentVersion": contents.version,
        "ComponentType": "aws.greengrass.generic",
        "ComponentDescription": "Turns an utterance into an intent on the device.",
        "ComponentPublisher": config.publisher,
        "ComponentConfiguration": {
            "DefaultConfiguration": {"accessControl": _access(config.component_name)}
        },
        "Manifests": [_manifest(config, contents, name) for name in ARCHITECTURES],
    }


def _access(component: str) -> dict[str, Any]:
    """What the component may ask its nucleus for; ids must differ from other components'."""
    local = GreengrassSettings()
    allowed = (
        ("mqttproxy", "PublishToIoTCore", TelemetrySettings().topic, "publish its counts"),
        ("pubsub", "SubscribeToTopic", local.requests, "take requests"),
        ("pubsub", "PublishToTopic", local.responses, "answer them"),
    )
    services: dict[str, Any] = {}
    for number, (service, operation, topic, words) in enumerate(allowed, 1):
        services.setdefault(f"aws.greengrass.ipc.{service}", {})[
            f"{component}:{service}:{number}"
        ] = {
            "policyDescription": f"Lets it {words}.",
            "operations": [f"aws.greengrass#{operation}"],
            "resources": [topic.replace("{thing}", "*")],
        }
    return services


def _manifest(config: PackageConfig, contents: Contents, architecture: str) -> dict[str, Any]:
    archive = archive_name(config.component_name, architecture)
    install = _WHERE + "set -e\n" + _PYTHON + _VERIFY + _ENVIRONMENT + _INSTALL
    words = {
        "@SOURCE@": _VENDORED if contents.wheels else "",
        "@SIGNATURE@": f' --signature "{{artifacts:path}}/{SIGNATURE}"' if contents.signed else "",
        "@ARCHIVE@": archive,
        "@ARCHITECTURE@": architecture,
        "@VENV@": environment_name(contents.requirements_sha256),
        "@PYTHON@": PYTHON,
    }
    uri = artifact_uri(config, contents.version, f"{archive}.zip")
    artifacts = [{"Uri": uri, "Unarchive": "ZIP"}]
    if contents.signed:
        artifacts.append({"Uri": artifact_uri(config, contents.version, SIGNATURE)})
    platform = {"os": "linux", "architecture": ARCHITECTURES[architecture], "runtime": "*"}
    return {
        "Platform": platform,
        "Lifecycle": {
            "install": {"Script": _fill(install, words), "Timeout": INSTALL_SECONDS},
            "run": {"Script": _fill(_WHERE + _RUN, words)},
        },
        "Artifacts": artifacts,
    }


def _fill(script: str, words: dict[str, str]) -> str:
    for word, text in words.items():
        script = script.replace(word, text)
    return script
