"""The expressions of a pipeline definition: ``Get``, ``Std:Join`` and ``Std:JsonGet``.

An expression is an object with one key. ``references`` lists what a value refers to, so that
the definition can be checked before anything starts; ``resolve`` computes its value. Both refuse
a function that they do not know. Conditions are in ``conditions.py``.

Source: "Pipeline definition JSON schema", https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from pipeline.local.cursor import Cursor
from pipeline.local.errors import DefinitionError

EXECUTION_VARIABLES = frozenset(
    {
        "StartDateTime",
        "CurrentDateTime",
        "PipelineName",
        "PipelineArn",
        "PipelineExecutionId",
        "PipelineExecutionArn",
        "TrainingJobName",
        "ProcessingJobName",
    }
)

PathPiece = str | int
_PIECE = re.compile(
    r"""\.?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>\d+)\]|\['(?P<one>[^']*)'\]|\["(?P<two>[^"]*)"\]"""
)
_NAMING_KEYS = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")
"""SageMaker lets a list be indexed by name: ``Outputs['prepared']``."""


@dataclass(frozen=True)
class Reference:
    """Something outside the value that it depends on.

    Attributes:
        kind: What ``name`` is: a parameter, an execution variable, a property of a step or a
            property file of a step.
        step: The step; empty for parameters and execution variables.
        name: Name of the parameter or variable or file, or the path of the property.
        path: JSON path of the expression.
    """

    kind: Literal["parameter", "execution", "property", "file"]
    step: str
    name: str
    path: str


class Scope(Protocol):
    """Where the values of references come from."""

    def parameter(self, name: str) -> object: ...
    def execution(self, name: str) -> object: ...
    def property(self, step: str, path: str) -> object: ...
    def in_property_file(self, step: str, name: str, path: str) -> object: ...
    def in_document(self, uri: str, path: str) -> object: ...


def is_expression(value: object) -> bool:
    """Whether ``value`` is an expression, known or not."""
    if not isinstance(value, dict) or len(cast("dict[str, object]", value)) != 1:
        return False
    key = next(iter(cast("dict[str, object]", value)))
    return key == "Get" or key.startswith("Std:")


def references(cursor: Cursor) -> Iterator[Reference]:
    """Everything that the value at ``cursor`` refers to, at any depth.

    Raises:
        DefinitionError: An unknown function, or a malformed expression.
    """
    if is_expression(cursor.value):
        yield from _references_of_expression(cursor)
    elif isinstance(cursor.value, dict):
        for _, member in cursor.members():
            yield from references(member)
    elif isinstance(cursor.value, list):
        for item in cursor.items():
            yield from references(item)


def _references_of_expression(cursor: Cursor) -> Iterator[Reference]:
    function, argument = next(cursor.members())
    match function:
        case "Get":
            yield _reference(cursor)
        case "Std:Join":
            for value in argument.at("Values").items():
                yield from references(value)
        case "Std:JsonGet":
            path = argument.at("Path")
            _pieces(path)
            file = argument.find("PropertyFile")
            if file is None:
                yield from references(argument.at("S3Uri"))
                return
            reference = _reference(file)
            if reference.kind != "file":
                file.fail("a property file is referred to as Steps.<step>.PropertyFiles.<name>.")
            yield reference
        case _:
            cursor.fail(
                f"function {function} is not known; this runner has Get, Std:Join and Std:JsonGet."
            )


def _reference(cursor: Cursor) -> Reference:
    if not is_expression(cursor.value) or "Get" not in cursor.mapping():
        cursor.fail("expected a Get expression.")
    name = cursor.at("Get").text()
    root, _, rest = name.partition(".")
    if root == "Parameters" and rest:
        return Reference("parameter", "", rest, cursor.path)
    if root == "Execution" and rest:
        if rest not in EXECUTION_VARIABLES:
            known = ", ".join(sorted(EXECUTION_VARIABLES))
            cursor.fail(f"{name} is not known; the execution variables are {known}.")
        return Reference("execution", "", rest, cursor.path)
    step, _, below = rest.partition(".")
    if root == "Steps" and step:
        if below.startswith("PropertyFiles."):
            return Reference("file", step, below.removeprefix("PropertyFiles."), cursor.path)
        _pieces(Cursor(below, cursor.path))
        return Reference("property", step, below, cursor.path)
    return cursor.fail(f"{name} is not a reference to Parameters, Execution or Steps.")


