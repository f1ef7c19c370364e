"""Executes a pipeline definition on this machine.

    options = RunOptions(home=Path(".slm"), parameters={"Epochs": 2}, source=Path.cwd())
    execution = run(json.loads(text), options, print)

What is not here: instances of more than one, step types beyond Processing, Training, Condition
and Fail, and MaxRuntimeInSeconds (a laptop is slower than the instance that was asked for).
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.local import runs
from pipeline.local.attempts import StepRunner
from pipeline.local.cache import Cache
from pipeline.local.containers import RUNTIMES, require_engine
from pipeline.local.cursor import Cursor
from pipeline.local.definition import JOB_TYPES, Definition, parse_definition
from pipeline.local.environment import Surroundings, commit_of
from pipeline.local.errors import UsageError
from pipeline.local.events import Event, ExecutionEnded, ExecutionStarted
from pipeline.local.expressions import resolve
from pipeline.local.fingerprints import FileHashes
from pipeline.local.jobs import JobPlace
from pipeline.local.locks import Lock
from pipeline.local.parameters import ParameterValue, bind_parameters
from pipeline.local.processes import StopRequest
from pipeline.local.requests import read_request
from pipeline.local.runs import Execution, StepRecord
from pipeline.local.s3 import S3Storage
from pipeline.local.scheduler import Scheduler
from pipeline.local.scope import ExecutionScope, PreflightScope
from pipeline.local.storage import FolderStorage, Storage


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to execute a definition.

    Attributes:
        home: Everything that the runner keeps, ``.slm``.
        parameters: Values for the definition's parameters, typed or as text.
        source: The repository: on the PYTHONPATH of jobs; its code is part of cache keys.
        runtime: ``process``, ``podman`` or ``docker``.
        resume: The execution to go on with; its definition and parameters are those recorded.
        endpoint_url: S3 and SageMaker at this address instead of a folder and MLflow.
        max_parallel: How many jobs may run side by side.
        pipeline: What ``Execution.PipelineName`` is.
    """

    home: Path
    parameters: Mapping[str, object]
    source: Path
    runtime: str = "process"
    resume: str | None = None
    endpoint_url: str | None = None
    max_parallel: int = 2
    pipeline: str = "local"


def run(
    definition: Mapping[str, Any], options: RunOptions, listener: Callable[[Event], None]
) -> Execution:
    """Execute a definition to its end and return its record.

    Ctrl-C and SIGTERM stop the jobs and end the execution as Stopped, without an exception; a
    second one does not wait for the jobs' grace period.

    Args:
        definition: The pipeline definition; with ``options.resume`` it may be empty, and has to
            be the recorded one otherwise.
        options: How.
        listener: Called with every event, from this thread.

    Raises:
        UsageError: An option or a parameter is wrong.
        DefinitionError: The definition is; nothing has been started.
        PipelineError: The home cannot be used.
    """
    options = replace(options, home=options.home.absolute(), source=options.source.absolute())
    _check_options(options)
    if options.resume:
        execution, parsed, folder, lock = _reopen(definition, options)
    else:
        execution, parsed, folder, lock = _create(definition, options)
    try:
        return _execute(execution, parsed, folder, lock, options, listener)
    finally:
        lock.release()


def _check_options(options: RunOptions) -> None:
    if options.runtime in RUNTIMES:
        require_engine(options.runtime)
    elif options.runtime != "process":
        known = ", ".join(("process", *RUNTIMES))
        raise UsageError(f"Runtime {options.runtime} is not known: use one of {known}.")
    if options.max_parallel < 1:
        raise UsageError(f"{options.max_parallel} jobs at a time cannot be: use 1 or more.")


def _create(
    document: Mapping[str, Any], options: RunOptions
) -> tuple[Execution, Definition, Path, Lock]:
    definition = parse_definition(document)
    parameters = bind_parameters(definition.parameters, options.parameters)
    _preflight(definition, parameters, options.runtime)
    name, folder, lock = runs.create(options.home)
    execution = Execution(
        id=name,
        status="Executing",
        started=runs.now(),
        parameters=parameters,
        steps={
            step.name: StepRecord(step.name, step.type, step.display_name)
            for step in definition.steps.values()
        },
        pipeline=options.pipeline,
        runtime=options.runtime,
        endpoint_url=options.endpoint_url,
    )
    runs.save_definition(folder, document)
    return execution, definition, folder, lock


