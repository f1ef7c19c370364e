"""What AWS IoT does with a message: the topic rules of the emulated account, as far as ours go.

Knows ``SELECT *, topic(N) AS name FROM 'filter' WHERE regexp_matches(field, 'pattern')`` and the
substitutions of our keys, and stores to S3. Leaves out: metrics, and every other SQL.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

_FROM = re.compile(r"FROM '([^']+)'")
_WHERE = re.compile(r"WHERE regexp_matches\((\w+), '([^']+)'\)")
_SELECTED = re.compile(r"topic\((\d)\) AS (\w+)")


def carry_out(account: str, region: str, topic: str, payload: bytes) -> int:
    """Store what the rules select of a message; returns how many objects were written."""
    from moto.iot.models import iot_backends
    from moto.s3.models import s3_backends

    stored = 0
    for rule in iot_backends[account][region].rules.values():
        message = _selected(rule.sql, topic, payload)
        if message is None:
            continue
        for action in rule.actions:
            if "s3" in action:
                key = _filled(action["s3"]["key"], topic, message)
                content = json.dumps(message).encode()
                s3_backends[account]["aws"].put_object(action["s3"]["bucketName"], key, content)
                stored += 1
    return stored


def _selected(sql: str, topic: str, payload: bytes) -> dict[str, Any] | None:
    source, where = _FROM.search(sql), _WHERE.search(sql)
    assert source, f"not emulated: {sql}"
    assert where, f"not emulated: {sql}"
    pattern = "/".join(
        "[^/]+" if level == "+" else re.escape(level) for level in source[1].split("/")
    )
    try:
        message: object = json.loads(payload)
    except ValueError:
        return None
    if not re.fullmatch(pattern, topic) or not isinstance(message, dict):
        return None
    if not re.search(where[2], str(message.get(where[1], ""))):
        return None
    parts = topic.split("/")
    return {**message, **{name: parts[int(n) - 1] for n, name in _SELECTED.findall(sql)}}


def _filled(key: str, topic: str, message: dict[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        expression = match[1]
        if level := re.fullmatch(r"topic\((\d)\)", expression):
            return topic.split("/")[int(level[1]) - 1]
        if expression.startswith('parse_time("yyyy/MM/dd", timestamp()'):
            return datetime.now(UTC).strftime("%Y/%m/%d")
        return str(message[expression])

    return re.sub(r"\$\{([^}]+)\}", value, key)
