"""A device's service as a process, for the benchmarks that ask it.

The runtime is started as a device starts it: from a folder that holds it (an unpacked component, or
the repository), with nothing else on PYTHONPATH. What it leaves out: the clients.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent


class Service:
    """``slm-edge serve --model`` until the ``with`` block ends; then it must end well.

    Args:
        model: The compiled folder.
        folder: For the configuration and what the service says.
        limits: ``[limits]`` of the configuration.
        runtime: The folder that holds ``edge/``, or some of them as PYTHONPATH has them.
        more: Further sections of the configuration.
        interpreter: The command that runs a module.
    """

    def __init__(
        self,
        model: Path,
        folder: Path,
        limits: Mapping[str, float] | None = None,
        runtime: Path | str = REPOSITORY,
        more: str = "",
        interpreter: Sequence[str] = (sys.executable, "-P"),
    ) -> None:
        config = folder / "config.toml"
        lines = [f"{key} = {value}" for key, value in (limits or {}).items()]
        config.write_text("\n".join(["[limits]", *lines, more, ""]))
        self._log = folder / "service.log"
        arguments = ["-m", "edge", "serve", "--model", str(model)]
        arguments += ["--config", str(config), "--listen", "127.0.0.1:0"]
        self.began = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*interpreter, *arguments], cwd=folder, stderr=log, env=environment(runtime)
            )
        self.port = self._port()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        code = self.stop()
        if error is None and (code != 0 or self.said):
            raise SystemExit(f"the service ended with {code} and said: {self.said[-2000:]}")

    @property
    def said(self) -> str:
        """What it wrote after it was ready: nothing, if all is well."""
        return self._log.read_text(errors="replace").partition("\n")[2]

    @property
    def resident(self) -> float:
        """Its memory now, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def stop(self) -> int:
        """Ask it to end, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()

    def ask(self, value: object, seconds: float = 30) -> tuple[int, bytes]:
        """Send one body as JSON; the answer's status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("POST", "/v1/predict", json.dumps(value).encode())
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _port(self) -> int:
        """Wait for the line that says where it serves."""
        while True:
            said = self._log.read_text(errors="replace")
            if found := re.match(r"serving .* on 127\.0\.0\.1:([0-9]+)\n", said):
                return int(found[1])
            if self.process.poll() is not None or time.perf_counter() - self.began > 120:
                self.stop()
                raise SystemExit(f"the service did not start: {said[-2000:]}")
            time.sleep(0.002)


def environment(runtime: Path | str) -> dict[str, str]:
    """This one, with other source code, whose byte code is not kept."""
    return {**os.environ, "PYTHONPATH": str(runtime), "PYTHONDONTWRITEBYTECODE": "1"}
