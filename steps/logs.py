"""What a job says: lines for a person, or the same as lines of JSON that name their execution.

Steps print, and so do the libraries that they use. On a laptop those lines are what a person reads.
In an account six jobs of an execution write into two log groups, beside those of other executions
and environments; there (``SLM_LOGS=json``, which the images set) every line becomes one line of
JSON, warnings and tracebacks included::

    {"time": "2026-11-24T04:01:02.345Z", "level": "INFO", "environment": "dev",
     "execution": "abc123def456", "step": "train", "message": "epoch=1/4  validation_accuracy=0.9"}

so that one query finds what an execution said, step by step (docs/runbook.md). What SageMaker's
regular expressions look for stays as it is within ``message``. ``event`` adds figures that a query
can compute with.

Leaves out: what native code writes past Python, and shipping lines: SageMaker does that.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

from steps.contract import ml_root

FORMAT_VARIABLE = "SLM_LOGS"
ENVIRONMENT_VARIABLE = "SLM_ENVIRONMENT"
EXECUTION_VARIABLE = "SLM_EXECUTION_ID"
_JOB_VARIABLES = (
    "TRAINING_JOB_NAME", "TRAINING_JOB_ARN", "PROCESSING_JOB_NAME", "PROCESSING_JOB_ARN",
)  # fmt: skip
_OF_A_PIPELINE = re.compile(r"(?:^|/)pipelines-([a-z0-9]+)-")
_LEVELS = {"error: ": logging.ERROR, "warning: ": logging.WARNING}
_log = logging.getLogger("slm")


def execution_id() -> str:
    """The execution that this job belongs to; empty for a job that belongs to none.

    As the runner says; else as SageMaker names its jobs, ``pipelines-<execution>-<step>-<random>``.
    No argument and no variable of the definition holds it: both are part of the key under which a
    step's result is reused, and an execution's id is never the same twice
    (docs/decisions/0003-what-the-cache-may-reuse.md).
    """
    if told := os.environ.get(EXECUTION_VARIABLE):
        return told
    names = [os.environ.get(variable, "") for variable in _JOB_VARIABLES]
    for name in (*names, str(job_config().get("ProcessingJobArn", ""))):
        if found := _OF_A_PIPELINE.search(name):
            return found[1]
    return ""


def job_config() -> dict[str, Any]:
    """What SageMaker tells a Processing job about itself; empty elsewhere.

    Source: "How Amazon SageMaker Processing Configures Input and Output For Your Processing
    Container" in the SageMaker developer guide.
    """
    try:
        path = ml_root() / "config" / "processingjobconfig.json"
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def start(step: str) -> None:
    """Begin to say everything as JSON, where that is asked for; once in a process."""
    if os.environ.get(FORMAT_VARIABLE) != "json" or _log.handlers:
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json(step))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    sys.stdout = _Lines(sys.stdout, logging.INFO)
    sys.stderr = _Lines(sys.stderr, logging.WARNING)


def event(name: str, **fields: Any) -> None:
    """Say something that a query looks for: ``name``, with figures."""
    said = " ".join(f"{key}={value}" for key, value in fields.items())
    if _log.handlers:
        _log.info("%s %s", name, said, extra={"fields": {"event": name, **fields}})
    else:
        print(f"{name}: {said}", flush=True)


def exception(error: BaseException) -> None:
    """Say that something broke, with its traceback: one line, or as Python shows it."""
    if _log.handlers:
        told = "".join(traceback.format_exception(error))
        last = f"{type(error).__name__}: {error}"
        _log.error("%s", last, extra={"fields": {"traceback": told}})
    else:
        traceback.print_exception(error)


class _Json(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._same: dict[str, Any] = {
            "environment": os.environ.get(ENVIRONMENT_VARIABLE, ""),
            "execution": execution_id(),
            "step": step,
        }
        if rank := os.environ.get("RANK"):
            self._same["rank"] = int(rank)  # of the processes that train together

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            **self._same,
            "message": record.getMessage(),
            **fields,
        }
        return json.dumps(line, ensure_ascii=False, default=str)


class _Lines(io.TextIOBase):
    """Standard output or standard error, of which every line becomes a record.

    What is printed in one go is one record, however many lines it has.
    """

    def __init__(self, stream: TextIO, level: int) -> None:
        self._stream, self._level = stream, level
        self._begun = ""
        atexit.register(self._end)

    def write(self, text: str) -> int:
        self._begun += text
        if self._begun.endswith("\n"):
            self._end()
        return len(text)

    def _end(self) -> None:
        text, self._begun = self._begun.strip("\r\n"), ""
        if text:
            level = next((_LEVELS[key] for key in _LEVELS if text.startswith(key)), self._level)
            _log.log(level, "%s", text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"
