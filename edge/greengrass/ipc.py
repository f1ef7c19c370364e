"""Answers requests that other components publish on a local topic of the nucleus.

::

    requests   {"id": "42", "text": "turn off the lamp"}     the body of POST /v1/predict, and an id
    responses  {"id": "42", "status": 200, "body": {"intent": …}}

A request may come as a JSON message or as a binary one with the same JSON in it; a response is a
binary message, which every nucleus carries whatever it holds. ``id`` is the requester's own; what
cannot be read is answered with the id null. Bounds are those of the HTTP service.

What it leaves out: requests through IoT Core. They would carry what people said off the device.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from edge.errors import SettingsError
from edge.greengrass.connection import TIMEOUT, Nucleus, NucleusError, describe, is_under_nucleus
from edge.service.problems import Problem
from edge.settings import Settings

Answer = Callable[[bytes], tuple[int, bytes]]
"""Turns the body of a request into a status of HTTP and the JSON that answers it."""

LARGEST_RESPONSE = 6500
"""Bytes: nucleus lite takes packets of 10,000, in which they stand in base64."""
LONGEST_ID = 128
ENVELOPE = 1024
"""Bytes that a request may have beyond the body it stands for: its id and the white space."""
FIRST_WAIT, LAST_WAIT = 1.0, 60.0
"""Seconds between tries to reach the nucleus: doubled each time."""

_log = logging.getLogger("edge.greengrass")


@dataclass(frozen=True)
class _Message:
    body: bytes
    arrived: float
    """Seconds of the monotonic clock."""


def serve(
    answer: Answer, settings: Settings, *, error: Callable[[str], None] | None = None
) -> Requests | None:
    """Answer requests in the background while a nucleus is there.

    Args:
        answer: Called in a thread of its own, one request at a time.
        settings: ``greengrass`` names the topics, ``limits`` bounds what is taken.
        error: Told the kind of each error that ``answer`` does not see.

    Returns:
        What is to be closed in the end, or None where this does not apply.
    """
    if not settings.greengrass.applies:
        return None
    if not is_under_nucleus():
        _log.warning("greengrass.enabled is true, but no nucleus started this process.")
        return None
    try:
        requests = settings.in_topic(settings.greengrass.requests)
        responses = settings.in_topic(settings.greengrass.responses)
    except SettingsError as problem:
        _log.warning("Requests on topics are not answered: %s", problem)
        return None
    if requests == responses:
        _log.warning("Requests on topics are not answered: both topics are %s.", requests)
        return None
    served = Requests(answer, settings, requests, responses, error or (lambda kind: None))
    served.start()
    return served


class Requests:
    """The subscription, a queue and the thread that answers. Make it with :func:`serve`."""

    def __init__(
        self,
        answer: Answer,
        settings: Settings,
        requests: str,
        responses: str,
        error: Callable[[str], None],
    ) -> None:
        self._answer = answer
        self._limits = settings.limits
        self._requests = requests
        self._responses = responses
        self._error = error
        self._queue: queue.Queue[_Message | None] = queue.Queue(settings.limits.queue)
        self._turning_away = threading.Semaphore(settings.limits.queue)
        self._broken = threading.Event()
        self._ending = threading.Event()
        self._nucleus = Nucleus(self._broken.set)
        self._threads = [
            threading.Thread(target=self._keep_subscribed, name="nucleus", daemon=True),
            threading.Thread(target=self._work, name="requests", daemon=True),
        ]

    def start(self) -> None:
        """Subscribe and answer."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Answer what was accepted, for as long as the service may take to end, and let go."""
        self._ending.set()
        self._broken.set()
        end = time.monotonic() + self._limits.drain_seconds
        try:
            self._queue.put(None, timeout=self._limits.drain_seconds)
        except queue.Full:
            _log.warning("Requests on topics were left unanswered.")
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        self._nucleus.let_go()

    def _keep_subscribed(self) -> None:
        wait = FIRST_WAIT
        while not self._ending.is_set():
            self._broken.clear()
            try:
                self._subscribe()
                _log.info("Requests on %s are answered.", self._requests)
                wait = FIRST_WAIT
                self._broken.wait()
                if self._ending.is_set():
                    return
                _log.warning("The nucleus closed the connection.")
            except NucleusError as error:
                _log.warning("Requests on topics are not answered: %s", error)
            self._nucleus.let_go()
            self._ending.wait(wait)
            wait = min(wait * 2, LAST_WAIT)

    def _subscribe(self) -> None:
        client = self._nucleus.client()
        future, _ = client.subscribe_to_topic_async(
            topic=self._requests,
            receive_mode="RECEIVE_MESSAGES_FROM_OTHERS",
            on_stream_event=self._take,
            on_stream_error=_close_stream,
            on_stream_closed=self._broken.set,
        )
        try:
            future.result(TIMEOUT)
        except Exception as error:  # noqa: BLE001 - the library's errors share no other base
            raise NucleusError(
                f"The nucleus does not subscribe us to {self._requests}: {describe(error)}."
            ) from None

    def _take(self, event: Any) -> None:
        """In the library's thread: put the message into the queue, or turn it away."""
        body = _body(event)
        if body is None or self._ending.is_set():
            return
        try:
            self._queue.put_nowait(_Message(body, time.monotonic()))
        except queue.Full:
            self._error("overload")
            if self._turning_away.acquire(blocking=False):
                given = _respond(_read(body)[0], *_problem(503, "Too many requests wait."))
                future = self._publish(given)
                if future is None:
                    self._turning_away.release()
                else:
                    future.add_done_callback(self._turned_away)

    def _turned_away(self, _: object) -> None:
        self._turning_away.release()

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            future = self._publish(self._respond_to(message))
            if future is not None:
                try:
                    future.result(TIMEOUT)
                except Exception as error:  # noqa: BLE001 - as in _subscribe
                    _log.warning("A response was not published: %s.", describe(error))

    def _respond_to(self, message: _Message) -> bytes:
        limit = self._limits.body_bytes
        if len(message.body) > limit + ENVELOPE:
            self._error("too_large")
            return _respond(None, *_problem(413, f"A request may have at most {limit} bytes."))
        identity, body, problem = _read(message.body)
        if body is None:
            self._error("bad_request")
            return _respond(identity, *_problem(400, problem))
        if time.monotonic() - message.arrived > self._limits.deadline_seconds:
            self._error("deadline")
            return _respond(identity, *_problem(503, "The request waited too long."))
        try:
            status, answer = self._answer(body)
        except Exception:  # noqa: BLE001 - the next request is answered whatever this one did
            _log.exception("A request on a topic failed.")
            self._error("internal")
            status, answer = _problem(500, "The service failed; its log says how.")
        if len(answer) > LARGEST_RESPONSE:
            self._error("too_large")
            status, answer = _problem(
                413,
                f"The answer has {len(answer)} bytes, and a message takes {LARGEST_RESPONSE}: "
                "ask for fewer utterances or candidates at once.",
            )
        return _respond(identity, status, answer)

    def _publish(self, data: bytes) -> Any:
        """Begin to publish a response. Returns the future, or None without a connection."""
        model: Any = _sdk_model()
        message = model.PublishMessage(binary_message=model.BinaryMessage(message=data))
        try:
            client = self._nucleus.client()
            return client.publish_to_topic_async(topic=self._responses, publish_message=message)
        except Exception as error:  # noqa: BLE001 - as in _subscribe
            _log.warning("A response was not published: %s.", describe(error))
            return None


