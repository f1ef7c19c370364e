"""The launcher, called in this process: its own one runs without coverage and site-packages."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.local.launch import main

DEAF = "import signal,time; signal.signal(15, lambda *_: None); print('up', flush=True)"


def launch(
    tmp_path: Path, code: str, act: Callable[[Any, Path], None] | None = None, **job: Any
) -> dict[str, Any]:
    """Run ``code``; ``act`` gets the launcher's input and the log, in another thread."""
    log = tmp_path / "log"
    description = {
        "command": [sys.executable, "-S", "-c", code],
        "env": dict(os.environ),
        "cwd": str(tmp_path),
        "log": str(log),
        "stop": [],
        "kill": [],
        "grace": 30,
        **job,
    }
    reading, writing = os.pipe()
    result = io.StringIO()
    with os.fdopen(reading) as source, os.fdopen(writing, "w") as orders:
        orders.write(json.dumps(description) + "\n")
        orders.flush()
        actor = threading.Thread(target=act or (lambda *_: None), args=(orders, log))
        actor.start()
        main(source, result)
        actor.join()
        orders.close()
    return json.loads(result.getvalue())


def wait_for(log: Path, word: str) -> None:
    while not log.exists() or word not in log.read_text():
        threading.Event().wait(0.01)


def say(*words: str) -> Callable[[Any, Path], None]:
    def act(orders: Any, log: Path) -> None:
        wait_for(log, "up")
        for word in words:
            orders.write(word + "\n")
            orders.flush()

    return act


def test_the_exit_code_is_reported_and_the_log_written(tmp_path: Path) -> None:
    assert launch(tmp_path, "print('hello'); raise SystemExit(3)") == {"returncode": 3}
    assert (tmp_path / "log").read_text() == "hello\n"


def test_a_job_that_is_asked_to_stop_gets_sigterm(tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    assert launch(tmp_path, code, say("stop", "stop")) == {"returncode": -15}


def test_a_deaf_job_is_killed_after_its_grace(tmp_path: Path) -> None:
    assert launch(tmp_path, f"{DEAF}; time.sleep(600); time.sleep(600)", say("stop"), grace=0.1,
                  kill=["no-such-engine"]) == {"returncode": -9}  # fmt: skip


def test_a_job_is_killed_when_the_runner_is_gone(tmp_path: Path) -> None:
    def die(orders: Any, log: Path) -> None:
        wait_for(log, "up")
        orders.close()

    mark = tmp_path / "engine-was-called"
    kill = [sys.executable, "-S", "-c", f"open({str(mark)!r}, 'w')"]
    code = f"{DEAF}; time.sleep(600); time.sleep(600)"
    assert launch(tmp_path, code, die, kill=kill) == {"returncode": -9}
    assert mark.exists()


def test_an_engine_is_asked_to_stop_in_its_own_words(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    stop = [sys.executable, "-S", "-c", f"open({str(mark)!r}, 'w')"]
    wait = f"while not os.path.exists({str(mark)!r}): time.sleep(0.01)"
    code = f"import os, time; print('up', flush=True)\n{wait}"
    assert launch(tmp_path, code, say("stop"), stop=stop) == {"returncode": 0}


def test_a_program_that_cannot_be_run_is_reported(tmp_path: Path) -> None:
    error = launch(tmp_path, "", command=["no-such-program"])["error"]
    assert error == "no-such-program cannot be run: No such file or directory"
