"""The conditions of a Condition step; all of a step's conditions have to hold."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import cast

from pipeline.local.cursor import Cursor
from pipeline.local.expressions import Reference, Scope, references, resolve

_ORDERINGS: dict[str, Callable[[float | str, float | str], bool]] = {
    "GreaterThan": cast("Callable[[float | str, float | str], bool]", operator.gt),
    "GreaterThanOrEqualTo": cast("Callable[[float | str, float | str], bool]", operator.ge),
    "LessThan": cast("Callable[[float | str, float | str], bool]", operator.lt),
    "LessThanOrEqualTo": cast("Callable[[float | str, float | str], bool]", operator.le),
}
CONDITIONS = frozenset({"Equals", "In", "Not", "Or", *_ORDERINGS})


def condition_references(cursor: Cursor) -> Iterator[Reference]:
    """What a condition refers to.

    Raises:
        DefinitionError: An unknown or malformed condition.
    """
    kind = cursor.at("Type")
    match kind.text():
        case "Not":
            yield from condition_references(cursor.at("Condition"))
        case "Or":
            for condition in cursor.at("Conditions").items():
                yield from condition_references(condition)
        case "In":
            yield from references(cursor.at("QueryValue"))
            for value in cursor.at("Values").items():
                yield from references(value)
        case "Equals" | "GreaterThan" | "GreaterThanOrEqualTo" | "LessThan" | "LessThanOrEqualTo":
            yield from references(cursor.at("LeftValue"))
            yield from references(cursor.at("RightValue"))
        case unknown:
            known = ", ".join(sorted(CONDITIONS))
            kind.fail(f"condition {unknown} is not known; this runner has {known}.")


def holds(cursor: Cursor, scope: Scope) -> bool:
    """Whether the condition at ``cursor`` holds.

    Raises:
        DefinitionError: Its two sides are of different types and cannot be compared.
    """
    kind = cursor.at("Type").text()
    if kind == "Not":
        return not holds(cursor.at("Condition"), scope)
    if kind == "Or":
        return any(holds(condition, scope) for condition in cursor.at("Conditions").items())
    if kind == "In":
        value = resolve(cursor.at("QueryValue"), scope)
        candidates = [resolve(item, scope) for item in cursor.at("Values").items()]
        return any(_comparable(value, other) and value == other for other in candidates)
    left = resolve(cursor.at("LeftValue"), scope)
    right = resolve(cursor.at("RightValue"), scope)
    if not _comparable(left, right):
        cursor.fail(f"{left!r} and {right!r} are of different types and cannot be compared.")
    if kind == "Equals":
        return left == right
    if isinstance(left, bool) or not isinstance(left, int | float | str):
        cursor.fail(f"{left!r} and {right!r} have no order.")
    return _ORDERINGS[kind](left, cast("float | str", right))


def _comparable(left: object, right: object) -> bool:
    def kind(value: object) -> type:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float if is_number else type(value)

    return kind(left) is kind(right)
