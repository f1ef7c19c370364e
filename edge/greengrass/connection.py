"""A connection to the nucleus: made when it is needed, and made anew after it broke.

The nucleus gives each component that it starts the path of its socket and a token, in two
variables. It may restart below us, or be updated; the component lives on and connects again.

What it leaves out: what is said over the connection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from edge.errors import EdgeError
from edge.settings import NUCLEUS_SOCKET

NUCLEUS_TOKEN = "SVCUID"  # noqa: S105 - the variable's name
TIMEOUT = 10.0
"""Seconds for the nucleus to answer."""


class NucleusError(EdgeError):
    """The nucleus cannot be reached or refuses: one sentence."""


def is_under_nucleus() -> bool:
    """Whether a nucleus started this process."""
    return NUCLEUS_SOCKET in os.environ and NUCLEUS_TOKEN in os.environ


class Nucleus:
    """One connection. Safe for threads.

    Args:
        on_lost: Called, in a thread of the library, when an open connection ends.
    """

    def __init__(self, on_lost: Callable[[], None] | None = None) -> None:
        self._lock = threading.Lock()
        self._client: Any = None
        self._on_lost = on_lost

    def client(self) -> Any:
        """The SDK's ``GreengrassCoreIPCClientV2``, connected.

        Raises:
            NucleusError: There is no nucleus, no SDK, or no answer.
        """
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def let_go(self) -> None:
        """Close the connection; the next ``client`` opens another."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(executor_wait=False)

    def _connect(self) -> Any:
        if not is_under_nucleus():
            raise NucleusError(
                f"No nucleus started this process: {NUCLEUS_SOCKET} and {NUCLEUS_TOKEN} are not "
                "set."
            )
        if find_spec("awsiot") is None:
            raise NucleusError("The AWS IoT Device SDK is not installed: install awsiotsdk.")
        sdk: Any = import_module("awsiot.greengrasscoreipc")
        clients: Any = import_module("awsiot.greengrasscoreipc.clientv2")
        handler: Any = import_module("awsiot.eventstreamrpc").LifecycleHandler()
        handler.on_disconnect = self._lost
        try:
            connection = sdk.connect(lifecycle_handler=handler, timeout=TIMEOUT)
        except Exception as error:  # noqa: BLE001 - the library's errors share no other base
            raise NucleusError(f"The nucleus does not answer: {describe(error)}.") from None
        # no executor: what is called in the library's thread only puts things into queues
        return clients.GreengrassCoreIPCClientV2(client=connection, executor=None)

    def _lost(self, reason: Exception | None) -> None:
        if self._on_lost is not None:
            self._on_lost()


def describe(error: BaseException) -> str:
    """An error of the SDK as part of a sentence."""
    message = getattr(error, "message", None) or str(error).strip()
    name = type(error).__name__
    return f"{name}: {message.splitlines()[0][:200].rstrip('.')}" if message else name
