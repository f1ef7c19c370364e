"""Runs one job and outlives nothing: started by the runner as ``python -I -S launch.py``.

The first line of its input says what to run; a line ``stop`` asks the job to end, and the end of
the input, which is also what the death of the runner looks like, kills it at once, with all the
processes that it started. Its only output is one line of JSON that says how the job ended.

On Linux the job is also killed by the kernel if this process is; elsewhere such a job goes on
until it ends by itself. Leaves the log to the job, which writes its file directly.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

_PR_SET_PDEATHSIG = 1
Job = subprocess.Popen[bytes]


def main(source: TextIO, result: TextIO) -> None:
    """Run the job that ``source`` describes and write to ``result`` how it ended."""
    job: dict[str, Any] = json.loads(source.readline())
    try:
        with open(job["log"], "ab") as log:  # noqa: PTH123 - pathlib would cost every job 10 ms
            process = _start(job, log.fileno())
    except OSError as error:
        _report(result, {"error": f"{job['command'][0]} cannot be run: {error.strerror}"})
        return
    ended = threading.Event()
    listener = threading.Thread(target=_obey, args=(source, process, job, ended), daemon=True)
    listener.start()
    returncode = process.wait()
    ended.set()
    _kill(process)  # what it left behind in its group
    _report(result, {"returncode": returncode})


def _obey(source: TextIO, process: Job, job: dict[str, Any], ended: threading.Event) -> None:
    stopping = None
    for line in source:
        if line.strip() == "stop" and stopping is None:
            stopping = threading.Thread(target=_stop, args=(process, job, ended), daemon=True)
            stopping.start()
    if not ended.is_set():
        _aside(job["kill"])
        _kill(process)


def _stop(process: Job, job: dict[str, Any], ended: threading.Event) -> None:
    """Ask the job to end; make it end after the grace period."""
    if job["stop"]:
        _aside(job["stop"])
    else:
        _terminate(process)
    if not ended.wait(job["grace"]):
        _aside(job["kill"])
        _kill(process)


def _aside(command: "list[str] | None") -> None:
    """Run a container engine's own command; what it answers changes nothing here."""
    if command:
        with contextlib.suppress(OSError):
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )


def _report(result: TextIO, value: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the runner may be gone
        result.write(json.dumps(value) + "\n")
        result.flush()


if sys.platform == "win32":

    def _start(job: dict[str, Any], log: int) -> Job:
        return subprocess.Popen(
            job["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job["cwd"],
            env=job["env"],
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )

    def _terminate(process: Job) -> None:
        process.send_signal(signal.CTRL_BREAK_EVENT)

    def _kill(process: Job) -> None:
        _aside(["taskkill", "/F", "/T", "/PID", str(process.pid)])
else:

    def _start(job: dict[str, Any], log: int) -> Job:
        return subprocess.Popen(
            job["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job["cwd"],
            env=job["env"],
            process_group=0,
            preexec_fn=_die_with_parent(),
        )

    def _die_with_parent() -> "Callable[[], None] | None":
        if sys.platform != "linux":
            return None
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        parent = os.getpid()

        def in_child() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

        return in_child

    def _terminate(process: Job) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)

    def _kill(process: Job) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
