"""What a careless or a hostile client sends gets a clear answer, and the next one is served."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.serving import Service
from tests.edge.updates.serving import wait_for

LIMITS = {"request_seconds": 0.5, "connections": 6, "deadline_seconds": 60}
RIGHT = {"text": "lamp off"}


@pytest.fixture(scope="module")
def service(tiny_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all: that it ends well and has logged nothing is seen at the end."""
    with Service(tiny_compiled, tmp_path_factory.mktemp("service"), LIMITS) as started:
        yield started


def read(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """An answer's status and problem, and that the connection ends after it."""
    source = SimpleNamespace(makefile=lambda _: connection.makefile("rb"))
    response = http.client.HTTPResponse(source)  # type: ignore[arg-type]
    response.begin()
    return response.status, json.loads(response.read())


def send(service: Service, *parts: bytes, pause: float = 0) -> tuple[int, dict[str, Any]]:
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        return read(connection)


def post(body: bytes) -> bytes:
    return b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body), body,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text": "' + b"a" * 1_000_000 + b'"}', 413),
        (b'{"text": "' + b"\xf0\x9f\x92\xa1" * 250_000 + b'"}', 413),
        (json.dumps({"texts": ["a"] * 10_000}).encode(), 413),
        (json.dumps({"texts": [["a"] * 10_000]}).encode(), 400),
        (b'{"text": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
        (b'{"text": "\xc3("}', 400),
        (b'{"text": "\xed\xa0\x80"}', 400),
        (b'{"text": "\\ud800"}', 400),
        (b'{"text": "a", "top_k": 1' + b"0" * 6000 + b"}", 400),
        (b'{"text": "\\t\\n\\u00a0\\u3000"}', 400),
        (b'{"text": null}', 400),
        (b'{"texts": {"0": "a"}}', 400),
        (b'{"texts": ["a", null]}', 400),
        (b"null", 400),
        (b"", 400),
        (b'{"text": "a"}{"text": "b"}', 400),
        (b'\xef\xbb\xbf{"text": "a"}', 400),
    ],
)
def test_a_body_that_is_wrong_is_a_problem(service: Service, body: bytes, status: int) -> None:
    found, problem = send(service, post(body))
    assert (found, problem["status"]) == (status, status)
    assert problem["detail"].endswith(".")
    assert "\n" not in problem["detail"]
    assert service.ask(RIGHT)[0] == 200


def test_a_nul_and_a_control_in_the_text_are_as_if_they_were_not_there(service: Service) -> None:
    assert service.ask({"text": "lamp\0 \x1b off\ufeff"}) == service.ask({"text": "lamp off"})


def test_a_head_without_end_is_refused_and_its_sender_can_read_that(service: Service) -> None:
    status, _ = send(service, b"GET /healthz HTTP/1.1\r\nA: " + b"a" * 1_000_000)
    assert status == 431


def test_a_body_in_endless_chunks_is_refused(service: Service) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        connection.sendall(head)
        with pytest.raises(OSError):  # it is not read for ever either
            connection.sendall((b"8000\r\n" + b"a" * 32_768 + b"\r\n") * 2000)
    assert service.ask(RIGHT)[0] == 200


def test_nonsense_behind_a_request_is_a_problem_and_no_fault(service: Service) -> None:
    asked = post(b'{"text": "lamp off"}')
    for behind in (b"nonsense\r\n\r\n", asked[:-5] + b"\r\nnonsense\r\n\r\n", asked + b"\0" * 50):
        status, _ = send(service, asked + behind)
        assert status in (200, 400)
    waits = asked[: asked.index(b"Content")] + b"Expect: 100-continue\r\n"
    chunked = waits + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    assert send(service, chunked)[0] == 400
    assert service.ask(RIGHT)[0] == 200


def test_a_request_that_drips_is_given_up_and_says_so(service: Service) -> None:
    drops = [bytes((byte,)) for byte in post(b'{"text": "lamp off"}')[:60]]
    with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
        connection.settimeout(0.05)
        for drop in drops:
            connection.sendall(drop)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        connection.settimeout(30)
        assert read(connection)[0] == 408


def test_who_sends_half_and_leaves_costs_nothing(service: Service) -> None:
    for data in (b"", b"GET", post(b'{"text": "lamp off"}')[:-3]):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", service.port), 30) as connection:
                connection.sendall(data)
    wait_for(lambda: service.ask(RIGHT)[0] == 200)  # as soon as it has seen them go


def test_clients_that_only_hold_connections_lose_them(service: Service) -> None:
    held = [socket.create_connection(("127.0.0.1", service.port), 30) for _ in range(6)]
    try:
        assert send(service, post(b'{"text": "lamp off"}'))[0] == 503
        assert all(read(connection)[0] == 408 for connection in held)
    finally:
        for connection in held:
            connection.close()
    assert service.ask(RIGHT)[0] == 200


@pytest.mark.parametrize(
    "target",
    ["/", "//", "/v1", "/v1/predict/", "/V1/predict", "/healthz/../metrics", "/%00", "/é", "*"],
)
def test_a_path_that_is_none_is_a_problem(service: Service, target: str) -> None:
    line = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    status, problem = send(service, line)
    assert status == problem["status"]
    assert status in (400, 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_is_none_is_a_problem(service: Service, method: str) -> None:
    assert send(service, f"{method} /v1/predict HTTP/1.1\r\nHost: a\r\n\r\n".encode())[0] == 405


def start(*words: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """A service that is not expected to start."""
    how = ["-c", code] if code else ["-m", "edge"]
    return subprocess.run(
        [sys.executable, *how, "serve", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_an_address_in_use_is_named(service: Service, tiny_compiled: Path, tmp_path: Path) -> None:
    ended = start("--model", tiny_compiled, "--listen", f"127.0.0.1:{service.port}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: Another process listens on 127.0.0.1:{service.port}:")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        ended = start("--model", tiny_compiled, "--listen", f"unix:{tmp_path}/s")
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert ended.stderr.startswith(f"error: Another process answers on {tmp_path}/s:")
    assert service.ask(RIGHT)[0] == 200


def test_a_folder_or_a_file_in_the_socket_s_place_is_left_alone(
    tiny_compiled: Path, tmp_path: Path
) -> None:
    for name in ("folder", "file"):
        place = tmp_path / name
        place.mkdir() if name == "folder" else place.write_text("mine")
        ended = start("--model", tiny_compiled, "--listen", f"unix:{place}")
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert ended.stderr.startswith(f"error: {place}")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_clock_in_1970_changes_no_answer(
    service: Service, tiny_compiled: Path, tmp_path: Path
) -> None:
    """The time of day as a device without a battery for it has it: some seconds after the epoch."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[telemetry]\nfolder = "{tmp_path}/telemetry"\nwindow_seconds = 1\nminimum_count = 1\n'
        f'destination = "file:{tmp_path}/sent"\n'
    )
    code = (
        "import time; began = time.monotonic(); time.time = lambda: time.monotonic() - began\n"
        "from edge.cli import main; raise SystemExit(main())\n"
    )
    command = [sys.executable, "-c", code, "serve", "--model", str(tiny_compiled)]
    command += ["--config", str(config), "--listen", f"unix:{tmp_path}/s"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("serving ")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(f"{tmp_path}/s")
        connection.sendall(post(json.dumps(RIGHT).encode()))
        status, answer = read(connection)
    assert (status, answer) == (200, json.loads(service.ask(RIGHT)[1]))
    process.terminate()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
