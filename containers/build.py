"""Builds the container images on this machine: ``python containers/build.py [NAME …]``.

    processing -> localhost/slm-edge/processing:local
    training   -> localhost/slm-edge/training:local

It takes docker, podman or buildah, the first of them that works. These variables change what it
does: ``SLM_CONTAINER_TOOL`` names the tool, ``SLM_BUILD_FLAGS`` adds options to its build command,
``SLM_TORCH_INDEX`` is the address of an index with torch's CPU build, ``SLM_TORCH=cuda`` gives the
training image the build with CUDA all the same. The standard library is all it needs. What it
leaves out: pushing; the delivery pipeline tags and pushes by commit.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

IMAGES = ("processing", "training")
TOOLS = ("docker", "podman", "buildah")
ROOT = Path(__file__).resolve().parent.parent


class BuildError(Exception):
    """One sentence: what is missing and what to do."""


def tag(name: str) -> str:
    """What the image ``name`` is called on this machine."""
    return f"localhost/slm-edge/{name}:local"


def find_tool(environment: Mapping[str, str]) -> str:
    """The tool that the environment names, or the first that is installed and answers.

    Raises:
        BuildError: There is none.
    """
    named = environment.get("SLM_CONTAINER_TOOL", "")
    if named:
        if Path(named).name not in TOOLS or shutil.which(named) is None:
            raise BuildError(
                f"SLM_CONTAINER_TOOL is {named!r}: name an installed docker, podman or buildah."
            )
        return named
    for tool in TOOLS:
        if shutil.which(tool) and _answers(tool):
            return tool
    raise BuildError(
        "No container tool works on this machine: install podman, or start Docker; "
        "docs/containers.md has the way without a daemon."
    )


def _answers(tool: str) -> bool:
    """Whether the tool does more than exist: docker without its daemon builds nothing."""
    return subprocess.run([tool, "info"], capture_output=True, check=False).returncode == 0


def build_command(
    tool: str, name: str, *, root: Path, commit: str, environment: Mapping[str, str]
) -> list[str]:
    """The command that builds the image ``name`` from the repository at ``root``."""
    verb = "bud" if Path(tool).name == "buildah" else "build"
    options = ["--file", str(root / "containers" / name / "Dockerfile"), "--tag", tag(name)]
    options += ["--build-arg", f"COMMIT={commit}"]
    index = environment.get("SLM_TORCH_INDEX", "")
    if index and not (name == "training" and environment.get("SLM_TORCH") == "cuda"):
        options += ["--build-arg", f"TORCH_INDEX={index}"]
    # last, so that they win over the ones above
    options += shlex.split(environment.get("SLM_BUILD_FLAGS", ""))
    return [tool, verb, *options, str(root)]


def current_commit(root: Path) -> str:
    """The commit that is checked out, or ``unknown`` outside a repository; SLM_COMMIT says it
    where sources come without one."""
    if told := os.environ.get("SLM_COMMIT"):
        return told
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Build the images named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=" or ".join(IMAGES))
    names = parser.parse_args(arguments).names or list(IMAGES)
    for name in names:
        if name not in IMAGES:
            parser.error(f"there is no image {name!r}: use {' or '.join(IMAGES)}")
    try:
        tool = find_tool(os.environ)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    commit = current_commit(ROOT)
    for name in names:
        command = build_command(tool, name, root=ROOT, commit=commit, environment=os.environ)
        print(shlex.join(command), flush=True)
        done = subprocess.run(command, check=False).returncode
        if done != 0:
            print(f"error: {tool} could not build {tag(name)}: see above.", file=sys.stderr)
            return 1
        print(f"built {tag(name)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
