"""The contract between a SageMaker job and its container, in one small file.

What SageMaker mounts where, how hyperparameters arrive and how a failure is reported. This is
the only module of the steps that knows the string ``/opt/ml``; the variable ``SLM_ML_ROOT``
moves all of it elsewhere, which is how the same step runs on a laptop and in a test.

Sources: "How Amazon SageMaker Processing Runs Your Processing Container Image" and
"How Amazon SageMaker Runs Your Training Image" in the SageMaker developer guide.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ML_ROOT_VARIABLE = "SLM_ML_ROOT"
KMS_KEY_VARIABLE = "SLM_KMS_KEY"
OUT_OF_SCOPE = "out_of_scope"
"""The reserved intent of utterances that no intent should claim."""
OUT_OF_SCOPE_LABEL = -1


class StepError(Exception):
    """A user's mistake: one sentence that says what is wrong, where, and what to do."""


def ml_root() -> Path:
    """The folder that SageMaker calls ``/opt/ml``."""
    return Path(os.environ.get(ML_ROOT_VARIABLE, "/opt/ml"))


def upload_arguments() -> dict[str, str]:
    """What an upload to S3 says of its encryption: the buckets refuse one without the key.

    The key is the ARN in ``SLM_KMS_KEY``; empty where there is none.
    """
    key = os.environ.get(KMS_KEY_VARIABLE, "")
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


@dataclass(frozen=True)
class ProcessingPaths:
    """Where a Processing job finds its inputs and leaves its outputs."""

    root: Path = field(default_factory=ml_root)

    def input(self, name: str) -> Path:
        return self.root / "processing" / "input" / name

    def output(self, name: str) -> Path:
        """The folder that is uploaded as output ``name``, made if it is missing."""
        folder = self.root / "processing" / "output" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def failure(self) -> Path:
        """What DescribeProcessingJob shows as ``ExitMessage``."""
        return self.root / "output" / "message"


@dataclass(frozen=True)
class TrainingPaths:
    """Where a Training job finds its channels and leaves its model."""

    root: Path = field(default_factory=ml_root)

    def channel(self, name: str) -> Path:
        return self.root / "input" / "data" / name

    @property
    def hyperparameters(self) -> Path:
        return self.root / "input" / "config" / "hyperparameters.json"

    @property
    def resource_config(self) -> Path:
        return self.root / "input" / "config" / "resourceconfig.json"

    @property
    def model(self) -> Path:
        """The folder that SageMaker packs into ``model.tar.gz``."""
        return self.root / "model"

    @property
    def checkpoints(self) -> Path:
        """The folder that SageMaker keeps in step with ``CheckpointConfig.S3Uri``."""
        return self.root / "checkpoints"

    @property
    def output_data(self) -> Path:
        return self.root / "output" / "data"

    @property
    def failure(self) -> Path:
        """What DescribeTrainingJob shows as ``FailureReason``."""
        return self.root / "output" / "failure"


def write_text(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as sorted, indented JSON; see :func:`write_text`."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file that an earlier step wrote.

    Raises:
        StepError: The file is missing or is not JSON; ``what`` says in words what it is.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StepError(f"{what} is missing: {path} does not exist.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StepError(f"{what} is not valid JSON: {path}: {error}.") from None


def _full_disk(error: OSError) -> str:
    where = f" while writing {error.filename}" if error.filename else ""
    return f"The disk is full{where}: free some space or ask for a larger volume, then start again."


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def run_step(main: Callable[[], None], failure: Path) -> NoReturn:
    """Run a step's ``main`` and report its end as SageMaker expects.

    A :class:`StepError` or a full disk ends with one sentence in the failure file, exit code 1
    and no traceback. A bug keeps its traceback and leaves its last line in the failure file.
    SIGTERM, which is how SageMaker and the local runner stop a job, ends the process with 143.
    """
    from steps import logs  # which reads this module

    signal.signal(signal.SIGTERM, _stop)
    logs.start(_step_name())
    try:
        main()
    except StepError as error:
        _fail(failure, str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            logs.exception(error)
            _fail(failure, f"{type(error).__name__}: {error}")
        _fail(failure, _full_disk(error))
    except Exception as error:  # noqa: BLE001 - the container's edge
        logs.exception(error)
        _fail(failure, f"{type(error).__name__}: {error}")
    sys.exit(0)


def _step_name() -> str:
    """``train`` where ``python -m steps.train`` runs."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.split(".")[1] if spec and spec.name.startswith("steps.") else ""


def _fail(failure: Path, sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):  # the disk may be full; the log has the sentence already
        write_text(failure, sentence + "\n")
    sys.exit(1)
