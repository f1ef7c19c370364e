"""CloudWatch's metric math, for what our dashboard and alarms use of it.

What it does not know raises instead of being guessed. Leaves out: functions over time, and ids that
an expression reads of other expressions.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping


def compute(expression: str, values: Mapping[str, float | None]) -> float | None:
    """An expression's value in one period; None where a metric that it needs has none.

    Args:
        expression: Such as ``100 * FILL(failed, 0) / answered``.
        values: Of the metrics in that period, by id.

    Raises:
        ValueError: The expression says something that this does not know.
    """
    return _compute(ast.parse(expression, mode="eval").body, values)


def _compute(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _both(_compute(left, values), _compute(right, values), type(op))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _both(_compute(left, values), _compute(right, values), type(op))
        case ast.Call(func=ast.Name(id="FILL"), args=[metric, filling]):
            found = _compute(metric, values)
            return _compute(filling, values) if found is None else found
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _compute(then if _compute(condition, values) else otherwise, values)
        case _:
            raise ValueError(f"{ast.unparse(node)} is not known")


def _both(left: float | None, right: float | None, op: type) -> float | None:
    """CloudWatch shows nothing where a metric is missing or something is divided by zero."""
    if left is None or right is None or (op is ast.Div and right == 0):
        return None
    match op:
        case ast.Add:
            return left + right
        case ast.Sub:
            return left - right
        case ast.Mult:
            return left * right
        case ast.Div:
            return left / right
        case ast.GtE:
            return float(left >= right)
        case ast.Gt:
            return float(left > right)
        case _:
            raise ValueError(f"{op.__name__} is not known")
