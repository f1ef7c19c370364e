"""The record of every execution: ``executions/<id>/execution.json``, always whole.

An execution holds a lock on its folder for as long as its runner, or a job of it, lives; the
system releases it even after kill -9. So "Executing" without a lock means that the runner died.
"""

from __future__ import annotations

import json
import re
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from pipeline.local.errors import PipelineError, UsageError
from pipeline.local.files import write_json
from pipeline.local.locks import Lock
from pipeline.local.storage import disk_errors

ExecutionStatus = Literal["Executing", "Succeeded", "Failed", "Stopped"]
StepStatus = Literal["NotStarted", "Executing", "Succeeded", "Failed", "Stopped", "Skipped"]

_ID = re.compile(r"[a-z0-9]{12}")
_RECORD = "execution.json"
_DEFINITION = "definition.json"
_LOCK = "lock"
LOCK_PATIENCE_SECONDS = 3.0
"""How long the jobs of a runner that was killed may take to notice."""


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class StepRecord:
    """What became of one step.

    Attributes:
        started: ISO 8601; empty before the start.
        seconds: From the start of the first attempt to the end of the last.
        outputs: The properties that SageMaker's Describe calls would give.
        log: The log of the last attempt; None where there is none.
    """

    name: str
    type: str
    display_name: str
    status: StepStatus = "NotStarted"
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    cached: bool = False
    attempts: int = 0
    failure_reason: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    log: str | None = None


@dataclass(frozen=True)
class Execution:
    """One execution of a pipeline; times in ISO 8601."""

    id: str
    status: ExecutionStatus
    started: str
    parameters: Mapping[str, str | int | float | bool]
    steps: Mapping[str, StepRecord]
    pipeline: str = "local"
    runtime: str = "process"
    endpoint_url: str | None = None
    ended: str = ""
    failure_reason: str | None = None

    def with_step(self, step: str, **changes: Any) -> Execution:
        """A copy in which the record of ``step`` has changed."""
        return replace(self, steps={**self.steps, step: replace(self.steps[step], **changes)})


def folder_of(home: Path, execution_id: str) -> Path:
    """The folder of an execution.

    Raises:
        UsageError: It is not the id of an execution.
    """
    if not _ID.fullmatch(execution_id):
        raise UsageError(f"{execution_id!r} is not the id of an execution: see slm runs.")
    return home / "executions" / execution_id


def create(home: Path) -> tuple[str, Path, Lock]:
    """A new folder with an id that no other run has, locked."""
    letters = string.ascii_lowercase + string.digits
    executions = home / "executions"
    with disk_errors(executions):
        executions.mkdir(parents=True, exist_ok=True)
        while True:
            name = "".join(secrets.choice(letters) for _ in range(12))
            try:
                (executions / name).mkdir()
            except FileExistsError:
                continue
            return name, executions / name, Lock.acquire(executions / name / _LOCK)


def reopen(home: Path, execution_id: str) -> tuple[Execution, dict[str, Any], Path, Lock]:
    """The record and definition of an execution that is to be resumed, locked.

    Raises:
        UsageError: There is none, it still runs, or it has succeeded.
    """
    folder = folder_of(home, execution_id)
    execution = load(home, execution_id)
    if execution.status == "Succeeded":
        raise UsageError(f"Execution {execution_id} has succeeded: there is nothing to resume.")
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            lock = Lock.acquire(folder / _LOCK)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"Execution {execution_id} is still running: stop it first, or wait."
                ) from None
            time.sleep(0.05)
    definition = _read(folder / _DEFINITION)
    return execution, definition, folder, lock


def save(folder: Path, execution: Execution) -> None:
    """Write the record."""
    with disk_errors(folder / _RECORD):
        write_json(folder / _RECORD, asdict(execution))


def save_definition(folder: Path, definition: Mapping[str, Any]) -> None:
    """Keep the definition that an execution runs."""
    with disk_errors(folder / _DEFINITION):
        write_json(folder / _DEFINITION, definition)


def load(home: Path, execution_id: str) -> Execution:
    """The record of an execution; one whose runner died is shown as Stopped.

    Raises:
        UsageError: There is no such execution.
        PipelineError: Its record cannot be read.
    """
    folder = folder_of(home, execution_id)
    if not (folder / _RECORD).exists():
        raise UsageError(f"There is no execution {execution_id} in {home}: see slm runs.")
    document = _read(folder / _RECORD)
    try:
        names = {item.name for item in fields(StepRecord)}
        steps = {
            name: StepRecord(**{key: value for key, value in step.items() if key in names})
            for name, step in document.pop("steps").items()
        }
        execution = Execution(steps=steps, **document)
    except (TypeError, KeyError, AttributeError) as error:
        raise PipelineError(
            f"{folder / _RECORD} is not a record of an execution: {error}."
        ) from None
    if execution.status == "Executing" and not Lock.is_held(folder / _LOCK):
        return replace(
            execution,
            status="Stopped",
            failure_reason="The runner ended without a word: "
            f"go on with slm run --resume {execution_id}.",
        )
    return execution


def list_executions(home: Path) -> list[Execution]:
    """Every readable record, the newest first."""
    found: list[Execution] = []
    for record in (home / "executions").glob(f"*/{_RECORD}"):
        if _ID.fullmatch(record.parent.name):
            try:
                found.append(load(home, record.parent.name))
            except PipelineError:  # another version's record does not hide the others
                continue
    return sorted(found, key=lambda execution: execution.started, reverse=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path} cannot be read: {error}.") from None
    if not isinstance(document, dict):
        raise PipelineError(f"{path} does not hold an object.")
    return cast("dict[str, Any]", document)
