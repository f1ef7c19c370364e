"""Notes with the registered version where its package lies and what it is.

Promotion finds the package by that alone: a version may be packaged by a later execution than the
one that registered it, when registering was taken from the cache. The hash is that of
``package.json``, which names the hash of everything else but the signature. What it leaves out: a
step that is run by hand, whose package lies nowhere that others could find.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.contract import StepError, read_json
from steps.package.manifest import describe
from steps.registry import open_registry

URL, SHA256 = "package_url", "package_sha256"
OUTPUT = "package"


def note_package(registration: Path, output: Path, job: Path) -> bool:
    """Note the package in ``output`` with the version that ``registration`` names.

    Args:
        registration: The folder with ``registration.json``.
        output: The folder with ``package.json``.
        job: SageMaker's ``processingjobconfig.json``, which says where the output will lie.

    Returns:
        False for a step that is no job.

    Raises:
        StepError: The registry does not know the version, or cannot be written.
    """
    if not job.is_file():
        return False
    url = _output_url(read_json(job, "The configuration of the job"))
    registered = read_json(registration / "registration.json", "The registration of the model")
    try:
        name, group = str(registered["model_package"]), str(registered["group"])
    except KeyError as error:
        raise StepError(
            f"{registration / 'registration.json'} has no {error}: register the model again."
        ) from None
    sha256 = describe(output / "package.json")["sha256"]
    open_registry(group).note(name, {URL: url, SHA256: sha256})
    return True


def _output_url(job: dict[str, Any]) -> str:
    for one in (job.get("ProcessingOutputConfig") or {}).get("Outputs") or []:
        if one.get("OutputName") == OUTPUT:
            return str(one["S3Output"]["S3Uri"]).rstrip("/")
    raise StepError(f"The job has no output {OUTPUT}: define the step with one.")
