"""One process of one version: started, waited for until it is ready, ended.

What it leaves out: which version serves (:mod:`edge.updates.supervisor`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, cast

from edge.updates import launch

READY_SECONDS = 60.0
"""A slow card takes some seconds to load a model."""
LONGEST = 65_536
"""Bytes that a worker may say before it is ready."""


class Worker:
    """Make it with :meth:`start`."""

    def __init__(self, version: str, process: subprocess.Popen[bytes], ready_fd: int) -> None:
        self.version = version
        self.process = process
        self.ready_fd: int | None = ready_fd
        self.started = time.monotonic()
        self.ready_at: float | None = None
        self.problem = ""
        """Why it did not get ready, once :meth:`poll` found that out."""
        self._said = b""

    @classmethod
    def start(
        cls,
        version: str,
        folder: Path,
        python: str,
        listener: socket.socket,
        root: Path,
        config: Path | None,
    ) -> Worker:
        """Start the worker of a version, which accepts on ``listener`` once it is ready.

        Raises:
            OSError: It cannot be started.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        number = listener.fileno()
        arguments = ["--model", str(folder / "model"), "--socket-fd", str(number)]
        arguments += ["--ready-fd", str(writing), "--root", str(root)]
        arguments += ["--package-version", version]
        arguments += ["--config", str(config)] if config is not None else []
        try:
            process = launch.start(
                folder, "edge.service", arguments, python=python, fds=(number, writing)
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return cls(version, process, reading)

    @property
    def is_ready(self) -> bool:
        """Whether it said so."""
        return self.ready_at is not None

    def poll(self) -> None:
        """Read what it said; afterwards it is ready, has a problem, or neither yet."""
        if self.ready_fd is None or self.problem:
            return
        ended = False
        with contextlib.suppress(BlockingIOError):
            while not ended and len(self._said) <= LONGEST:
                more = os.read(self.ready_fd, 4096)
                self._said += more
                ended = not more
        if b"\n" in self._said or ended or len(self._said) > LONGEST:
            self._judge()
        elif time.monotonic() - self.started > READY_SECONDS:
            self.problem = f"It was not ready within {READY_SECONDS:.0f} seconds."
        elif self.process.poll() is not None:
            self.problem = f"It ended with {self.process.returncode} before it was ready."

    def end(self) -> None:
        """Ask it to finish what it accepted and end."""
        self._close_pipe()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._close_pipe()
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _judge(self) -> None:
        line = self._said.partition(b"\n")[0]
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        said = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if said.get("ready") is True:
            self.ready_at = time.monotonic()
            self._close_pipe()
            return
        reason = said.get("reason")
        if isinstance(reason, str) and reason:
            self.problem = reason[:300]
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.problem = f"It ended with {self.process.returncode} and did not say why."
        if self.process.returncode is None:
            self.problem = "What it said before it was ready is not what a worker says."

    def _close_pipe(self) -> None:
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
