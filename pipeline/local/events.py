"""What happens in an execution, as it happens; all of it is also in the execution's record.

The listener given to :func:`pipeline.local.run` is called with these from one thread, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.local.runs import Execution


@dataclass(frozen=True)
class ExecutionStarted:
    """The first event; ``execution.steps`` holds every step, in the definition's order."""

    execution: Execution
    resumed: bool


@dataclass(frozen=True)
class StepStarted:
    """A step begins, or begins another attempt (counted from 1).

    Attributes:
        running: Seconds that it has been running already, where it began unseen.
    """

    execution_id: str
    step: str
    attempt: int
    running: float = 0.0


@dataclass(frozen=True)
class StepLog:
    """A line that a job wrote, of its output or its errors."""

    execution_id: str
    step: str
    line: str


@dataclass(frozen=True)
class StepSucceeded:
    """A step ended well; ``cached`` when an earlier result was reused."""

    execution_id: str
    step: str
    seconds: float
    cached: bool


@dataclass(frozen=True)
class StepFailed:
    """An attempt failed, or the step with it.

    Attributes:
        log: The whole log; None for steps that are not jobs.
        log_tail: Its last 20 lines.
        retry_in: Seconds until the next attempt; None if this was the last.
    """

    execution_id: str
    step: str
    seconds: float
    reason: str
    log: Path | None
    log_tail: tuple[str, ...]
    retry_in: float | None = None


@dataclass(frozen=True)
class StepSkipped:
    """A step is not run: a condition chose the other branch."""

    execution_id: str
    step: str


@dataclass(frozen=True)
class StepStopped:
    """A step was stopped before its end."""

    execution_id: str
    step: str
    seconds: float


@dataclass(frozen=True)
class ExecutionEnded:
    """The last event."""

    execution: Execution


Event = (
    ExecutionStarted
    | StepStarted
    | StepLog
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | StepStopped
    | ExecutionEnded
)
