"""docs/api/openapi.yaml and the server, held to each other over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig

from edge.cleaning import clean
from edge.service.app import METHODS, App
from edge.service.engine import MOST_CANDIDATES, TOP_K
from edge.service.server import HEAD_BYTES
from edge.settings import Limits

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "api" / "openapi.yaml"
DESCRIBED = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
SCHEMAS = DESCRIBED["components"]["schemas"]
RESPONSES = DESCRIBED["components"]["responses"]
LIMITS = Limits()
CONNECTIONS = 12
STRICT = f"[limits]\nrequest_seconds = 0.5\nconnections = {CONNECTIONS}\n"
PATIENT = "[limits]\ndeadline_seconds = 60\nrequest_seconds = 60\n"

SCHEMA = schemathesis.openapi.from_path(
    DOCUMENT,
    config=SchemathesisConfig.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": ["400", "405", "413"]}}}
    ),
)


@contextlib.contextmanager
def serve(model: Path, folder: Path, configuration: str) -> Iterator[int]:
    """``slm-edge serve`` with a configuration; its port."""
    config = folder / "config.toml"
    config.write_text(configuration)
    command = [sys.executable, "-m", "edge", "serve", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--config", str(config), "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.fullmatch(r"serving .* on 127\.0\.0\.1:([0-9]+)\n", said)
        assert found, said
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""  # no client fills a device's log
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def patient(tiny_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that no slow machine brings to its deadline."""
    with serve(tiny_compiled, tmp_path_factory.mktemp("patient"), PATIENT) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def strict(tiny_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that is soon out of patience and of room."""
    with serve(tiny_compiled, tmp_path_factory.mktemp("strict"), STRICT) as port:
        yield port


@SCHEMA.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_server_does_what_the_document_says(case: schemathesis.Case, patient: str) -> None:
    case.call_and_validate(base_url=patient, timeout=60)


class Answer:
    """A response that was read to its end."""

    def __init__(self, received: bytes) -> None:
        response = http.client.HTTPResponse(SimpleNamespace(makefile=lambda _: BytesIO(received)))  # pyright: ignore
        response.begin()
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def send(port: int, data: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(data)
        return Answer(connection.makefile("rb").read())


def request(line: str, body: bytes = b"", *, length: int | None = None, head: str = "") -> bytes:
    """A request after which the server closes."""
    size = len(body) if length is None else length
    fields = f"Host: device\r\nConnection: close\r\n{head}Content-Length: {size}\r\n\r\n"
    return f"{line} HTTP/1.1\r\n{fields}".encode() + body


def ask(value: object) -> bytes:
    return request("POST /v1/predict", json.dumps(value).encode())


REFUSED = [
    ("BadRequest", b"no HTTP at all\r\n\r\n"),
    ("BadRequest", request("POST /v1/predict", b"\xff")),
    ("BadRequest", ask({"text": "lamp off", "language": "en"})),
    ("BadRequest", ask({"text": "lamp off", "texts": []})),
    ("BadRequest", ask({"text": "\u200b \t"})),
    ("BadRequest", ask({"text": "lamp off", "top_k": MOST_CANDIDATES + 1})),
    ("NotFound", request("GET /v1/models")),
    ("MethodNotAllowed", request("GET /v1/predict")),
    ("MethodNotAllowed", request("DELETE /healthz")),
    ("RequestTimeout", request("POST /v1/predict", b"{", length=9)),
    ("RequestTimeout", b"GET /healthz HTTP/1.1\r\nHost:"),
    ("ContentTooLarge", request("POST /v1/predict", b" " * (LIMITS.body_bytes + 1))),
    ("ContentTooLarge", ask({"text": "a" * (LIMITS.characters + 1)})),
    ("ContentTooLarge", ask({"texts": ["a"] * (LIMITS.batch + 1)})),
    ("HeadTooLarge", request("GET /healthz", head=f"A: {'a' * HEAD_BYTES}\r\n")),
    ("HeadTooLarge", f"GET /{'a' * HEAD_BYTES}".encode()),
]
STATUSES = {
    "BadRequest": 400,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "RequestTimeout": 408,
    "ContentTooLarge": 413,
    "HeadTooLarge": 431,
    "InternalError": 500,
    "Unavailable": 503,
}


def check_problem(name: str, answer: Answer) -> None:
    """An answer is the documented response ``name``: status, headers and body."""
    assert answer.status == STATUSES[name]
    for header, rules in RESPONSES[name].get("headers", {}).items():
        value = answer.headers[header]
        assert value is not None
        wants_number = rules["schema"].get("type") == "integer"
        jsonschema_rs.validate(rules["schema"], int(value) if wants_number else value)
    assert [answer.headers["content-type"]] == list(RESPONSES[name]["content"])
    problem = json.loads(answer.body)
    jsonschema_rs.validate(SCHEMAS["Problem"], problem)
    assert problem["status"] == answer.status


def test_the_document_is_openapi() -> None:
    validate(DESCRIBED)


def test_the_document_names_the_paths_and_methods_that_there_are() -> None:
    named = {path: [key.upper() for key in item] for path, item in DESCRIBED["paths"].items()}
    assert named == {path: [method] for path, method in METHODS.items()}


def test_the_document_states_the_limits_that_there_are() -> None:
    utterance, top_k = SCHEMAS["Utterance"], SCHEMAS["TopK"]
    assert utterance["maxLength"] == LIMITS.characters
    assert SCHEMAS["Utterances"]["properties"]["texts"]["maxItems"] == LIMITS.batch
    assert (top_k["maximum"], top_k["default"]) == (MOST_CANDIDATES, TOP_K)
    prose = " ".join(response["description"] for response in RESPONSES.values())
    named = re.findall(r"`([a-z_]+)` \(([0-9,]+)\)", prose)
    assert {key for key, _ in named} == {
        "request_seconds", "body_bytes", "characters", "batch", "queue", "deadline_seconds",
        "connections",
    }  # fmt: skip
    assert [float(text.replace(",", "")) for _, text in named] == [
        getattr(LIMITS, key) for key, _ in named
    ]
    assert f"{HEAD_BYTES:,} bytes" in prose


def test_an_utterance_that_the_document_allows_is_one_that_cleaning_leaves() -> None:
    pattern = re.compile(SCHEMAS["Utterance"]["pattern"])
    # everything that is neither a letter of some script nor half a pair
    planes = (range(0xD800), range(0xE000, 0x10000), range(0x1B000, 0x1E000))
    characters = map(chr, itertools.chain(*planes, range(0xE0000, 0xE0200)))
    assert [c for c in characters if bool(pattern.search(c)) != bool(clean(c))] == []


def test_every_documented_refusal_is_tried() -> None:
    documented = {
        f"#/components/responses/{name}": STATUSES[name] for name in RESPONSES
    }  # fails for a name that is not tried
    tried = {name for name, _ in REFUSED} | {"InternalError", "Unavailable"}
    assert tried == set(RESPONSES)
    for item in DESCRIBED["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                assert status == "200" or documented[response["$ref"]] == int(status)


@pytest.mark.parametrize(("name", "data"), REFUSED)
def test_a_refusal_is_the_documented_problem(strict: int, name: str, data: bytes) -> None:
    check_problem(name, send(strict, data))
    assert send(strict, request("GET /healthz")).status == 200


def test_a_whole_number_may_be_written_with_a_point(strict: int) -> None:
    answer = send(strict, request("POST /v1/predict", b'{"text": "lamp off", "top_k": 1.0}'))
    assert len(json.loads(answer.body)["top"]) == 1


def test_one_connection_too_many_is_the_documented_problem(strict: int) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(CONNECTIONS):
            opened.enter_context(socket.create_connection(("127.0.0.1", strict), 30))
        check_problem("Unavailable", send(strict, b""))


def test_a_fault_of_the_service_is_the_documented_problem() -> None:
    counted: list[str] = []

    async def fail(body: bytes) -> bytes:
        raise ZeroDivisionError

    engine: Any = SimpleNamespace(
        limits=LIMITS, predict=fail, telemetry=SimpleNamespace(error=counted.append)
    )
    sent: list[dict[str, Any]] = []

    async def answer() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        async def take(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/v1/predict", "method": "POST"}
        await App(engine, "1.0.1")(scope, receive, take)

    asyncio.run(answer())
    start, body = sent
    head = b"".join(b"%s: %s\r\n" % pair for pair in start["headers"])
    line = f"HTTP/1.1 {start['status']} x\r\n".encode()
    check_problem("InternalError", Answer(line + head + b"\r\n" + body["body"]))
    assert counted == ["internal"]
