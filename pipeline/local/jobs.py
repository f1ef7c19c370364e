"""One Processing or Training job, with what SageMaker would put into its container.

``/opt/ml`` of the job is the folder ``ml`` of its attempt: inputs are copied there before the
start, outputs move to where they are stored when it has succeeded, and the folder is deleted at
the end whatever happened; the log stays. Checkpoints of a folder store need no copying: the
job's checkpoint folder is the stored one, so that even kill -9 of everything loses nothing.

Sources: "How Amazon SageMaker Processing Configures Your Processing Container" and "How Amazon
SageMaker Provides Training Information" in the SageMaker developer guide.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.local.archives import pack
from pipeline.local.containers import container_command, write_environment
from pipeline.local.describe import job_arn, model_address
from pipeline.local.environment import Surroundings, job_environment
from pipeline.local.errors import PipelineError, StorageError
from pipeline.local.files import write_json
from pipeline.local.processes import Command, Ended, StopRequest, run_command
from pipeline.local.requests import JobRequest
from pipeline.local.storage import Mirror, Storage, disk_errors

LOG_TAIL_LINES = 20
INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
_FAILURE_CHARACTERS = 1024  # as much as SageMaker keeps
_CHECKPOINT_SECONDS = 5.0
_HOST = "algo-1"


class JobStopped(Exception):  # noqa: N818 - not an error
    """The job was asked to stop and has."""


class JobError(PipelineError):
    """The job failed.

    Attributes:
        exception_type: What SageMaker's retry policies would call it; None if never retried.
        log_tail: The last lines of its log.
    """

    def __init__(self, reason: str, exception_type: str | None = None) -> None:
        super().__init__(reason)
        self.exception_type = exception_type
        self.log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobPlace:
    """Where and how the jobs of an execution run.

    Attributes:
        runtime: ``process``, ``podman`` or ``docker``.
        hold: The descriptor of the execution's lock, which every job keeps open.
    """

    surroundings: Surroundings
    storage: Storage
    runtime: str
    stop: StopRequest
    hold: int

    def pulse(self) -> None:
        """Give up between two files when a stop was asked for."""
        if self.stop.asked.is_set():
            raise JobStopped


@dataclass(frozen=True)
class JobResult:
    """What a job left: addresses of what it stored, and the last value of each metric."""

    stored: tuple[str, ...]
    metrics: tuple[tuple[str, float], ...]


class Job:
    """One attempt of a step."""

    def __init__(
        self,
        place: JobPlace,
        request: JobRequest,
        name: str,
        folder: Path,
        arguments: Mapping[str, object],
        on_line: Callable[[str], None],
    ) -> None:
        self._place = place
        self._request = request
        self._name = name
        self._arguments = arguments
        self._on_line = on_line
        self._folder = folder
        self._ml = folder / "ml"
        self._metrics: dict[str, float] = {}
        self._mirror: Mirror | None = None
        self._mirrored = 0.0
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)

    @property
    def log(self) -> Path:
        return self._folder / "log.txt"

    def run(self) -> JobResult:
        """Run to the end.

        Raises:
            JobError: The job did not succeed, or what it needs could not be copied.
            JobStopped: It was stopped.
        """
        try:
            with disk_errors(self._ml):
                self._prepare()
            ended = run_command(self._command(), self._place.stop, self._see, self._meanwhile)
            self._store_checkpoints()
            if self._place.stop.asked.is_set():
                raise JobStopped
            self._raise_if_failed(ended)
            with disk_errors(self._ml):
                stored = tuple(self._publish())
            return JobResult(stored, tuple(self._metrics.items()))
        except JobError as failure:
            failure.log_tail = tuple(self._tail)
            raise
        except StorageError as error:
            raise JobError(str(error), error.exception_type) from None
        finally:
            self._clear()

    def _prepare(self) -> None:
        config = self._ml / ("config" if self._request.kind == "Processing" else "input/config")
        config.mkdir(parents=True)
        (self._ml / "output").mkdir()
        self.log.touch()
        for place in self._request.inputs:
            self._place.storage.fetch(place.uri, self._ml / place.folder, self._place.pulse)
        if self._request.kind == "Processing":
            for place in self._request.outputs:
                (self._ml / place.folder).mkdir(parents=True, exist_ok=True)
            write_json(config / "processingjobconfig.json", self._processing_config())
        else:
            for name in ("model", "output/data", "input/data"):
                (self._ml / name).mkdir(parents=True, exist_ok=True)
            write_json(config / "hyperparameters.json", self._request.hyperparameters)
            write_json(config / "inputdataconfig.json", self._channels())
            self._bind_checkpoints()
        write_json(config / "resourceconfig.json", self._resources())

    def _processing_config(self) -> dict[str, object]:
        return {
            "ProcessingJobArn": job_arn("Processing", self._name),
            "ProcessingJobName": self._name,
            **self._arguments,
        }

    def _channels(self) -> dict[str, object]:
        return {
            place.name: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            }
            for place in self._request.inputs
        }

    def _resources(self) -> dict[str, object]:
        instance = self._request.instance_type
        if self._request.kind == "Processing":
            return {"current_host": _HOST, "hosts": [_HOST]}
        group = {"instance_group_name": "homogeneousCluster", "instance_type": instance}
        return {
            "current_host": _HOST,
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "hosts": [_HOST],
            "instance_groups": [{**group, "hosts": [_HOST]}],
            "network_interface_name": "lo",
        }

    def _bind_checkpoints(self) -> None:
        place = self._request.checkpoints
        if place is None:
            return
        folder = self._ml / place.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        stored = self._place.storage.shared_folder(place.uri)
        self._mirror = self._place.storage.mirror(folder, place.uri, self._request.kms_key)
        if self._mirror:
            self._mirror.restore(self._place.pulse)
        elif stored and self._place.runtime == "process":
            folder.symlink_to(stored, target_is_directory=True)

    def _command(self) -> Command:
        in_container = self._place.runtime != "process"
        environment = job_environment(
            self._place.surroundings,
            self._request.kind,
            self._name,
            self._request.environment,
            "/opt/ml" if in_container else str(self._ml),
            in_container,
        )
        if in_container:
            return self._container_command(environment)
        program, *rest = (*self._request.entrypoint, *self._request.arguments)
        program = sys.executable if program in {"python", "python3"} else program
        return Command((program, *rest), environment, self._ml, self.log, hold=self._place.hold)

    def _container_command(self, environment: Mapping[str, str]) -> Command:
        engine = self._place.runtime
        environment_file = self._folder / "environment"
        write_environment(environment_file, environment)
        mounts = {self._ml: "/opt/ml"}
        checkpoints = self._request.checkpoints
        stored = checkpoints and self._place.storage.shared_folder(checkpoints.uri)
        if checkpoints and stored:
            mounts[stored] = f"/opt/ml/{checkpoints.folder}"
        own = self._request.entrypoint
        default = ("train",) if self._request.kind == "Training" and not own else ()
        home = self._place.surroundings.home
        words = container_command(
            engine,
            name=self._name,
            image=self._request.image,
            command=(*own[1:], *self._request.arguments) or default,
            entrypoint=own[0] if own else None,
            environment_file=environment_file,
            mounts=mounts,
            home=home if self._place.surroundings.endpoint_url is None else None,
        )
        # the engine's own client keeps the whole environment: it needs the user's settings
        return Command(
            words,
            os.environ,
            self._folder,
            self.log,
            stop=(engine, "stop", "-t", "10", self._name),
            kill=(engine, "rm", "--force", self._name),
            hold=self._place.hold,
        )

    def _see(self, line: str) -> None:
        self._tail.append(line)
        for name, pattern in self._request.metrics:
            match = pattern.search(line)
            if match:
                with suppress(ValueError, TypeError):
                    self._metrics[name] = float(match[1])
        self._on_line(line)

    def _meanwhile(self) -> None:
        if self._mirror and time.monotonic() - self._mirrored > _CHECKPOINT_SECONDS:
            self._store_checkpoints()

    def _store_checkpoints(self) -> None:
        if self._mirror:
            self._mirror.store()
            self._mirrored = time.monotonic()

    def _raise_if_failed(self, ended: Ended) -> None:
        if ended.returncode == 0:
            return
        if ended.error:
            raise JobError(f"{ended.error}.")
        file = "message" if self._request.kind == "Processing" else "failure"
        said = ""
        with suppress(OSError):
            text = (self._ml / "output" / file).read_text(encoding="utf-8", errors="replace")
            said = text.strip()[:_FAILURE_CHARACTERS]
        if ended.signal:
            reason = f"The job was killed by signal {ended.signal}."
            raise JobError(f"{reason} {said}".strip(), INTERNAL_ERROR)
        last = next((line for line in reversed(self._tail) if line.strip()), "it wrote no log")
        raise JobError(said or f"The job ended with exit code {ended.returncode}: {last}")

    def _publish(self) -> list[str]:
        request, storage = self._request, self._place.storage
        if request.kind == "Processing":
            for place in request.outputs:
                folder = self._ml / place.folder
                storage.publish_folder(folder, place.uri, request.kms_key, self._place.pulse)
            return [place.uri for place in request.outputs]
        stored: list[str] = []
        model = model_address(request.model_path, self._name)
        for folder, target in (
            (self._ml / "model", model),
            (self._ml / "output" / "data", f"{model.removesuffix('model.tar.gz')}output.tar.gz"),
        ):
            if folder.name == "model" or any(folder.iterdir()):
                archive = self._folder / "archive.tar.gz"
                pack(folder, archive)
                storage.publish_file(archive, target, request.kms_key)
                stored.append(target)
        return stored

    def _clear(self) -> None:
        """Delete the job's folder; links in it (the checkpoints) are not followed."""
        shutil.rmtree(self._ml, ignore_errors=True)
        for name in ("environment", "archive.tar.gz"):
            (self._folder / name).unlink(missing_ok=True)
