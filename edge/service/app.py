"""The ASGI application: paths, methods, bodies and what counts them.

What it leaves out: connections and malformed HTTP (:mod:`edge.service.server`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from edge.service.engine import Engine
from edge.service.problems import MEDIA_TYPE, Problem

Message = dict[str, Any]
JSON = b"application/json"
METHODS = {
    "/v1/predict": "POST", "/healthz": "GET", "/readyz": "GET", "/v1/version": "GET",
    "/metrics": "GET",
}  # fmt: skip
UNREAD_BYTES = 4_000_000
"""Of a body that is too large, these are let by: a client that was sending when its connection
closed would be reset, and not see the answer."""
_log = logging.getLogger("edge.service")


class App:
    """Answers HTTP requests with one engine."""

    def __init__(self, engine: Engine, package_version: str) -> None:
        self.engine = engine
        self.answers: Counter[int] = Counter()
        self._package = package_version

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        close = False
        try:
            kind, body = await self._route(scope, receive)
            status, headers = 200, [(b"content-type", kind)]
        except ConnectionError:
            return  # nobody is there to be answered
        except Problem as problem:
            self.engine.telemetry.error(problem.kind)
            status, body = problem.status, problem.body
            headers = [(b"content-type", MEDIA_TYPE), *problem.headers]
            close = status in (408, 413)  # the rest of the body is not read
        except Exception:  # noqa: BLE001 - one request's fault must not end the others
            _log.exception("A request was not answered.")
            problem = Problem(500, "The service failed to answer.", "internal")
            self.engine.telemetry.error(problem.kind)
            status, body, headers = 500, problem.body, [(b"content-type", MEDIA_TYPE)]
        self.answers[status] += 1
        headers.append((b"content-length", str(len(body)).encode()))
        if close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _route(self, scope: Message, receive: Any) -> tuple[bytes, bytes]:
        path = scope["path"]
        allowed = METHODS.get(path)
        if allowed is None:
            raise Problem(404, "There is nothing at this path.", "bad_request")
        if scope["method"] != allowed:
            raise Problem(405, f"{path} takes {allowed}.", "bad_request", allowed)
        if path == "/v1/predict":
            return JSON, await self.engine.predict(await self._body(receive))
        if path == "/metrics":
            return b"text/plain; version=0.0.4", self._metrics()
        if path == "/v1/version":
            versions = {"package": self._package, "model": self.engine.classifier.model_version}
            return JSON, json.dumps(versions).encode()
        return JSON, b'{"status":"ok"}'

    async def _body(self, receive: Any) -> bytes:
        """What was sent; of a body that is too large, as much as lets its client read that."""
        limits = self.engine.limits
        body, length, more = bytearray(), 0, True
        try:
            async with asyncio.timeout(limits.request_seconds):
                while more and length <= limits.body_bytes + UNREAD_BYTES:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ConnectionResetError
                    part = message.get("body", b"")
                    length, more = length + len(part), message.get("more_body", False)
                    if length <= limits.body_bytes:
                        body += part
        except TimeoutError:
            if length <= limits.body_bytes:
                detail = "The request did not come in time."
                raise Problem(408, detail, "slow_request") from None
        if length > limits.body_bytes:
            raise Problem(413, f"The body has over {limits.body_bytes} bytes.", "too_large")
        return bytes(body)

    def _metrics(self) -> bytes:
        lines = ["# TYPE slm_edge_responses_total counter"]
        lines += [
            f'slm_edge_responses_total{{status="{status}"}} {count}'
            for status, count in sorted(self.answers.items())
        ]
        lines += [
            "# TYPE slm_edge_utterances_total counter",
            f"slm_edge_utterances_total {self.engine.utterances}",
            "# TYPE slm_edge_waiting gauge",
            f"slm_edge_waiting {self.engine.waiting}",
        ]
        return ("\n".join(lines) + "\n").encode()
