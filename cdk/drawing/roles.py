"""docs/roles.md: every policy as a table, written from the templates.

One table for each service role and permission set, then the permissions boundary, the budget's
denial, and the one list of statements on every resource. ARNs are shortened as the page itself
says.

Leaves out: policies of resources, which docs/security.md describes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cdk.drawing.access import (
    Principal,
    Statement,
    is_boundary,
    principals,
    read_statements,
    trusted,
)
from cdk.drawing.account import KEY_ID, AccountTemplates, listed
from cdk.drawing.reasons import key_of, reason_of
from cdk.roles.wildcards import WILDCARDS

_ROLE = re.compile(r"arn:[^:]+:iam::([0-9]{12}):role/")
_HEAD = "| statement, and why | actions | resources, and conditions |\n|---|---|---|"


def write(account: AccountTemplates) -> str:
    """The page's text."""
    return "\n".join(_lines(account)).rstrip() + "\n"


def _lines(account: AccountTemplates) -> Iterator[str]:
    settings = account.settings
    short = _Short(account)
    who = principals(account)
    yield "# Roles"
    yield ""
    yield (
        "Who may do what, statement by statement. This page is written by `make diagram` from the "
        "synthesized templates of dev; a test fails when the two differ. What it amounts to is "
        "drawn in [images/security.svg](images/security.svg) and told in "
        "[security.md](security.md)."
    )
    yield ""
    yield from _notation(account)
    yield "## Service roles"
    yield ""
    yield (
        f"Every role has a [permissions boundary](#the-permissions-boundaries), those of promotion "
        f"and of delivery their own and all others `{settings.boundary_name}`, and nobody but who "
        "is named may assume it."
    )
    yield ""
    for one in who:
        if one.kind == "service":
            yield from _section(one, _of_role(one), short)
    yield "## Permission sets"
    yield ""
    yield (
        "People have no IAM user, group or access key; they sign in to IAM Identity Center and get "
        "a session of one of these. They exist where `identity.instance_arn` is set, which this "
        "page assumes."
    )
    yield ""
    for one in who:
        if one.kind == "people":
            yield from _section(one, _of_set(one), short)
    yield from _boundary(who, short)
    yield from _denial(account, short)
    yield from _wildcards(account, who)


def _notation(account: AccountTemplates) -> Iterator[str]:
    settings = account.settings
    buckets = {**settings.buckets, "access-logs": settings.access_log_bucket}
    yield (
        f"Account {settings.account} is a placeholder{_and_others(account)}. ARNs are shortened: "
        "partition, account and region are left out "
        f"(`sagemaker:pipeline/{settings.pipeline_name}`), `key/{KEY_ID}` is the one key, and the "
        "buckets are called by their purpose:"
    )
    yield ""
    yield "| here | bucket |\n|---|---|"
    for purpose, name in buckets.items():
        yield f"| `s3:{purpose}` | `{name}` |"
    yield ""


def _and_others(account: AccountTemplates) -> str:
    """The accounts that are delivered to, which are placeholders as well."""
    statements = (one for who in principals(account) for one in who.statements)
    matches = (_ROLE.match(resource) for one in statements for resource in one.resources)
    numbers = {found[1] for found in matches if found}
    others = sorted(numbers - {account.settings.account})
    return f", and so are {' and '.join(others)}" if others else ""


def _of_role(one: Principal) -> str:
    role = one.resource.properties
    services = " and ".join(f"`{who}`" if "*" in who else who for who in trusted(one.resource))
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    here = " for something in this account" if "aws:SourceAccount" in str(trust) else ""
    setting = one.resource.setting
    only = f", only where `{setting}` is set" if setting else ""
    return f"`{one.resource.name}`, assumed by {services}{here}{only}. {role['Description']}."


def _of_set(one: Principal) -> str:
    found = one.resource.properties
    hours = found["SessionDuration"].removeprefix("PT").removesuffix("H")
    return f"`{one.resource.name}`, sessions of {hours} hours. {found['Description']}."


def _section(one: Principal, words: str, short: _Short) -> Iterator[str]:
    yield f"### {one.title}"
    yield ""
    yield words
    yield ""
    yield from _table(one.statements, short)


