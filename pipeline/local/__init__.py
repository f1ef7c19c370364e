"""The runner for one machine: executes a SageMaker pipeline definition without AWS or Docker.

``run`` executes; ``runs.list_executions`` and ``runs.load`` read what was; ``open_storage`` puts
data where ``s3://`` addresses find it. What a step cannot do here is refused before it starts.
"""

from __future__ import annotations

from pipeline.local import runs
from pipeline.local.errors import DefinitionError, PipelineError, StorageError, UsageError
from pipeline.local.events import (
    Event,
    ExecutionEnded,
    ExecutionStarted,
    StepFailed,
    StepLog,
    StepSkipped,
    StepStarted,
    StepStopped,
    StepSucceeded,
)
from pipeline.local.run import RunOptions, open_storage, run
from pipeline.local.runs import Execution, StepRecord

__all__ = [
    "DefinitionError",
    "Event",
    "Execution",
    "ExecutionEnded",
    "ExecutionStarted",
    "PipelineError",
    "RunOptions",
    "StepFailed",
    "StepLog",
    "StepRecord",
    "StepSkipped",
    "StepStarted",
    "StepStopped",
    "StepSucceeded",
    "StorageError",
    "UsageError",
    "open_storage",
    "run",
    "runs",
]
