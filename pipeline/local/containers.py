"""The container runtime: the same job in its image, with podman or docker.

The job's folder is ``/opt/ml`` in the container. Without an endpoint the home is mounted at its
own path, for MLflow's database and artifacts, with all that is stored in it read-only. Variables
travel in a file that only the user can read, never on the command line. A machine that needs
more says so in SLM_CONTAINER_FLAGS (``--network host`` for an endpoint on this machine, limits
where nested containers are restricted); the last flag wins.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.local.errors import PipelineError, UsageError
from pipeline.local.files import write_text

FLAGS_VARIABLE = "SLM_CONTAINER_FLAGS"
RUNTIMES = ("podman", "docker")
_READ_ONLY = ("s3", "cache", "executions")


def require_engine(runtime: str) -> None:
    """Refuse a runtime whose program is not there.

    Raises:
        UsageError: It is not on the PATH.
    """
    if shutil.which(runtime) is None:
        raise UsageError(f"{runtime} is not installed: install it, or use --runtime process.")


def image_identity(runtime: str, image: str) -> str | None:
    """What identifies the content of an image; None if the engine does not have it yet."""
    answer = subprocess.run(
        [runtime, "image", "inspect", "--format", "{{.Id}}", image],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def container_command(
    runtime: str,
    *,
    name: str,
    image: str,
    command: tuple[str, ...],
    entrypoint: str | None,
    environment_file: Path,
    mounts: Mapping[Path, str],
    home: Path | None,
) -> tuple[str, ...]:
    """The command that runs a job in a container.

    Args:
        runtime: ``podman`` or ``docker``.
        name: Of the container, by which it is stopped.
        image: The image to run.
        command: Words after the entrypoint.
        entrypoint: The program, or None for the image's own.
        environment_file: See :func:`write_environment`.
        mounts: Folders of this machine and where the container sees them.
        home: The runner's home, where the container is to reach MLflow; else None.
    """
    words = [runtime, "run", "--rm", "--name", name, "--env-file", str(environment_file)]
    for folder, target in mounts.items():
        words += ["--volume", f"{folder}:{target}"]
    for mount in _home_mounts(home) if home else ():
        words += ["--volume", mount]
    if runtime == "docker" and os.name == "posix":
        # docker's root is the machine's root: what the job writes has to belong to the user
        words += ["--user", f"{os.getuid()}:{os.getgid()}"]
    words += shlex.split(os.environ.get(FLAGS_VARIABLE, ""))
    if entrypoint is not None:
        words += ["--entrypoint", entrypoint]
    return (*words, image, *command)


def _home_mounts(home: Path) -> Iterator[str]:
    # the whole folder, because SQLite keeps its journal beside the database
    yield f"{home}:{home}"
    for name in _READ_ONLY:
        (home / name).mkdir(parents=True, exist_ok=True)
        yield f"{home / name}:{home / name}:ro"


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write the variables of a container, readable by the user alone.

    Raises:
        PipelineError: A value has several lines, which this format cannot say.
    """
    for name, value in environment.items():
        if "\n" in value:
            raise PipelineError(f"Variable {name} has several lines: a container cannot take it.")
    path.unlink(missing_ok=True)
    write_text(path, "".join(f"{k}={v}\n" for k, v in environment.items()), mode=0o600)
