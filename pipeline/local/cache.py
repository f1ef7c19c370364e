"""Reuses the result of a step that ran before with the same inputs, code and arguments.

The key is what can change a job's result: image, command, arguments, environment without its
secrets, hyperparameters, the content (not the place) of inputs, and the code that the command
runs. Not in it: where outputs go, names of jobs, roles, instances, keys; and the execution's own
id and times count as constants, so that a lineage argument does not make every run new. A hit
also needs its outputs to be stored still, unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from pipeline.local.describe import SECRET
from pipeline.local.files import write_json
from pipeline.local.fingerprints import digest
from pipeline.local.requests import JobRequest
from pipeline.local.runs import now
from pipeline.local.storage import Manifest, Storage, read_identity

_FORMAT = 1
"""Raise it when the meaning of an entry changes: older entries are then never hit."""


@dataclass(frozen=True)
class Entry:
    """The result of a step.

    Attributes:
        properties: What Describe would answer.
        stored: For every address that the step wrote, what was there.
    """

    key: str
    created: str
    step: str
    execution: str
    properties: Mapping[str, Any]
    stored: Mapping[str, Manifest]


def cache_key(
    request: JobRequest,
    inputs: Mapping[str, Manifest],
    code: Mapping[str, str] | str,
    where: Sequence[str],
) -> str:
    """The key of a job.

    Args:
        request: Its arguments, with the execution's own variables resolved to constants.
        inputs: What is stored at the address of every input, by the input's name.
        code: What identifies the code that its command runs.
        where: Anything else that sets results apart: the runtime, the endpoint.
    """
    environment = {k: v for k, v in request.environment.items() if not SECRET.search(k)}
    return digest(
        {
            "format": _FORMAT,
            "kind": request.kind,
            "image": request.image,
            "command": [*request.entrypoint, *request.arguments],
            "environment": environment,
            "hyperparameters": request.hyperparameters,
            "inputs": [
                [place.name, str(place.folder), read_identity(inputs[place.name])]
                for place in request.inputs
            ],
            "outputs": [[place.name, str(place.folder)] for place in request.outputs],
            "metrics": [[name, pattern.pattern] for name, pattern in request.metrics],
            "code": code,
            "where": list(where),
        }
    )


class Cache:
    """The entries below ``home/cache``; the newest of a key wins."""

    def __init__(self, home: Path, storage: Storage) -> None:
        self._folder = home / "cache"
        self._storage = storage

    def find(self, key: str, age: timedelta | None) -> Entry | None:
        """The entry of ``key`` if it is young enough and its outputs are still there."""
        try:
            document = json.loads(self._path(key).read_text(encoding="utf-8"))
            entry = Entry(**cast("dict[str, Any]", document))
            created = datetime.fromisoformat(entry.created)
        except (OSError, ValueError, TypeError):  # missing, or of another version
            return None
        if age is not None and datetime.now(UTC) - created > age:
            return None
        if not all(self._storage.unchanged(uri, files) for uri, files in entry.stored.items()):
            return None
        return entry

    def add(
        self,
        key: str,
        step: str,
        execution: str,
        properties: Mapping[str, Any],
        stored: Sequence[str],
    ) -> None:
        """Remember a step that has succeeded."""
        manifests = {uri: self._storage.manifest(uri, lambda: None) for uri in stored}
        entry = Entry(key, now(), step, execution, properties, manifests)
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(entry))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
