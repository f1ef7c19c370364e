"""What is answered when a request is refused: problem documents of RFC 9457.

What it leaves out: who decides. The reading of requests and the queue do.
"""

from __future__ import annotations

import json
from http import HTTPStatus

MEDIA_TYPE = b"application/problem+json"
RETRY_AFTER = b"1"
"""Seconds."""


class Problem(Exception):  # noqa: N818 - it is what is answered, not what went wrong here
    """A refusal: a status, one sentence, and the kind that telemetry counts."""

    def __init__(self, status: int, detail: str, kind: str, allow: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.allow = allow

    @property
    def body(self) -> bytes:
        """The document."""
        value = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": str(self),
        }
        return json.dumps(value).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """``Retry-After`` and ``Allow``, where they belong."""
        found: list[tuple[bytes, bytes]] = []
        if self.status == 503:
            found.append((b"retry-after", RETRY_AFTER))
        if self.allow:
            found.append((b"allow", self.allow.encode()))
        return found


def raw(problem: Problem) -> bytes:
    """The whole HTTP answer, for a connection that is closed after it."""
    title = HTTPStatus(problem.status).phrase
    extra = b"".join(b"%s: %s\r\n" % pair for pair in problem.headers)
    body = problem.body
    head = f"HTTP/1.1 {problem.status} {title}\r\n".encode()
    return (
        head
        + extra
        + (
            b"content-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (MEDIA_TYPE, len(body), body)
        )
    )
