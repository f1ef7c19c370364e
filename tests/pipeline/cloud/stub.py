"""An HTTP server that answers as AWS's JSON services do, from a script.

For what the emulator lacks (ListPipelineExecutionSteps) or cannot be made to do: throttle, deny,
let credentials expire, fail half way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]]


def ok(**content: Any) -> Answer:
    return 200, content


def refused(code: str, message: str = "no", status: int = 400) -> Answer:
    return status, {"__type": code, "message": message}


THROTTLED = refused("ThrottlingException", "Rate exceeded")


class Stub:
    """Answers by operation: each answer once, the last for ever.

    Attributes:
        asked: The operations in the order in which they were asked, and what with.
    """

    def __init__(self, **script: list[Answer]) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.address = ""
        self.changed = threading.Condition()

    def answer(self, operation: str, content: dict[str, Any]) -> Answer:
        with self.changed:
            self.asked.append((operation, content))
            self.changed.notify_all()
            answers = self.script.get(operation)
            if not answers:
                return refused("UnknownOperationException", f"{operation} is not in the script")
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def operations(self) -> list[str]:
        return [name for name, _ in self.asked]

    def wait_for(self, operation: str, times: int = 1) -> None:
        """Block until an operation has been asked for so often."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.operations().count(operation) >= times, 60)


@contextmanager
def serve(stub: Stub) -> Iterator[Stub]:
    """Serve a stub at ``stub.address`` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            content = json.loads(self.rfile.read(length) or b"{}")
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            status, answer = stub.answer(operation, content)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