def resolve(cursor: Cursor, scope: Scope) -> object:
    """The value at ``cursor`` with every expression in it replaced by what it stands for."""
    value = cursor.value
    if is_expression(value):
        return _resolve_expression(cursor, scope)
    if isinstance(value, dict):
        return {key: resolve(member, scope) for key, member in cursor.members()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in cursor.items()]
    return value


def _resolve_expression(cursor: Cursor, scope: Scope) -> object:
    function, argument = next(cursor.members())
    if function == "Get":
        reference = _reference(cursor)
        if reference.kind == "parameter":
            return scope.parameter(reference.name)
        if reference.kind == "execution":
            return scope.execution(reference.name)
        if reference.kind == "file":
            cursor.fail("a property file can only be read with Std:JsonGet.")
        return scope.property(reference.step, reference.name)
    if function == "Std:Join":
        separator = cast("str", argument.mapping().get("On") or "")
        values = argument.at("Values").items()
        return separator.join(as_text(resolve(value, scope)) for value in values)
    return _resolve_json_get(argument, scope)


def _resolve_json_get(argument: Cursor, scope: Scope) -> object:
    path = argument.at("Path").text()
    file = argument.find("PropertyFile")
    if file is None:
        return scope.in_document(as_text(resolve(argument.at("S3Uri"), scope)), path)
    reference = _reference(file)
    return scope.in_property_file(reference.step, reference.name, path)


def as_text(value: object) -> str:
    """How SageMaker writes a value where a text is needed (an argument, a hyperparameter)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def parse_path(path: str) -> tuple[PathPiece, ...]:
    """Split a property path or JsonPath: dots, ``[0]``, ``['name']``, an optional ``$`` in front.

    Raises:
        ValueError: The path uses more of JsonPath than SageMaker supports.
    """
    pieces: list[PathPiece] = []
    rest = path.removeprefix("$")
    position = 0
    while position < len(rest):
        match = _PIECE.match(rest, position)
        if match is None:
            raise ValueError(rest[position:])
        index = match["index"]
        names = (match["name"], match["one"], match["two"])
        pieces.append(int(index) if index else next(n for n in names if n is not None))
        position = match.end()
    if not pieces:
        raise ValueError(path)
    return tuple(pieces)


def look_up(document: object, path: str) -> object:
    """The value at ``path`` in ``document``; lists may also be indexed by their elements' name.

    Raises:
        LookupError: There is nothing; its message says which piece is missing.
    """
    value = document
    for piece in parse_path(path):
        value = _step_into(value, piece)
    return value


def _step_into(value: object, piece: PathPiece) -> object:
    if isinstance(value, dict):
        mapping = cast("dict[str, object]", value)
        if str(piece) in mapping:
            return mapping[str(piece)]
    elif isinstance(value, list):
        items = cast("list[object]", value)
        if isinstance(piece, int) and piece < len(items):
            return items[piece]
        for item in items:
            if isinstance(item, dict) and piece in [
                cast("dict[str, object]", item).get(key) for key in _NAMING_KEYS
            ]:
                return cast("object", item)
    raise LookupError(f"{piece!r} is missing")


def _pieces(cursor: Cursor) -> None:
    try:
        parse_path(cursor.text())
    except ValueError as error:
        raise DefinitionError(
            cursor.path,
            f"path {cursor.value!r} cannot be read at {str(error)!r}; "
            "names, dots, [0] and ['name'] are supported.",
        ) from None
