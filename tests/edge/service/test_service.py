from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = "[limits]\nrequest_seconds = 0.5\nbody_bytes = 4096\n"


class Client:
    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    def ask(self, body: bytes, method: str = "POST", path: str = "/v1/predict") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def send_raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(data)
            return connection.makefile("rb").read()


@pytest.fixture(scope="module")
def client(tiny_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A worker as the supervisor starts it."""
    config = tmp_path_factory.mktemp("config") / "config.toml"
    config.write_text(CONFIG)
    listener = socket.create_server(("127.0.0.1", 0))
    readable, writable = os.pipe()
    options = ["--socket-fd", str(listener.fileno()), "--ready-fd", str(writable)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.service", "--model", str(tiny_compiled), *options,
         "--config", str(config), "--package-version", "1.0.3"],
        pass_fds=(listener.fileno(), writable),
    )  # fmt: skip
    os.close(writable)
    with os.fdopen(readable) as pipe:
        assert json.loads(pipe.read()) == {"ready": True, "version": "1.0.3"}
    yield Client(listener.getsockname()[1], process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    listener.close()


def test_an_utterance_and_a_batch_are_answered(client: Client) -> None:
    status, text = client.ask(b'{"text": "lamp off", "top_k": 1}')
    assert status == 200
    assert len(json.loads(text)["top"]) == 1
    status, text = client.ask(b'{"texts": ["lamp off", "some rock"]}')
    assert len(json.loads(text)["predictions"]) == 2
    assert json.loads(client.ask(b"", "GET", "/v1/version")[1])["package"] == "1.0.3"
    assert "slm_edge_utterances_total" in client.ask(b"", "GET", "/metrics")[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff", 400),
        (b"{", 400),
        (b"[" * 4000, 400),
        (b'{"text": "\\u0000"}', 400),
        (b'{"text": " "}', 400),
        (b'{"text": 5}', 400),
        (b'{"text": "a", "top_k": true}', 400),
        (b'{"texts": "a"}', 400),
        (b'{"texts": ["a"], "text": "a"}', 400),
        (json.dumps({"text": "a" * 2001}).encode(), 413),
        (json.dumps({"texts": ["a"] * 65}).encode(), 413),
        (b" " * 5000, 413),
    ],
)
def test_bad_input_is_a_problem_and_the_service_goes_on(
    client: Client, body: bytes, status: int
) -> None:
    found, text = client.ask(body)
    assert found == json.loads(text)["status"] == status
    assert client.ask(b'{"text": "lamp off"}')[0] == 200


def test_unknown_paths_and_methods_are_problems(client: Client) -> None:
    assert client.ask(b"", "GET", "/nothing")[0] == 404
    assert client.ask(b"", "GET")[0] == 405


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", b"408"),
        (b"GET / HT", b"408"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000, b"431"),
    ],
)
def test_what_is_half_a_request_or_none_is_answered_and_closed(
    client: Client, data: bytes, status: bytes
) -> None:
    assert client.send_raw(data).startswith(b"HTTP/1.1 " + status)
    assert client.process.poll() is None
