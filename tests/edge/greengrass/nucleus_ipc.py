"""A nucleus' IPC socket, small: enough of the event-stream RPC protocol for the real SDK.

::

    with NucleusIpc(tmp_path) as nucleus:
        nucleus.environment      # the two variables that a component is given
        nucleus.publish("slm/kitchen-1/requests", b'{"text": "lamp off"}')
        nucleus.published        # [(topic, payload), …] to IoT Core
        nucleus.local            # the same to local topics

Frames are parsed by botocore's parser of event streams. It knows the operations SubscribeToTopic,
PublishToTopic and PublishToIoTCore, and speaks of anything else as of an unknown one. Like nucleus
lite it takes packets of at most 10,000 bytes and closes the connection of who sends a longer one.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import tempfile
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from botocore.eventstream import EventStreamBuffer

APPLICATION_MESSAGE, APPLICATION_ERROR, CONNECT, CONNECT_ACK = 0, 1, 4, 5
ACCEPTED, TERMINATE = 1, 2
LONGEST_PACKET = 10_000
SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN = "a-token-of-16-bytes"


def encode(headers: dict[str, int | str], payload: bytes) -> bytes:
    """One frame: prelude, headers, payload, each half with a checksum."""
    encoded = b""
    for name, value in headers.items():
        encoded += bytes([len(name)]) + name.encode()
        if isinstance(value, int):
            encoded += b"\x04" + struct.pack(">i", value)
        else:
            encoded += b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", len(encoded) + len(payload) + 16, len(encoded))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


@dataclass
class _Client:
    connection: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    subscriptions: dict[int, str] = field(default_factory=dict)
    """Topics by stream."""

    def send(self, kind: int, stream: int, flags: int, model: str = "", value: Any = None) -> None:
        headers: dict[str, int | str] = {
            ":message-type": kind,
            ":message-flags": flags,
            ":stream-id": stream,
        }
        payload = b""
        if model:
            headers |= {":content-type": "application/json", "service-model-type": model}
            payload = json.dumps(value).encode()
        with self.lock, contextlib.suppress(OSError):
            self.connection.sendall(encode(headers, payload))


class NucleusIpc:
    """The server; it may be stopped and started again on the same path."""

    def __init__(self, token: str = TOKEN) -> None:
        # a socket's path has at most 107 bytes, and pytest's folders are long
        self._folder = Path(tempfile.mkdtemp(prefix="nucleus-"))
        self.path = self._folder / "ipc.socket"
        self.token = token
        self.environment = {SOCKET: str(self.path), "SVCUID": token}
        self.published: list[tuple[str, bytes]] = []
        self.local: list[tuple[str, bytes]] = []
        self.qualities: list[str] = []
        self.refuse: dict[str, str] = {}
        """Operation to the error that it is answered with, such as "UnauthorizedError"."""
        self.silent: set[str] = set()
        """Operations that are taken and never answered."""
        self.subscribed = threading.Condition()
        self.changed = threading.Condition()
        self.connections = 0
        self._clients: list[_Client] = []
        self._server: socket.socket | None = None

    def __enter__(self) -> NucleusIpc:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen()
        threading.Thread(target=self._accept, args=[self._server], daemon=True).start()

    def stop(self) -> None:
        """As a nucleus that ends: every connection breaks."""
        if self._server is not None:
            with contextlib.suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
            self.path.unlink()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def publish(self, topic: str, message: bytes | dict[str, Any]) -> int:
        """As another component on a local topic; the number of subscribers."""
        found = [
            (client, stream)
            for client in list(self._clients)
            for stream, subscribed in list(client.subscriptions.items())
            if subscribed == topic
        ]
        context = {"topic": topic}
        if isinstance(message, bytes):
            encoded = base64.b64encode(message).decode()
            value = {"binaryMessage": {"message": encoded, "context": context}}
        else:
            value = {"jsonMessage": {"message": message, "context": context}}
        for client, stream in found:
            name = "aws.greengrass#SubscriptionResponseMessage"
            client.send(APPLICATION_MESSAGE, stream, 0, name, value)
        return len(found)

    def end_subscriptions(self) -> None:
        """Close every stream but no connection."""
        for client in self._clients:
            for stream in list(client.subscriptions):
                del client.subscriptions[stream]
                client.send(APPLICATION_MESSAGE, stream, TERMINATE)

    def wait_for_subscriber(self, topic: str, timeout: float = 20) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self._has_subscriber(topic), timeout), topic

    def wait_for(self, messages: list[tuple[str, bytes]], count: int, timeout: float = 20) -> None:
        """Until ``messages`` (``published`` or ``local``) has ``count`` of them."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(messages) >= count, timeout), messages

    def _has_subscriber(self, topic: str) -> bool:
        return any(topic in client.subscriptions.values() for client in self._clients)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            client = _Client(connection)
            self.connections += 1
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: _Client) -> None:
        buffer = EventStreamBuffer()
        with client.connection, contextlib.suppress(OSError):
            while data := client.connection.recv(65536):
                buffer.add_data(data)
                for event in buffer:
                    size = event.prelude.total_length
                    if size > LONGEST_PACKET or not self._handle(
                        client, event.headers, event.payload
                    ):
                        return

    def _handle(self, client: _Client, headers: dict[str, Any], payload: bytes) -> bool:
        if headers[":message-type"] == CONNECT:
            accepted = json.loads(payload).get("authToken") == self.token
            client.send(CONNECT_ACK, 0, ACCEPTED if accepted else 0)
            self._clients.append(client)
            return accepted
        stream = headers[":stream-id"]
        if headers[":message-flags"] & TERMINATE:
            client.subscriptions.pop(stream, None)
            return True
        operation = str(headers["operation"]).removeprefix("aws.greengrass#")
        error = self.refuse.get(operation)
        if error is None and operation not in OPERATIONS:
            error = "ServiceError"
        if error is not None:
            value = {"_message": f"{operation} is refused", "_errorCode": error, "message": error}
            client.send(APPLICATION_ERROR, stream, TERMINATE, f"aws.greengrass#{error}", value)
        elif operation not in self.silent:
            flags = 0 if operation == "SubscribeToTopic" else TERMINATE
            with self.changed:
                self._record(client, stream, operation, json.loads(payload))
                self.changed.notify_all()
            name = f"aws.greengrass#{operation}Response"
            client.send(APPLICATION_MESSAGE, stream, flags, name, {})
        return True

    def _record(self, client: _Client, stream: int, operation: str, value: dict[str, Any]) -> None:
        if operation == "SubscribeToTopic":
            client.subscriptions[stream] = value["topic"]
        elif operation == "PublishToIoTCore":
            self.qualities.append(value["qos"])
            self.published.append((value["topicName"], base64.b64decode(value["payload"])))
        else:
            message = value["publishMessage"]["binaryMessage"]["message"]
            self.local.append((value["topic"], base64.b64decode(message)))


OPERATIONS = {"SubscribeToTopic", "PublishToTopic", "PublishToIoTCore"}


def is_open(path: Path) -> bool:
    """Whether a nucleus listens at ``path``."""
    return os.path.exists(path)  # noqa: PTH110
