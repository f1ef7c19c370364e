"""Answers ``GET /TEXT`` on the inherited socket with its version, and ends as a worker must."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--socket-fd", type=int, required=True)
parser.add_argument("--ready-fd", type=int, required=True)
parser.add_argument("--config")
parser.add_argument("--root")
parser.add_argument("--package-version")
options = parser.parse_args()
behaviour = json.loads((options.model / "behaviour.json").read_text())
listener = socket.socket(fileno=options.socket_fd)
stopping = threading.Event()
open_connections: set[threading.Thread] = set()


def say(message: object) -> None:
    os.write(options.ready_fd, json.dumps(message).encode() + b"\n")
    os.close(options.ready_fd)


if options.config and not Path(options.config).is_file():
    say({"ready": False, "reason": f"There is no configuration file {options.config}."})
    sys.exit(1)


def answer(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(5)
        request = b""
        while b"\r\n\r\n" not in request:
            more = connection.recv(65536)
            if not more:
                return
            request += more
        text = request.split(b" ")[1].decode()
        time.sleep(behaviour.get("answer_seconds", 0))
        if text == "/crash":
            os._exit(9)
        body = json.dumps({"version": options.package_version, "text": text}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)


def accept() -> None:
    listener.settimeout(0.05)
    while not stopping.is_set():
        try:
            connection, _ = listener.accept()
        except (TimeoutError, BlockingIOError):
            continue
        thread = threading.Thread(target=answer, args=(connection,), daemon=True)
        thread.start()
        open_connections.add(thread)


signal.signal(signal.SIGTERM, lambda *_: stopping.set())
time.sleep(behaviour.get("start_seconds", 0))
if behaviour.get("ready") is False:
    say({"ready": False, "reason": "The model does not fit."})
    sys.exit(1)
if behaviour.get("ready") == "silent":
    sys.exit(3)
if behaviour.get("ready") == "nonsense":
    os.write(options.ready_fd, b"\xff" * 100_000 + b"\n")
    time.sleep(60)
say({"ready": True, "version": options.package_version})
if "crash_seconds" in behaviour:
    threading.Timer(behaviour["crash_seconds"], os._exit, (7,)).start()
if "leave_seconds" in behaviour:
    threading.Timer(behaviour["leave_seconds"], os._exit, (0,)).start()
accept()
for thread in list(open_connections):
    thread.join(2)
while behaviour.get("drain") == "never":
    time.sleep(1)
os._exit(0)
