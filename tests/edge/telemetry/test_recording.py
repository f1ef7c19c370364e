"""Telemetry from the service's calls to a receiver: a real server, real processes, real outages."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.settings import Settings
from edge.telemetry import Telemetry
from tests.edge.telemetry.test_window import Answer

SECRET = "turn the secret lamp off"


class Receiver:
    """An HTTP server that notes what it is sent and answers as it is told."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.statuses: list[int] = []
        """What to answer next; 200 when empty."""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                if status == 200:
                    receiver.seen.append((self.headers["idempotency-key"], json.loads(data)))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def settings(destination: str, **more: Any) -> Settings:
    return Settings.parse(
        {
            "thing": "kitchen-1",
            "telemetry": {"destination": destination, "window_seconds": 1, **more},
        }
    )


@contextmanager
def counting(given: Settings, root: Path | None) -> Iterator[Telemetry]:
    versions = {"component": "1.0.3", "model": "3"}
    telemetry = Telemetry.start(given, root, versions, first_wait=0.05)
    try:
        yield telemetry
    finally:
        telemetry.close()


def observe(telemetry: Telemetry, count: int = 10) -> None:
    for _ in range(count):
        telemetry.observe(Answer(), len(SECRET), 0.001)


def wait_for(what: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def test_a_window_arrives_with_its_id_and_without_what_was_said(
    receiver: Receiver, tmp_path: Path
) -> None:
    with counting(settings(f"http://127.0.0.1:{receiver.port}/w"), tmp_path) as telemetry:
        observe(telemetry)
        telemetry.error("overload")
        wait_for(lambda: receiver.seen)
    identity, window = receiver.seen[0]
    assert window["id"] == identity
    assert (window["thing"], window["component"], window["model"]) == ("kitchen-1", "1.0.3", "3")
    assert window["utterances"] == 10
    assert window["errors"] == {"overload": 1}
    text = json.dumps(receiver.seen)
    assert not [word for word in SECRET.split() if len(word) > 3 and word in text]
    wait_for(lambda: not list((tmp_path / "telemetry").glob("0*.json")))


def test_what_waits_while_nobody_answers_is_sent_once_somebody_does(tmp_path: Path) -> None:
    gone = Receiver()
    port = gone.port
    gone.stop()
    with counting(settings(f"http://127.0.0.1:{port}/"), tmp_path) as telemetry:
        observe(telemetry)
        wait_for(lambda: list((tmp_path / "telemetry").glob("0*.json")))
        receiver = Receiver(port=port)
        wait_for(lambda: receiver.seen)
        receiver.stop()
    assert receiver.seen[0][1]["utterances"] == 10


def test_a_server_in_trouble_is_asked_again_and_gets_the_same_id(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.statuses = [503, 500, 429, 302]
    with counting(settings(f"http://127.0.0.1:{receiver.port}/"), tmp_path) as telemetry:
        observe(telemetry)
        wait_for(lambda: receiver.seen)
    assert receiver.statuses == []
    assert len({identity for identity, _ in receiver.seen}) == len(receiver.seen)


def test_a_refused_window_is_in_nobodys_way(receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [400] * 5
    with counting(settings(f"http://127.0.0.1:{receiver.port}/"), tmp_path) as telemetry:
        observe(telemetry)
        wait_for(lambda: not receiver.statuses)
        wait_for(lambda: list((tmp_path / "telemetry" / "aside").glob("*.json")))
        observe(telemetry)
        wait_for(lambda: receiver.seen)
    assert receiver.seen[0][1]["lost"]["refused"] == 1


def test_a_server_with_a_strangers_certificate_gets_nothing(tmp_path: Path) -> None:
    files = [str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[0], "-out",
         files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    receiver = Receiver(context)
    with counting(settings(f"https://127.0.0.1:{receiver.port}/"), tmp_path / "root") as telemetry:
        observe(telemetry)
        wait_for(lambda: list((tmp_path / "root" / "telemetry").glob("0*.json")))
        time.sleep(0.5)
    receiver.stop()
    assert receiver.seen == []
    assert list((tmp_path / "root" / "telemetry").glob("0*.json"))


def test_a_folder_gets_each_window_as_a_file(tmp_path: Path) -> None:
    with counting(settings(f"file:{tmp_path}/out"), tmp_path / "root") as telemetry:
        observe(telemetry)
        wait_for(lambda: list((tmp_path / "out").glob("*.json")))
    [path] = (tmp_path / "out").glob("*.json")
    assert json.loads(path.read_text())["id"] == path.stem


def test_closing_writes_the_open_window_down(tmp_path: Path) -> None:
    given = settings("http://127.0.0.1:9/", window_seconds=3600)
    with counting(given, tmp_path) as telemetry:
        observe(telemetry)
    assert len(list((tmp_path / "telemetry").glob("0*.json"))) == 1


def test_failed_updates_are_told_once_without_their_reasons(
    receiver: Receiver, tmp_path: Path
) -> None:
    reports = [
        {"id": "a1", "kind": "crash", "version": "1.0.4", "reason": f"It said {SECRET}."},
        {"id": "a2", "kind": "What a sentence!", "version": "; rm -rf", "reason": ""},
        "no report",
    ]
    (tmp_path / "state.json").write_text(json.dumps({"reports": reports}))
    given = settings(f"http://127.0.0.1:{receiver.port}/")
    for _ in range(2):
        with counting(given, tmp_path):
            wait_for(lambda: len(receiver.seen) >= 2)
            time.sleep(0.3)
    told = [report for _, window in receiver.seen for report in window["reports"]]
    assert told == [
        {"kind": "crash", "version": "1.0.4"},
        {"kind": "other", "version": ""},
    ]
    assert "secret" not in json.dumps(receiver.seen)


def test_without_a_destination_nothing_is_counted_or_kept(tmp_path: Path) -> None:
    with counting(settings("none"), tmp_path) as telemetry:
        observe(telemetry)
        telemetry.error("overload")
    assert list(tmp_path.iterdir()) == []


def test_counting_never_costs_an_answer(tmp_path: Path) -> None:
    (tmp_path / "telemetry").write_text("no folder")
    with counting(settings("http://127.0.0.1:9/"), tmp_path) as telemetry:
        telemetry.observe(None, 1, 0.1)  # type: ignore[arg-type]
        observe(telemetry)
        time.sleep(1.5)
        observe(telemetry)


def test_many_threads_count_together(tmp_path: Path) -> None:
    with counting(settings(f"file:{tmp_path}/out", window_seconds=2), tmp_path) as telemetry:
        threads = [threading.Thread(target=observe, args=(telemetry, 500)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert sum(window["utterances"] for window in found) == 4000
