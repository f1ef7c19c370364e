"""Reads a pipeline definition and checks all of it before anything starts.

The definition is the JSON that SageMaker executes, version 2020-12-01. Steps of the types
Processing, Training, Condition and Fail are known; whatever else stands in it is refused with
its JSON path, and so are dangling references, cycles and duplicate names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from pipeline.local.conditions import condition_references
from pipeline.local.cursor import Cursor
from pipeline.local.describe import JobFacts, describe
from pipeline.local.expressions import Reference, is_expression, look_up, parse_path, references
from pipeline.local.parameters import Parameter, read_parameters

VERSION = "2020-12-01"
JOB_TYPES = ("Processing", "Training")
STEP_TYPES = (*JOB_TYPES, "Condition", "Fail")
EXCEPTION_TYPES = (
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
)
_STEP_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,63}")
_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed job is tried again; the interval in seconds grows by the rate each time."""

    exceptions: frozenset[str]
    interval: float = 1.0
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after: timedelta | None = None


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file in an output of a Processing job that expressions can read."""

    output: str
    file: str


@dataclass(frozen=True)
class Step:
    """One step, checked.

    Attributes:
        arguments: Unresolved, with their path.
        depends_on: Every step that has to end first: named, referred to, or the Condition that
            decides about this one.
        branch: The Condition step that this step hangs on and the outcome that it needs.
        cached: Whether an earlier result may be reused; at most as old as ``cache_age``.
    """

    name: str
    type: str
    arguments: Cursor
    display_name: str
    path: str
    depends_on: frozenset[str] = frozenset()
    branch: tuple[str, bool] | None = None
    cached: bool = False
    cache_age: timedelta | None = None
    retries: tuple[RetryPolicy, ...] = ()
    property_files: Mapping[str, PropertyFile] | None = None


@dataclass(frozen=True)
class Definition:
    """A pipeline definition that can be executed; the steps in the order of the document."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]


def parse_definition(document: Mapping[str, object]) -> Definition:
    """Read and check a definition.

    Raises:
        DefinitionError: The first element that is wrong, with its path.
    """
    root = Cursor(dict(document))
    version = root.at("Version")
    if version.text() != VERSION:
        version.fail(f"version {version.value} is not known; this runner executes {VERSION}.")
    parameters = read_parameters(root)
    steps: dict[str, Step] = {}
    for step in _read_steps(root.at("Steps"), None):
        if step.name in steps:
            Cursor(step.name, step.path).fail(f"the name {step.name} is used by two steps.")
        steps[step.name] = step
    if not steps:
        root.at("Steps").fail("the pipeline has no steps.")
    checked = {name: _connect(step, steps, parameters) for name, step in steps.items()}
    _refuse_cycles(checked)
    return Definition(parameters, checked)


def _read_steps(steps: Cursor, branch: tuple[str, bool] | None) -> Iterator[Step]:
    for cursor in steps.items():
        step = _read_step(cursor, branch)
        yield step
        if step.type == "Condition":
            for key, outcome in (("IfSteps", True), ("ElseSteps", False)):
                below = step.arguments.find(key)
                if below is not None:
                    yield from _read_steps(below, (step.name, outcome))


def _read_step(cursor: Cursor, branch: tuple[str, bool] | None) -> Step:
    name = cursor.at("Name")
    if not _STEP_NAME.fullmatch(name.text()):
        name.fail(
            f"{name.value!r} is not a step name: letters, digits and inner hyphens, up to 64."
        )
    kind = cursor.at("Type")
    if kind.text() not in STEP_TYPES:
        kind.fail(
            f"step type {kind.value} is not known; this runner executes {', '.join(STEP_TYPES)}."
        )
    cache = cursor.find("CacheConfig")
    files = {file.at("PropertyFileName").text(): file for file in cursor.items_of("PropertyFiles")}
    return Step(
        name=name.text(),
        type=kind.text(),
        arguments=cursor.at("Arguments"),
        display_name=cursor.text_of("DisplayName") or name.text(),
        path=cursor.path,
        depends_on=frozenset(_named_dependencies(cursor)),
        branch=branch,
        cached=cache is not None and cache.mapping().get("Enabled") is True,
        cache_age=_duration(cache.find("ExpireAfter")) if cache else None,
        retries=tuple(_read_retry(policy) for policy in cursor.items_of("RetryPolicies")),
        property_files={
            key: PropertyFile(file.at("OutputName").text(), file.at("FilePath").text())
            for key, file in files.items()
        },
    )


def _named_dependencies(cursor: Cursor) -> Iterator[str]:
    for item in cursor.items_of("DependsOn"):
        if isinstance(item.value, str):
            yield item.text()
            continue
        trigger = item.at("Trigger")
        if trigger.text() != "Completed":
            trigger.fail("only Completed is supported: a step runs when those before it succeeded.")
        yield item.at("Step").text()


