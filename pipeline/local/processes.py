"""Starts a job under its launcher, follows its log and stops it; see ``launch.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

GRACE_SECONDS = 10.0
"""How long a job may take to end after SIGTERM; SageMaker gives 120 s, but nobody watches."""
_POLL_SECONDS = 0.2
_LAUNCHER = Path(__file__).with_name("launch.py")


class StopRequest:
    """Asks everything that runs to end; asked again, to end at once. Safe in signal handlers."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.insisted = threading.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.insisted.set()
        self.asked.set()


@dataclass(frozen=True)
class Command:
    """What to run.

    Attributes:
        log: The file that takes output and errors.
        stop: A command that stops the job gently, where a signal to its processes does not.
        kill: A command to run beside the signal when the job has to go at once.
        hold: A file descriptor to keep open until the job has ended: the execution's lock.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    stop: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    hold: int | None = None
    grace: float = GRACE_SECONDS


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, negative for a signal, or why it could not be started."""

    returncode: int
    error: str | None = None

    @property
    def signal(self) -> int | None:
        """The signal that ended it, also when a shell or a container reported it as 128 + n."""
        if self.returncode < 0:
            return -self.returncode
        return self.returncode - 128 if 128 < self.returncode <= 192 else None


def run_command(
    command: Command,
    stop: StopRequest,
    on_line: Callable[[str], None],
    meanwhile: Callable[[], None],
) -> Ended:
    """Run a job to its end.

    Args:
        command: What to run.
        stop: Ends the job early.
        on_line: Called with every line that the job wrote.
        meanwhile: Called a few times a second while the job runs.
    """
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=() if command.hold is None or sys.platform == "win32" else (command.hold,),
        start_new_session=True,  # Ctrl-C in the terminal is for the runner alone
    )
    lines = _LogLines(command.log, on_line)
    orders, report = cast("BinaryIO", launcher.stdin), cast("BinaryIO", launcher.stdout)
    _send(orders, json.dumps(_description(command)))
    done = threading.Event()
    threading.Thread(target=lambda: (launcher.wait(), done.set()), daemon=True).start()
    asked = False
    try:
        while not done.wait(_POLL_SECONDS):
            lines.follow()
            meanwhile()
            if stop.asked.is_set() and not asked:
                asked = True
                _send(orders, "stop")
            if stop.insisted.is_set():
                _close(orders)
    finally:
        _close(orders)  # whatever went wrong here, the job does not stay behind
        launcher.wait()
    lines.follow(to_the_end=True)
    with report:
        return _ended(report.read(), launcher.returncode)


def _description(command: Command) -> dict[str, object]:
    return {
        "command": list(command.words),
        "env": dict(command.environment),
        "cwd": str(command.folder),
        "log": str(command.log),
        "stop": list(command.stop),
        "kill": list(command.kill),
        "grace": command.grace,
    }


def _ended(report: bytes, launcher_code: int) -> Ended:
    try:
        answer = cast("dict[str, object]", json.loads(report))
    except ValueError:  # killed itself before it could say anything
        return Ended(launcher_code or 1)
    if "error" in answer:
        return Ended(127, str(answer["error"]))
    return Ended(cast("int", answer["returncode"]))


def _send(orders: BinaryIO, line: str) -> None:
    with suppress(OSError, ValueError):  # it has ended, or the channel is closed already
        orders.write(line.encode() + b"\n")
        orders.flush()


def _close(orders: BinaryIO) -> None:
    with suppress(OSError):
        orders.close()


class _LogLines:
    """Hands out the lines of a growing file."""

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._path = path
        self._on_line = on_line
        self._position = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def follow(self, to_the_end: bool = False) -> None:
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._position)
            self._rest += file.read()
            self._position = file.tell()
        *lines, self._rest = self._rest.split(b"\n")
        if to_the_end and self._rest:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            # a progress bar redraws its line: only the last state is of interest
            self._on_line(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace"))