def _sdk_model() -> Any:
    from importlib import import_module

    return import_module("awsiot.greengrasscoreipc.model")


def _body(event: Any) -> bytes | None:
    """The request in a message, whichever kind it is."""
    if event.binary_message is not None:
        return event.binary_message.message or b""
    if event.json_message is not None:
        return json.dumps(event.json_message.message).encode()
    return None


def _read(data: bytes) -> tuple[str | None, bytes | None, str]:
    """A request's id and body, or why it is none."""
    try:
        value: Any = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        return None, None, "The request is not UTF-8."
    except (ValueError, RecursionError):
        return None, None, "The request is not JSON."
    if not isinstance(value, dict):
        return None, None, "The request must be a JSON object."
    request = cast("dict[str, Any]", value)
    identity = request.pop("id", None)
    if identity is not None and not (isinstance(identity, str) and len(identity) <= LONGEST_ID):
        return None, None, f"id must be text of at most {LONGEST_ID} characters."
    return identity, json.dumps(request).encode(), ""


def _respond(identity: str | None, status: int, body: bytes) -> bytes:
    return b'{"id":%s,"status":%d,"body":%s}' % (json.dumps(identity).encode(), status, body)


def _problem(status: int, detail: str) -> tuple[int, bytes]:
    """What the HTTP service would answer."""
    return status, Problem(status, detail, "").body


def _close_stream(_: object) -> bool:
    """After an error the stream is closed, and we subscribe anew."""
    return True
