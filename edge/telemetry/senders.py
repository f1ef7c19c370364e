"""Takes a window to where it is wanted: a folder, an HTTP server, or IoT Core.

Each sender is asked with a window's id and bytes and says what came of it; it raises nothing that
it can foresee. A receiver sees a window at least once and tells duplicates by the id, which is in
the body, in the file's name and in the header ``Idempotency-Key``.

What it leaves out: when to try again. It also leaves out authentication over HTTP: give each
device's destination an address of its own, or let devices publish to IoT Core.
"""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from edge.settings import Settings
from edge.telemetry.files import write_whole

TIMEOUT = 10.0
"""Seconds to connect, and between two bytes of an answer."""
LONGEST_WAIT = 3600.0
"""Seconds that a server may ask us to wait."""


class Outcome(Enum):
    """What came of sending one window."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The receiver does not want this window; another may be welcome."""
    UNREACHABLE = "unreachable"
    """No window gets through at present."""


@dataclass(frozen=True)
class Answer:
    """What came of it, and what to do about it."""

    outcome: Outcome
    reason: str = ""
    """A sentence for the log."""
    wait: float = 0.0
    """Seconds that the receiver asks us to wait, at least."""


DELIVERED = Answer(Outcome.DELIVERED)


class Sender(Protocol):
    """Somebody who takes windows away."""

    def send(self, window_id: str, data: bytes) -> Answer:
        """Take one window away; it may be forgotten if, and only if, it was delivered."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def make_sender(settings: Settings) -> Sender:
    """The sender that ``telemetry.destination`` names; it is not ``none``.

    Raises:
        SettingsError: The destination needs a thing's name, and there is none.
    """
    destination = settings.telemetry.destination
    if destination == "greengrass":
        from edge.greengrass.publishing import IotCoreSender

        return IotCoreSender(settings.in_topic(settings.telemetry.topic))
    if destination.startswith("file:"):
        return FolderSender(Path(unquote(urlsplit(destination).path)))
    return HttpSender(destination)


class FolderSender:
    """Each window a file ``<id>.json`` in a folder, which a reader empties."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, window_id: str, data: bytes) -> Answer:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / f"{window_id}.json", data + b"\n")
        except OSError as error:
            reason = f"{self._folder} cannot be written: {error.strerror or error}."
            return Answer(Outcome.UNREACHABLE, reason)
        return DELIVERED

    def close(self) -> None:
        pass


class HttpSender:
    """POST to one address. Redirects are not followed: a 2xx must come from who was asked."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._opener: Any = None

    def send(self, window_id: str, data: bytes) -> Answer:
        import urllib.error
        import urllib.request

        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": window_id,
            "User-Agent": "slm-edge",
        }
        try:
            if self._opener is None:
                self._opener = _make_opener(self._url)
            request = urllib.request.Request(self._url, data, headers, method="POST")  # noqa: S310
            with self._opener.open(request, timeout=TIMEOUT):
                return DELIVERED
        except urllib.error.HTTPError as error:
            with contextlib.suppress(OSError):
                error.close()
            return self._judge(error.code, error.headers.get("Retry-After", ""))
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            return Answer(Outcome.UNREACHABLE, f"{self._host} does not answer: {reason}.")

    def close(self) -> None:
        pass

    def _judge(self, status: int, retry_after: str) -> Answer:
        reason = f"{self._host} answers with {status}."
        if 400 <= status < 500 and status not in (408, 429):
            return Answer(Outcome.REFUSED, reason)
        # a date instead of seconds would need a clock that is right
        wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        return Answer(Outcome.UNREACHABLE, reason, min(wait, LONGEST_WAIT))


def _make_opener(url: str) -> Any:
    import ssl
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    if url.startswith("http:"):  # this machine only, which no proxy could reach
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirects)
    context = ssl.create_default_context()
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirects)
