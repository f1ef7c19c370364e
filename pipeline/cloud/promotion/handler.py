"""The function behind Approved: one step of a promotion, and how long to wait for the next.

A state machine calls it in a loop (cdk/promotion). First with ``{"arn": …, "execution": …}`` of the
version that was approved, and then with what it answered. It is told the settings in ``SOURCE``
and, for another environment, ``TARGET``, as plain JSON; there it acts as that environment's role.

What it answers is logged, a line of JSON a step: no text of users is near it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.cloud.promotion.plain import of_plain
from pipeline.cloud.promotion.promoting import Look, Promoter
from pipeline.cloud.promotion.record import Record
from pipeline.cloud.session import Account

GIVEN_UP = timedelta(minutes=20)
"""Without a step for so long, whoever began a promotion does not go on with it."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Begin or go on.

    Args:
        event: ``arn`` and ``execution``, or this function's last answer.

    Returns:
        ``end`` is true when there is nothing to do any more, ``state`` says how it ended or where
        it is, ``wait`` is in seconds.

    Raises:
        CloudError: The step could not be done, and can be repeated.
    """
    source, target = accounts(os.environ)
    execution = str(event["execution"])
    promoter = Promoter(source, target, name=execution, drives=True)
    name = str(event.get("promotion", ""))
    if not name:
        record = promoter.begin(str(event["arn"]))
        if _is_under_way(record, execution):
            words = f"under way by {record.driver} since {record.started}"
            return _answer(execution, Look(record, words, 0), end=True, state="under-way")
        name = record.name
    look = promoter.advance(name)
    return _answer(execution, look, end=look.record.ended, state=look.record.state)


def accounts(environment: Mapping[str, str]) -> tuple[Account, Account]:
    """Where a version comes from, and where it goes to."""
    endpoint = environment.get("AWS_ENDPOINT_URL")
    source = Account(of_plain(json.loads(environment["SOURCE"])), endpoint)
    if not environment.get("TARGET"):
        return source, source
    settings = of_plain(json.loads(environment["TARGET"]))
    return source, Account(settings, endpoint, session=_session_in(source, settings))


def _session_in(source: Account, target: Any) -> Any:
    """A session as the target's role."""
    import boto3  # pyright: ignore[reportMissingTypeStubs]

    answer = source.call(
        "sts",
        "assume_role",
        f"act in {target.name}",
        RoleArn=target.promoted_role_arn,
        RoleSessionName=source.settings.name,
        DurationSeconds=3600,
    )
    given = answer["Credentials"]
    boto: Any = boto3
    return boto.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )


def _is_under_way(record: Record, execution: str) -> bool:
    """Whether another execution is promoting this version: two approvals are one promotion."""
    if record.ended or record.driver in ("", execution):
        return False
    updated = datetime.fromisoformat(record.updated)
    return datetime.now(UTC) - updated < GIVEN_UP


def _answer(execution: str, look: Look, *, end: bool, state: str) -> dict[str, Any]:
    answer = {
        "execution": execution,
        "promotion": look.record.name,
        "component": look.record.component,
        "target": look.record.target,
        "state": state,
        "words": look.words,
        "end": end,
        "wait": max(1, round(look.wait)),
    }
    print(json.dumps(answer))
    return answer