def _reopen(
    document: Mapping[str, Any], options: RunOptions
) -> tuple[Execution, Definition, Path, Lock]:
    assert options.resume  # noqa: S101 - for the type checker
    execution, recorded, folder, lock = runs.reopen(options.home, options.resume)
    try:
        if document and dict(document) != recorded:
            raise UsageError(
                f"Execution {execution.id} runs another definition than the one given: "
                "resume it with its own, or start a new execution."
            )
        definition = parse_definition(recorded)
        for name, value in bind_parameters(
            definition.parameters, {**execution.parameters, **options.parameters}
        ).items():
            if value != execution.parameters[name]:
                raise UsageError(
                    f"Execution {execution.id} has {name}={execution.parameters[name]}, not "
                    f"{value}: resume it without --set, or start a new execution."
                )
        if options.endpoint_url != execution.endpoint_url:
            raise UsageError(
                f"Execution {execution.id} keeps its data at "
                f"{execution.endpoint_url or 'the home folder'}: resume it there."
            )
        _preflight(definition, execution.parameters, options.runtime)
    except BaseException:
        lock.release()
        raise
    for step in execution.steps.values():
        if step.status not in ("Succeeded", "Skipped"):
            execution = execution.with_step(step.name, status="NotStarted", failure_reason=None)
    execution = replace(
        execution, status="Executing", ended="", failure_reason=None, runtime=options.runtime
    )
    return execution, definition, folder, lock


def _preflight(
    definition: Definition, parameters: Mapping[str, ParameterValue], runtime: str
) -> None:
    """Read every job's arguments as far as they can be known before anything has run."""
    scope = PreflightScope(parameters)
    for step in definition.steps.values():
        if step.type in JOB_TYPES:
            arguments = Cursor(resolve(step.arguments, scope), step.arguments.path)
            request = read_request(step.type, arguments)
            if runtime == "process" and not request.entrypoint:
                arguments.fail(
                    "ContainerEntrypoint is missing: without a container there is no default "
                    "command; name one, or use --runtime podman."
                )


def open_storage(home: Path, endpoint_url: str | None = None) -> FolderStorage | S3Storage:
    """The store of a home, for putting data in and reading results."""
    if endpoint_url:
        return S3Storage(endpoint_url)
    return FolderStorage(home.absolute(), FileHashes(home.absolute() / "cache" / "hashes.json"))


def _execute(
    execution: Execution,
    definition: Definition,
    folder: Path,
    lock: Lock,
    options: RunOptions,
    listener: Callable[[Event], None],
) -> Execution:
    runs.save(folder, execution)
    hashes = FileHashes(options.home / "cache" / "hashes.json")
    storage: Storage = (
        S3Storage(options.endpoint_url)
        if options.endpoint_url
        else FolderStorage(options.home, hashes)
    )
    surroundings = Surroundings(
        home=options.home,
        source=options.source,
        execution_id=execution.id,
        commit=commit_of(options.source),
        endpoint_url=options.endpoint_url,
    )
    stop = StopRequest()
    place = JobPlace(surroundings, storage, options.runtime, stop, lock.descriptor)
    scheduler = Scheduler(
        definition=definition,
        execution=execution,
        folder=folder,
        runner=StepRunner(place, Cache(options.home, storage), hashes, folder),
        scope=lambda outputs: _scope(definition, execution, storage, outputs),
        listener=listener,
        stop=stop,
        max_parallel=options.max_parallel,
    )
    with _stopped_by_signals(scheduler):
        listener(ExecutionStarted(execution, resumed=options.resume is not None))
        try:
            ended = scheduler.run()
        finally:
            hashes.save()
        listener(ExecutionEnded(ended))
    return ended


def _scope(
    definition: Definition,
    execution: Execution,
    storage: Storage,
    outputs: Mapping[str, Mapping[str, object]],
) -> ExecutionScope:
    arn = f"arn:aws:sagemaker:local:000000000000:pipeline/{execution.pipeline}"
    return ExecutionScope(
        parameters=execution.parameters,
        variables={
            "StartDateTime": execution.started,
            "PipelineName": execution.pipeline,
            "PipelineArn": arn,
            "PipelineExecutionId": execution.id,
            "PipelineExecutionArn": f"{arn}/execution/{execution.id}",
        },
        outputs=outputs,
        files={
            (step.name, name): file
            for step in definition.steps.values()
            for name, file in (step.property_files or {}).items()
        },
        storage=storage,
    )


@contextmanager
def _stopped_by_signals(scheduler: Scheduler) -> Generator[None]:
    """Ctrl-C, SIGTERM and a closed terminal stop the jobs while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        scheduler.ask_to_stop()

    watched = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        watched.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
