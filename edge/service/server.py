"""uvicorn, bounded: connections, heads, the time for a request; SIGTERM ends it with exit code 0.

What it leaves out: what is answered to a request that is one (:mod:`edge.service.app`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, ClassVar, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge.service.app import App
from edge.service.problems import Problem, raw
from edge.settings import Limits

HEAD_BYTES = 32_768
"""Of a request's line and headers."""
LINGER_SECONDS = 1.0
LINGER_BYTES = 4_000_000
"""For who was refused to read why. A connection that is closed while something unread has come is
reset, and the reset overtakes the answer."""


class Protocol(HttpToolsProtocol):
    """A connection that may not wait, grow or crowd without end."""

    limits = Limits()
    error: Callable[[str], None]
    lingering: ClassVar[set[asyncio.Transport]] = set()
    _timer: asyncio.TimerHandle | None = None
    _head = 0
    _cycles: Sequence[Any] = ()
    """uvicorn's requests and answers, those that a client sent without waiting for the first."""
    _left: int | None = None
    """Bytes that are still let by and not looked at, once a refusal was written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turn away who is one too many."""
        crowded = len(self.connections) >= self.limits.connections
        super().connection_made(transport)
        if crowded:
            self._refuse(503, "Too many connections are open: try again later.", "overload")
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._disarm()
        self.lingering.discard(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bound the head and the time until the request is whole."""
        if self.transport.is_closing():
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.transport.close()
            return
        self._arm()
        self._head += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """The body is bounded by the application; a head may have come whole, and be too large."""
        if self._head > HEAD_BYTES:  # with what came of the body
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_BYTES:
                self._refuse_head()
                raise ValueError  # ends the parsing of what is left
        self._head = -(1 << 62)
        super().on_headers_complete()
        known = [*self._cycles, cast("Any", self.cycle)]
        self._cycles = [cycle for cycle in known if cycle and not cycle.response_complete]

    def on_message_complete(self) -> None:
        """The client has done its part."""
        self._disarm()
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered."""
        self._refuse(400, "The request is not HTTP/1.1.", "bad_request")

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.request_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(408, "The request did not come in time.", "slow_request")

    def _refuse_head(self) -> None:
        self._refuse(431, f"The head has over {HEAD_BYTES} bytes.", "too_large")

    def _refuse(self, status: int, detail: str, kind: str) -> None:
        if self.transport.is_closing() or self._left is not None:
            return
        self.error(kind)
        cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        # an answer that is under way is not written into
        if not any(cycle.response_started for cycle in cycles):
            self.transport.write(raw(Problem(status, detail, kind)))
        for cycle in cycles:
            cycle.disconnected = True  # what is still answered is not written,
            cycle.waiting_for_100_continue = False  # nor that its body may come
            cycle.message_event.set()
        self._linger()

    def _linger(self) -> None:
        """Close when the client does, or soon; among the open connections it counts no more."""
        self._disarm()
        self.connections.discard(self)
        if len(self.lingering) >= self.limits.connections:
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:  # nobody is there any more
            self.transport.close()
            return
        self.lingering.add(self.transport)
        self._left = LINGER_BYTES
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


class Server(uvicorn.Server):
    """Says when it accepts, and ends on SIGTERM and SIGINT after what it accepted."""

    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept, and say so."""
        await super().startup(sockets)
        self.on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:  # type: ignore[override]
        """Unlike uvicorn's, the signal is not raised again: the exit code is 0."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(app: App, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until a signal."""
    limits = app.engine.limits
    attributes: dict[str, Any] = {
        "limits": limits,
        "lingering": set(),
        "error": staticmethod(app.engine.telemetry.error),
    }
    protocol = type("BoundedProtocol", (Protocol,), attributes)
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",  # a client that sends nonsense is counted, and must not fill the log
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, int(limits.request_seconds)),
        timeout_graceful_shutdown=max(1, int(limits.drain_seconds)),
    )
    server = Server(config)
    server.on_ready = on_ready
    listener.setblocking(False)
    server.run([listener])