def _boundary(who: Iterable[Principal], short: _Short) -> Iterator[str]:
    yield "## The permissions boundaries"
    yield ""
    yield (
        "They grant nothing: a role may do what its own policy *and* its boundary allow, so a "
        "policy that is widened by mistake stays inside the project."
    )
    yield ""
    for one in who:
        if one.kind == "boundary":
            yield f"`{one.resource.name}`"
            yield ""
            yield from _table(one.statements, short)


def _denial(account: AccountTemplates, short: _Short) -> Iterator[str]:
    yield "## The budget's denial"
    yield ""
    yield (
        "Attached to the service roles by the budget's action when the month's budget is spent; "
        "[deployment.md](deployment.md#when-the-budget-is-spent) has the way back."
    )
    yield ""
    for one in account.of_type("AWS::IAM::ManagedPolicy"):
        if not is_boundary(one):
            yield f"`{one.name}`"
            yield ""
            yield from _table(read_statements(one.properties["PolicyDocument"]), short)


def _wildcards(account: AccountTemplates, who: Iterable[Principal]) -> Iterator[str]:
    users: dict[str, list[str]] = {}
    for one in who:
        for statement in one.statements:
            if "*" in statement.resources:
                users.setdefault(key_of(statement), []).append(one.title)
    denials = [
        statement
        for one in account.of_type("AWS::IAM::ManagedPolicy")
        if not is_boundary(one)
        for statement in read_statements(one.properties["PolicyDocument"])
    ]
    for statement in denials:
        users.setdefault(key_of(statement), []).append("the budget's denial")
    yield "## Statements on every resource"
    yield ""
    yield (
        "The whole list of `Resource: *`; it stands in `cdk/roles/wildcards.py`, and a policy gets "
        "such a statement from there only. In a key policy `*` means the key itself."
    )
    yield ""
    yield "| statement | actions | in | why |\n|---|---|---|---|"
    for sid, wildcard in WILDCARDS.items():
        actions = _cell(f"`{action}`" for action in wildcard.actions)
        where = ", ".join(users.get(sid, ["jobs in a VPC (`network.subnets`)"]))
        yield f"| {sid} | {actions} | {where} | {_escaped(wildcard.reason)} |"
    yield ""


def _table(statements: Iterable[Statement], short: _Short) -> Iterator[str]:
    yield _HEAD
    for one in statements:
        effect = "" if one.effect == "Allow" else f"{one.effect}: "
        title = [f"**{effect}{one.sid}**"] if one.sid else []
        resources = [f"`{short.arn(resource)}`" for resource in one.resources]
        cells = (
            _cell([*title, _escaped(reason_of(one))]),
            _cell(f"`{action}`" for action in one.actions),
            _cell([*resources, *_conditions(one.conditions, short)]),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _conditions(conditions: Mapping[str, Mapping[str, Any]], short: _Short) -> Iterator[str]:
    for operator, keys in conditions.items():
        for key, values in keys.items():
            said = " or ".join(f"`{short.arn(value)}`" for value in listed(values))
            yield f"if `{key}` {operator} {said}"


def _cell(parts: Iterable[str]) -> str:
    return "<br>".join(part.replace("|", r"\|") for part in parts)


def _escaped(words: str) -> str:
    return words.replace("|", r"\|").replace("*", r"\*")


class _Short:
    """Shortens ARNs."""

    def __init__(self, account: AccountTemplates) -> None:
        settings = account.settings
        buckets = {**settings.buckets, "access-logs": settings.access_log_bucket}
        self._by_name = {name: purpose for purpose, name in buckets.items()}
        self._ours = (settings.region, settings.account, "", "*")

    def arn(self, text: str) -> str:
        """``s3:raw/datasets/*`` of an ARN; anything else as it is."""
        parts = text.split(":", 5)
        if len(parts) < 6 or parts[0] != "arn":
            return text
        _, _, service, region, account, resource = parts
        if service == "s3":
            name, slash, key = resource.partition("/")
            return f"s3:{self._by_name.get(name, name)}{slash}{key}"
        if region in self._ours and account in self._ours:
            return f"{service}:{resource}"
        return text
