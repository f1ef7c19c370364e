"""A supervisor as a process, and questions to it while it runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.edge.packages import REPOSITORY, Device

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def slm_edge(*words: object) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *map(str, words)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def install(device: Device, package: object, *more: str) -> subprocess.CompletedProcess[str]:
    return slm_edge(
        "install", "--root", device.root, "--config", device.config, "--package", package, *more
    )


class CutOffError(ValueError):
    """The connection ended before the answer did: who answered was killed."""


def ask(device: Device, text: str = "hello", seconds: float = 10) -> str:
    """The version that answers.

    Raises:
        OSError: Nobody does.
        CutOffError: Somebody began to.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(device.home / "s"))
        client.sendall(f"GET /{text} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        while more := client.recv(4096):
            answer += more
    head, _, content = answer.partition(b"\r\n\r\n")
    if f"Content-Length: {len(content)}\r\n".encode() not in head:
        raise CutOffError(f"{len(answer)} bytes and no more")
    body = json.loads(content)
    assert body["text"] == f"/{text}"
    return body["version"]


def wait_for(what: Callable[[], Any], seconds: float = 15) -> Any:
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = what()
        except (OSError, ValueError):
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Supervised:
    """``slm-edge serve --root`` of a device."""

    def __init__(self, device: Device, config: str = "", **environment: str) -> None:
        self.device = device
        self.log = device.home / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "serve", "--root", device.root, "--config",
                 config or device.config],
                env={**ENVIRONMENT, **environment}, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def serves(self, version: str) -> None:
        """Wait until ``version`` answers and nothing else is about to."""
        wait_for(lambda: ask(self.device) == version)

    def settles(self, version: str) -> None:
        """Wait until ``version`` is confirmed."""
        wait_for(lambda: self._is_settled(version))

    def _is_settled(self, version: str) -> bool:
        state = self.device.state()
        note = self.device.root / "versions" / version / "installed.json"
        return (
            state["serving"] == version
            and state["candidate"] is None
            and json.loads(note.read_text()).get("confirmed") is True
        )

    def says(self) -> str:
        return self.log.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@dataclass
class Crowd:
    """Clients that ask without a pause: what they were answered, and what went wrong."""

    device: Device
    versions: list[str] = field(default_factory=list[str])
    refused: int = 0
    cut: int = 0
    """Answers that ended with the process that gave them."""
    wrong: list[str] = field(default_factory=list[str])
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __enter__(self) -> Crowd:
        for number in range(3):
            thread = threading.Thread(target=self._ask, args=(number,))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        turn = 0
        while not self._ending.is_set():
            turn += 1
            try:
                self.versions.append(ask(self.device, f"{number}-{turn}"))
            except OSError:
                self.refused += 1
                time.sleep(0.01)
            except CutOffError:
                self.cut += 1
            except (AssertionError, ValueError, KeyError) as error:
                self.wrong.append(repr(error))