def _duration(cursor: Cursor | None) -> timedelta | None:
    if cursor is None:
        return None
    match = _DURATION.fullmatch(cursor.text())
    if match is None or not any(match.groups()):
        cursor.fail(f"{cursor.value!r} is not an ISO 8601 duration such as P30D or T12H.")
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    days = 365 * part["years"] + 30 * part["months"] + 7 * part["weeks"] + part["days"]
    return timedelta(
        days=days, hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"]
    )


def _read_retry(cursor: Cursor) -> RetryPolicy:
    for kind in cursor.at("ExceptionType").items():
        if kind.text() not in EXCEPTION_TYPES:
            kind.fail(f"{kind.value} is not known; known are {', '.join(EXCEPTION_TYPES)}.")
    attempts = cursor.number_of("MaxAttempts")
    minutes = cursor.number_of("ExpireAfterMin")
    if attempts is None and minutes is None:
        cursor.fail("a retry policy needs MaxAttempts or ExpireAfterMin.")
    interval, rate = cursor.number_of("IntervalSeconds"), cursor.number_of("BackoffRate")
    return RetryPolicy(
        exceptions=frozenset(kind.text() for kind in cursor.at("ExceptionType").items()),
        interval=1.0 if interval is None else interval,
        backoff_rate=2.0 if rate is None else rate,
        max_attempts=None if attempts is None else int(attempts),
        expire_after=None if minutes is None else timedelta(minutes=minutes),
    )


def _connect(step: Step, steps: Mapping[str, Step], parameters: Mapping[str, Parameter]) -> Step:
    """Check everything that a step refers to and complete its dependencies."""
    for name in step.depends_on:
        if name not in steps:
            Cursor(name, f"{step.path}.DependsOn").fail(f"there is no step {name}.")
    needed = set(step.depends_on)
    for reference in _references_of(step):
        _check_reference(reference, steps, parameters)
        if reference.step:
            needed.add(reference.step)
    if step.branch:
        needed.add(step.branch[0])
    _check_property_files(step)
    return replace(step, depends_on=frozenset(needed))


def message_of(step: Step) -> Cursor:
    """What a Fail step says; it may say nothing."""
    message = step.arguments.mapping().get("ErrorMessage", "")
    return Cursor(message, f"{step.arguments.path}.ErrorMessage")


def _references_of(step: Step) -> Iterator[Reference]:
    if step.type == "Condition":
        for condition in step.arguments.at("Conditions").items():
            yield from condition_references(condition)
    elif step.type == "Fail":
        yield from references(message_of(step))
    else:
        step.arguments.mapping()
        yield from references(step.arguments)


def _check_reference(
    reference: Reference, steps: Mapping[str, Step], parameters: Mapping[str, Parameter]
) -> None:
    cursor = Cursor(reference.name, reference.path)
    if reference.kind == "parameter":
        if reference.name not in parameters:
            cursor.fail(f"there is no parameter {reference.name}.")
        return
    if reference.kind == "execution":
        return
    step = steps.get(reference.step)
    if step is None:
        cursor.fail(f"there is no step {reference.step}.")
    if reference.kind == "file":
        if reference.name not in (step.property_files or {}):
            cursor.fail(f"step {step.name} has no property file {reference.name}.")
    elif not _has_property(step, reference.name):
        cursor.fail(f"step {step.name} has no property {reference.name}.")


def _has_property(step: Step, path: str) -> bool:
    if step.type == "Condition":
        return parse_path(path) == ("Outcome",)
    if step.type == "Fail":
        return False
    arguments = step.arguments.mapping()
    metrics: tuple[tuple[str, float], ...] = ()
    if step.type == "Training":
        declared = step.arguments.at("AlgorithmSpecification").items_of("MetricDefinitions")
        metrics = tuple((metric.at("Name").text(), 0.0) for metric in declared)
    value: object = describe(step.type, arguments, JobFacts(metrics=metrics))
    for piece in parse_path(path):
        if is_expression(value):
            return True
        try:
            value = look_up(value, f"[{piece}]" if isinstance(piece, int) else f"['{piece}']")
        except LookupError:
            return False
    return True


def _check_property_files(step: Step) -> None:
    for index, file in enumerate((step.property_files or {}).values()):
        config = step.arguments.find("ProcessingOutputConfig")
        outputs = config.items_of("Outputs") if config else []
        if file.output not in [output.at("OutputName").text() for output in outputs]:
            Cursor(file.output, f"{step.path}.PropertyFiles[{index}].OutputName").fail(
                f"step {step.name} has no output {file.output}."
            )


def _refuse_cycles(steps: Mapping[str, Step]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            cycle = " -> ".join((*trail[trail.index(name) :], name))
            Cursor(name, steps[name].path).fail(f"the steps wait for each other: {cycle}.")
        if name not in done:
            for other in sorted(steps[name].depends_on):
                visit(other, (*trail, name))
            done.add(name)

    for name in steps:
        visit(name, ())
