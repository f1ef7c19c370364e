"""What the runner reads from a step's arguments: CreateProcessingJob and CreateTrainingJob.

The same reader checks a definition before anything starts (references to steps filled in with
placeholders) and reads the resolved arguments of a step that is about to run.

Read over on purpose: instance types, volumes, roles, networks and StoppingCondition. They are
about money and the account, and a laptop is slower than the instance that was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipeline.local.cursor import Cursor
from pipeline.local.errors import StorageError
from pipeline.local.expressions import as_text
from pipeline.local.storage import parse_address

_ML_ROOT = PurePosixPath("/opt/ml")
_MODES = ("File", "FastFile")


@dataclass(frozen=True)
class Place:
    """A folder of the job, relative to ``/opt/ml``, and the address that it is tied to."""

    name: str
    uri: str
    folder: PurePosixPath


@dataclass(frozen=True)
class JobRequest:
    """A Processing or Training job, with everything resolved.

    Attributes:
        kind: ``Processing`` or ``Training``.
        entrypoint: The command; empty when the image's own is meant.
        inputs: What is copied in before the job starts.
        outputs: What a Processing job leaves.
        model_path: Where a Training job's archives go, in a folder named after the job.
        checkpoints: The folder that is kept in step with its address while the job runs.
        metrics: Names and compiled regular expressions, for the log of a Training job.
    """

    kind: str
    image: str
    instance_type: str
    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: dict[str, str]
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...] = ()
    kms_key: str | None = None
    hyperparameters: dict[str, str] = field(default_factory=dict[str, str])
    model_path: str = ""
    checkpoints: Place | None = None
    metrics: tuple[tuple[str, re.Pattern[str]], ...] = ()


def read_request(kind: str, arguments: Cursor) -> JobRequest:
    """Read the resolved arguments of a Processing or Training step.

    Raises:
        DefinitionError: Something is missing, ill-typed, or cannot be done on one machine.
    """
    return _processing(arguments) if kind == "Processing" else _training(arguments)


def _processing(arguments: Cursor) -> JobRequest:
    cluster = arguments.at("ProcessingResources").at("ClusterConfig")
    _one_instance(cluster)
    application = arguments.at("AppSpecification")
    output_config = arguments.find("ProcessingOutputConfig")
    outputs = output_config.items_of("Outputs") if output_config else []
    return JobRequest(
        kind="Processing",
        image=application.at("ImageUri").text(),
        instance_type=cluster.at("InstanceType").text(),
        entrypoint=_texts(application, "ContainerEntrypoint"),
        arguments=_texts(application, "ContainerArguments"),
        environment=_text_map(arguments, "Environment"),
        inputs=tuple(_processing_input(i) for i in arguments.items_of("ProcessingInputs")),
        outputs=tuple(_processing_output(output) for output in outputs),
        kms_key=output_config.text_of("KmsKeyId") if output_config else None,
    )


def _processing_input(cursor: Cursor) -> Place:
    source = cursor.find("S3Input")
    if source is None:
        cursor.fail("only S3Input is supported by the runner for one machine.")
    _plain(source, "S3DataType", ("S3Prefix",))
    _plain(source, "S3InputMode", _MODES)
    return _place(cursor.at("InputName").text(), source, "LocalPath")


def _processing_output(cursor: Cursor) -> Place:
    target = cursor.find("S3Output")
    if target is None:
        cursor.fail("only S3Output is supported by the runner for one machine.")
    return _place(cursor.at("OutputName").text(), target, "LocalPath")


def _training(arguments: Cursor) -> JobRequest:
    resources = arguments.at("ResourceConfig")
    _one_instance(resources)
    algorithm = arguments.at("AlgorithmSpecification")
    output = arguments.at("OutputDataConfig")
    path = output.at("S3OutputPath")
    _check_address(path)
    checkpoints = arguments.find("CheckpointConfig")
    return JobRequest(
        kind="Training",
        image=algorithm.at("TrainingImage").text(),
        instance_type=resources.at("InstanceType").text(),
        entrypoint=_texts(algorithm, "ContainerEntrypoint"),
        arguments=_texts(algorithm, "ContainerArguments"),
        environment=_text_map(arguments, "Environment"),
        inputs=tuple(_channel(channel) for channel in arguments.items_of("InputDataConfig")),
        kms_key=output.text_of("KmsKeyId"),
        hyperparameters=_text_map(arguments, "HyperParameters"),
        model_path=path.text(),
        checkpoints=_checkpoints(checkpoints) if checkpoints else None,
        metrics=tuple(_metric(metric) for metric in algorithm.items_of("MetricDefinitions")),
    )


def _channel(cursor: Cursor) -> Place:
    name = cursor.at("ChannelName").text()
    source = cursor.at("DataSource").find("S3DataSource")
    if source is None:
        cursor.fail("only S3DataSource is supported by the runner for one machine.")
    _plain(source, "S3DataType", ("S3Prefix",))
    _plain(cursor, "InputMode", _MODES)
    _plain(cursor, "CompressionType", ("None",))
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name in {".", ".."}:
        cursor.at("ChannelName").fail(f"{name!r} is not a channel name: use letters and digits.")
    _check_address(source.at("S3Uri"))
    folder = PurePosixPath("input/data") / name
    return Place(name, source.at("S3Uri").text(), folder)


def _checkpoints(cursor: Cursor) -> Place:
    if cursor.find("LocalPath"):
        return _place("checkpoints", cursor, "LocalPath")
    _check_address(cursor.at("S3Uri"))
    return Place("checkpoints", cursor.at("S3Uri").text(), PurePosixPath("checkpoints"))


def _metric(cursor: Cursor) -> tuple[str, re.Pattern[str]]:
    expression = cursor.at("Regex")
    try:
        pattern = re.compile(expression.text())
    except re.error as error:
        expression.fail(f"the regular expression is not valid: {error}.")
    if pattern.groups < 1:
        expression.fail("the regular expression has no group for the value.")
    return cursor.at("Name").text(), pattern


def _place(name: str, cursor: Cursor, local: str) -> Place:
    _check_address(cursor.at("S3Uri"))
    path = PurePosixPath(cursor.at(local).text())
    if not path.is_relative_to(_ML_ROOT) or path == _ML_ROOT or ".." in path.parts:
        cursor.at(local).fail(f"{path} does not lie below {_ML_ROOT}.")
    return Place(name, cursor.at("S3Uri").text(), path.relative_to(_ML_ROOT))


def _check_address(cursor: Cursor) -> None:
    try:
        parse_address(cursor.text())
    except StorageError as error:
        cursor.fail(str(error))


def _one_instance(cluster: Cursor) -> None:
    count = cluster.at("InstanceCount")
    if int(count.number()) != 1:
        count.fail(
            f"{count.value} instances were asked for; one machine is one instance: set it to 1."
        )


def _plain(cursor: Cursor, key: str, supported: tuple[str, ...]) -> None:
    value = cursor.text_of(key)
    if value is not None and value not in supported:
        cursor.at(key).fail(f"{value} is not supported by the runner; use {supported[0]}.")


def _texts(cursor: Cursor, key: str) -> tuple[str, ...]:
    return tuple(as_text(item.value) for item in cursor.items_of(key))


def _text_map(cursor: Cursor, key: str) -> dict[str, str]:
    found = cursor.find(key)
    return {name: as_text(item.value) for name, item in found.members()} if found else {}
