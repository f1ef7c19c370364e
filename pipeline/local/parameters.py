"""The parameters of a pipeline: what the definition declares, and the values of one execution."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.local.cursor import Cursor
from pipeline.local.errors import UsageError

TYPES = ("String", "Integer", "Float", "Boolean")
ParameterValue = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """A declared parameter; without a default a value has to be given."""

    name: str
    type: str
    default: ParameterValue | None
    choices: tuple[str, ...]


def read_parameters(root: Cursor) -> dict[str, Parameter]:
    """The declared parameters by name.

    Raises:
        DefinitionError: A duplicate name, an unknown type, or a default that does not fit.
    """
    parameters: dict[str, Parameter] = {}
    for cursor in root.items_of("Parameters"):
        name, kind = cursor.at("Name"), cursor.at("Type")
        if name.text() in parameters:
            name.fail(f"the name {name.value} is used by two parameters.")
        if kind.text() not in TYPES:
            kind.fail(f"parameter type {kind.value} is not known; known are {', '.join(TYPES)}.")
        choices = tuple(choice.text() for choice in cursor.items_of("EnumValues"))
        parameter = Parameter(name.text(), kind.text(), None, choices)
        default = cursor.find("DefaultValue")
        if default is not None:
            try:
                value = _typed(parameter, default.value)
            except UsageError as error:
                default.fail(str(error))
            parameter = Parameter(name.text(), kind.text(), value, choices)
        parameters[parameter.name] = parameter
    return parameters


def bind_parameters(
    declared: Mapping[str, Parameter], given: Mapping[str, object]
) -> dict[str, ParameterValue]:
    """The value of every declared parameter, from ``given`` (typed, or as text) or its default.

    Raises:
        UsageError: An unknown name, a value of the wrong type or not among the choices, or a
            parameter without default that was not given.
    """
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(declared)}."
            raise UsageError(f"There is no parameter {name}: {hint}")
    values: dict[str, ParameterValue] = {}
    for name, parameter in declared.items():
        if name in given:
            values[name] = _typed(parameter, given[name])
        elif parameter.default is None:
            raise UsageError(f"Parameter {name} has no default: give it with --set {name}=...")
        else:
            values[name] = parameter.default
    return values


def _typed(parameter: Parameter, value: object) -> ParameterValue:
    typed = _convert(parameter.type, value)
    if typed is None:
        article = "an" if parameter.type == "Integer" else "a"
        raise UsageError(
            f"Parameter {parameter.name} is {article} {parameter.type}, and {value!r} is not."
        )
    if parameter.choices and typed not in parameter.choices:
        choices = ", ".join(parameter.choices)
        raise UsageError(f"Parameter {parameter.name} is one of {choices}, and {value!r} is not.")
    return typed


def _convert(kind: str, value: object) -> ParameterValue | None:
    """``value`` as the type ``kind``; None if it is not one."""
    if kind == "String":
        return value if isinstance(value, str) else None
    if kind == "Boolean":
        if isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower())
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if kind == "Integer":
        if isinstance(value, float):
            return None
        try:
            return int(value)
        except ValueError:
            return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
