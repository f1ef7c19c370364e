"""docs/images/security.svg: who may do what, as a table of principals and kinds of resources.

Every cell is computed from a policy (access.py). The row of lines below says what holds for all:
what the buckets refuse, who may use the key, and the boundary, whose column is a ceiling and grants
nothing.

Leaves out: conditions and single actions (docs/roles.md), and the roles of the delivery stack
(there, too): nearly as many as all others, they would make every column half as wide.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from cdk.drawing.access import (
    DELETE,
    LETTERS,
    READ,
    SETTINGS,
    WRITE,
    Principal,
    level,
    principals,
    targets,
    trusted,
)
from cdk.drawing.account import AccountTemplates
from cdk.drawing.canvas import WIDTH, Canvas

_MARGIN = 14
_LABELS = 116  # px for the resources' names
_ROW = 19
_HEAD = 148  # px for the principals' names, which stand upright
_CHARACTERS = 68
_FILLS: Mapping[str, str] = {
    DELETE: "#fca5a5",
    WRITE: "#fdba74",
    READ: "#93c5fd",
    SETTINGS: "#e2e8f0",
}
"""By the letter that weighs most."""
_KINDS = {"people": "people", "service": "services", "boundary": "ceiling"}


def draw(account: AccountTemplates) -> str:
    """The picture's SVG."""
    canvas = Canvas()
    settings = account.settings
    canvas.text(_MARGIN, 28, f"Who may do what in {settings.name}", "head")
    canvas.text(_MARGIN, 45, f"account {settings.account} (a placeholder)", "tag")
    top = _legend(canvas, 62)
    bottom = _table(canvas, account, top)
    y = bottom + 20
    for fact in _facts(account):
        for index, line in enumerate(textwrap.wrap(fact, _CHARACTERS)):
            canvas.text(_MARGIN + (0 if index == 0 else 10), y, line)
            y += 15
        y += 4
    return canvas.svg(y + 2, f"Who may read, write or delete what in {settings.name}")


def _legend(canvas: Canvas, y: float) -> float:
    x = float(_MARGIN)
    for letter, words in LETTERS.items():
        canvas.box(x, y - 11, 15, 15, fill=_FILLS[letter], round_px=3)
        canvas.text(x + 7.5, y, letter, "cell", anchor="middle")
        canvas.text(x + 20, y, words)
        x += 32 + 6.0 * len(words)
    return y + 14


def _table(canvas: Canvas, account: AccountTemplates, top: float) -> float:
    """Draw the table; returns where it ends."""
    who, what = drawn(account), targets(account)
    column = (WIDTH - 2 * _MARGIN - _LABELS) / len(who)
    left, body = _MARGIN + _LABELS, top + _HEAD
    for index, principal in enumerate(who):
        x = left + index * column
        if index == 0 or who[index - 1].kind != principal.kind:
            last = principal.kind == "boundary"
            canvas.text(
                WIDTH - _MARGIN if last else x + 3,
                top + 10,
                _KINDS[principal.kind],
                "tag",
                anchor="end" if last else "start",
            )
            begin = top + 14 if last else top  # below a word that is wider than its column
            canvas.line([(x, begin), (x, body + _ROW * len(what))], "#94a3b8", head=False)
        canvas.text(x + column / 2 + 4, body - 6, _named(principal), upright=True)
    for number, target in enumerate(what):
        y = body + number * _ROW
        canvas.box(_MARGIN, y, WIDTH - 2 * _MARGIN, _ROW, fill=("#f8fafc", "#ffffff")[number % 2])
        canvas.text(_MARGIN + 4, y + 13, target.title)
        for index, principal in enumerate(who):
            letters = level(principal, target)
            if letters:
                x = left + index * column
                canvas.box(x + 1, y + 1.5, column - 2, _ROW - 3, fill=_fill(letters), round_px=3)
                canvas.text(x + column / 2, y + 13, letters, _style(letters), anchor="middle")
    return body + _ROW * len(what)


def drawn(account: AccountTemplates) -> list[Principal]:
    """Who has a column."""
    return [one for one in principals(account) if one.resource.stack != "delivery"]


def _named(principal: Principal) -> str:
    """A column's title; a part that a setting brings says so with a star."""
    setting = principal.resource.setting
    return f"{principal.title} *" if setting else principal.title


def _style(letters: str) -> str:
    return "cell" if len(letters) < 2 else "narrow"


def _fill(letters: str) -> str:
    return next(colour for letter, colour in _FILLS.items() if letter in letters)


def _facts(account: AccountTemplates) -> Iterator[str]:
    """What holds for everybody."""
    who = drawn(account)
    settings = sorted({one.resource.setting for one in who if one.resource.setting})
    yield f"* only where {', '.join(settings)} are set."
    others = [one for one in principals(account) if one.resource.stack == "delivery"]
    if others:
        yield (
            f"Not drawn: the {len([one for one in others if one.kind == 'service'])} roles of the "
            "delivery stack and their boundary, which stand in docs/roles.md."
        )
    roles = [one for one in who if one.kind == "service"]
    by_service: dict[str, list[str]] = {}
    for role in roles:
        for service in trusted(role.resource):
            by_service.setdefault(service, []).append(role.title)
    yield (
        "Each role is assumed by one side alone: "
        + "; ".join(f"{service} ({', '.join(titles)})" for service, titles in by_service.items())
        + "."
    )
    bounded = [one for one in roles if "PermissionsBoundary" in one.resource.properties]
    yield (
        f"{len(bounded)} of {len(roles)} roles have a boundary: a ceiling, which grants nothing."
    )
    users = account.of_type("AWS::IAM::User", "AWS::IAM::Group", "AWS::IAM::AccessKey")
    yield f"IAM users, groups and access keys: {len(users) or 'none'}."
    refusals = {
        statement.get("Sid", "")
        for policy in account.of_type("AWS::S3::BucketPolicy")
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    }
    if "RefuseAnotherKeyOrNone" in refusals:
        yield "Data buckets refuse to everybody: uploads with another key or none, and no TLS."
