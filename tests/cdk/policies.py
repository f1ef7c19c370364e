"""A small evaluator of IAM policies, for tests: is this call allowed by what was synthesized?

Follows "Policy evaluation logic" of the IAM user guide for one account: an explicit denial wins, an
identity's policy has to allow, and so has its permissions boundary. What it does not know (a policy
variable, another operator, an unresolved reference) raises instead of being guessed.

Leaves out: service control policies, session policies, other accounts, and grants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Statement = Mapping[str, Any]
Value = str | Sequence[str]
Context = Mapping[str, Value]


class UnknownPolicyError(Exception):
    """The policy says something that this evaluator does not know."""


@dataclass(frozen=True)
class Call:
    """One call, as IAM sees it."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)
    principal: Mapping[str, str] | None = None
    """``{"AWS": arn}`` or ``{"Service": name}``; only policies of resources look at it."""


# Whether a call is allowed ----------------------------------------------------------------


def is_allowed(
    call: Call,
    identity: Iterable[Statement],
    *,
    boundary: Iterable[Statement] | None = None,
    resource_policy: Iterable[Statement] = (),
) -> bool:
    """Whether an identity with these statements may make the call.

    Args:
        identity: All statements of the identity's policies.
        boundary: Those of its permissions boundary; None: it has none.
        resource_policy: Those of the resource's own policy, which can only refuse here.
    """
    if any(effect_of(call, statements) == "Deny" for statements in (identity, resource_policy)):
        return False
    if boundary is not None and effect_of(call, boundary) != "Allow":
        return False
    return effect_of(call, identity) == "Allow"


def effect_of(call: Call, statements: Iterable[Statement]) -> str | None:
    """``Deny``, ``Allow``, or None when no statement is about the call."""
    effects = {one["Effect"] for one in statements if _is_about(call, one)}
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else None


def _is_about(call: Call, statement: Statement) -> bool:
    return (
        _principal_matches(call, statement)
        and _part_matches(statement, "Action", call.action, ignore_case=True)
        and _part_matches(statement, "Resource", call.resource, ignore_case=False)
        and all(
            _condition_holds(operator, key, listed(expected), call.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _part_matches(statement: Statement, part: str, value: str, *, ignore_case: bool) -> bool:
    if part in statement:
        return _any_glob(listed(statement[part]), value, ignore_case=ignore_case)
    if f"Not{part}" in statement:
        return not _any_glob(listed(statement[f"Not{part}"]), value, ignore_case=ignore_case)
    return True  # a trust policy names no resource


def _principal_matches(call: Call, statement: Statement) -> bool:
    if "Principal" not in statement:
        return True
    principal = statement["Principal"]
    if principal == "*" or principal == {"AWS": "*"}:
        return True
    if call.principal is None:
        raise UnknownPolicyError("the policy names principals: say who calls")
    return any(
        _is_principal(kind, named, who)
        for kind, who in call.principal.items()
        for named in listed(principal.get(kind, []))
    )


def _is_principal(kind: str, named: str, who: str) -> bool:
    if kind == "AWS" and named.endswith(":root"):  # everybody in the account
        return named.split(":")[4] == who.split(":")[4]
    return named == who


# Conditions -------------------------------------------------------------------------------


def _arn_like(expected: str, value: str) -> bool:
    """Part by part: a wildcard does not reach over a colon, but in the last part."""
    wanted, given = expected.split(":", 5), value.split(":", 5)
    return len(wanted) == len(given) and all(map(_glob, wanted, given))


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: expected == value,
    "StringLike": lambda expected, value: _glob(expected, value),
    "ArnEquals": _arn_like,  # the two are one, says the user guide
    "ArnLike": _arn_like,
    "Bool": lambda expected, value: expected.lower() == value.lower(),
    "NumericLessThan": lambda expected, value: float(value) < float(expected),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def _condition_holds(operator: str, key: str, expected: Sequence[str], context: Context) -> bool:
    values = next(
        (listed(value) for name, value in context.items() if name.lower() == key.lower()), None
    )
    if operator == "Null":
        return (values is None) == (expected[0] == "true")
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    negated = name in _NEGATED
    test = _OPERATORS.get(_NEGATED.get(name, name))
    if test is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise UnknownPolicyError(f"condition operator {operator}")
    if values is None:
        if_absent = negated if quantifier == "" else quantifier == "ForAllValues"
        return rest.endswith("IfExists") or if_absent
    outcomes = [any(test(one, value) for one in expected) != negated for value in values]
    return any(outcomes) if quantifier == "ForAnyValue" else all(outcomes)


# Wildcards --------------------------------------------------------------------------------


def _any_glob(patterns: Sequence[str], value: str, *, ignore_case: bool) -> bool:
    if ignore_case:
        return any(_glob(pattern.lower(), value.lower()) for pattern in patterns)
    return any(_glob(pattern, value) for pattern in patterns)


def _glob(pattern: str, value: str) -> bool:
    if "${" in pattern:
        raise UnknownPolicyError(f"policy variable in {pattern}")
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def listed(value: Value) -> list[str]:
    """A value that may stand alone or in a list, as a list of strings."""
    values = [value] if isinstance(value, str | bool | int | float) else value
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


# From a template --------------------------------------------------------------------------


def resolve(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` of a template with every reference replaced by what ``names`` has for it.

    Args:
        names: Values by logical id (``Ref``), ``Id.Attribute`` (``Fn::GetAtt``), the name of an
            export (``Fn::ImportValue``) or of another stack's output (``Fn::GetStackOutput``).

    Raises:
        UnknownPolicyError: A reference is not in ``names``, or is of another kind.
    """
    if isinstance(value, list):
        return [resolve(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or not (next(iter(value)).startswith("Fn::") or "Ref" in value):
        return {key: resolve(one, names) for key, one in value.items()}
    [(function, argument)] = value.items()
    if function == "Fn::Join":
        return argument[0].join(resolve(argument[1], names))
    name = {
        "Ref": lambda: argument,
        "Fn::GetAtt": lambda: argument if isinstance(argument, str) else ".".join(argument),
        "Fn::ImportValue": lambda: resolve(argument, names),
        "Fn::GetStackOutput": lambda: argument["OutputName"],
    }.get(function, lambda: None)()
    if name not in names:
        raise UnknownPolicyError(f"{function} of {argument}")
    return names[name]


def statements_in(document: Mapping[str, Any], names: Mapping[str, str]) -> list[Statement]:
    """The statements of a policy document in a template, resolved."""
    found = resolve(document["Statement"], names)
    return found if isinstance(found, list) else [found]
