"""Keeps exactly one good version serving: starts its worker, swaps to the next, goes back.

::

    candidate installed -> its worker gets ready beside the old one -> both accept -> the old one
    finishes what it accepted and ends -> trial -> confirmed, the version before the last is removed
                             └── not ready, or a crash in the trial -> refused; the old one serves

The supervisor holds the listening socket and hands it to its workers: while one is replaced,
connections wait in the kernel's queue instead of being refused. It decides by ``state.json`` and
by the monotonic clock, never by the time of day. It imports nothing large and never reads a
request, so that what makes a worker fall over does not reach it.

What it leaves out: checking packages (:mod:`edge.updates.install`) and answering.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.service.listening import address_of, open_socket, remove_socket
from edge.settings import Address, Settings
from edge.updates.errors import BusyError, UpdateError
from edge.updates.files import locked, write_json
from edge.updates.state import INSTALLED, STATE, Root, State
from edge.updates.worker import Worker

SERVING = "serve.json"
"""Who serves now, for ``status``: process, address, version."""
TICK = 0.2
"""Seconds between two looks at state and workers when nothing happens."""
STARTS = 3
"""Times that a candidate is started before it is given up: it may take the device down."""
UNREADY = 3
"""Times in a row that the serving version may fail to get ready before the one before it serves."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0
"""Seconds before a worker that ended is started again; doubled each time."""
CALM = 60.0
"""Seconds that a worker serves until its earlier failures are forgotten."""


@dataclass
class Leaving:
    """A worker that was told to end."""

    worker: Worker
    deadline: float


@dataclass
class Failures:
    """Of the version that serves, in a row."""

    unready: int = 0
    wait: float = FIRST_WAIT
    next_start: float = 0.0

    def count(self, unready: bool) -> None:
        """Another one: wait longer before the next start."""
        self.unready = self.unready + 1 if unready else 0
        self.next_start = time.monotonic() + self.wait
        self.wait = min(self.wait * 2, LONGEST_WAIT)


@dataclass
class Supervisor:
    """The loop and what it knows; :func:`serve` makes it."""

    root: Root
    settings: Settings
    config: Path | None
    listener: socket.socket
    state: State
    current: Worker | None = None
    """Accepts requests."""
    incoming: Worker | None = None
    """Is loading."""
    leaving: list[Leaving] = field(default_factory=list[Leaving])
    failures: Failures = field(default_factory=Failures)
    stopping: bool = False
    _stamp: tuple[int, int, int] = (0, 0, 0)
    _pending: list[Callable[[State], State]] = field(default_factory=list[Callable[[State], State]])
    """Changes that could not be written yet; what we know already contains them."""
    _retry_at: float = 0.0

    def run(self, wake: int) -> None:
        """Serve until ``stopping``; ``wake`` is a pipe that a signal writes to."""
        while not self.stopping:
            self.turn()
            reading = [wake]
            if self.incoming is not None and self.incoming.ready_fd is not None:
                reading.append(self.incoming.ready_fd)
            if wake in select.select(reading, [], [], TICK)[0]:
                os.read(wake, 512)
        self._stop()

    def turn(self) -> None:
        """Look at everything once."""
        self._reap()
        self._look_at_state()
        self._look_at_incoming()
        self._look_at_current()
        self._start_what_is_wanted()

    @property
    def wanted(self) -> str | None:
        """The version that should serve now: what served before, until a candidate can swap."""
        state = self.state
        nobody = self.current is None and self.failures.unready == 0
        if state.candidate is None or (nobody and state.serving is not None):
            return state.serving
        return state.candidate

    @property
    def address(self) -> Address:
        """Where it serves."""
        return address_of(self.listener, self.settings.address)

    def _reap(self) -> None:
        for item in list(self.leaving):
            if item.worker.process.poll() is not None:
                self.leaving.remove(item)
            elif time.monotonic() > item.deadline:
                item.worker.kill()

    def _look_at_state(self) -> None:
        if self._pending:
            self._write_pending()
        stamp = _stamp(self.root.path / STATE)
        if stamp != self._stamp and not self._pending:
            self._stamp = stamp
            self.state = self.root.read()

    def _look_at_incoming(self) -> None:
        worker = self.incoming
        if worker is None:
            return
        if worker.version != self.wanted:  # withdrawn, or another one was installed meanwhile
            worker.kill()
            self.incoming = None
            return
        worker.poll()
        if worker.is_ready:
            self._promote(worker)
        elif worker.problem:
            worker.kill()
            self.incoming = None
            self._failed(worker, worker.problem, unready=True)

    def _promote(self, worker: Worker) -> None:
        old, self.current, self.incoming = self.current, worker, None
        if old is not None:
            self._let_go(old)
        self._say(f"{worker.version} serves on {self.address}.")
        self._note(worker)

    def _look_at_current(self) -> None:
        worker = self.current
        if worker is None:
            return
        code = worker.process.poll()
        if code is not None:
            self.current = None
            self._failed(worker, f"Its process ended with {code}.", unready=False)
            return
        served = time.monotonic() - (worker.ready_at or worker.started)
        if served >= CALM:
            self.failures = Failures()
        if served >= self.settings.updates.trial_seconds and self._is_on_trial(worker.version):
            self._confirm(worker.version)

    def _is_on_trial(self, version: str) -> bool:
        if version == self.state.candidate:
            return True
        return version == self.state.serving and self.state.confirmed is None

    def _confirm(self, version: str) -> None:
        self._change(lambda state: state.confirm(version))
        with contextlib.suppress(OSError):
            note = self.root.installed(version)
            write_json(self.root.folder(version) / INSTALLED, {**note, "confirmed": True})
        self._say(f"{version} lived through its trial.")
        if not self._pending:
            _clean(self.root, {item.worker.version for item in self.leaving})

    def _failed(self, worker: Worker, reason: str, *, unready: bool) -> None:
        version = worker.version
        self._say(f"{version} failed: {reason}")
        if version == self.state.candidate:
            kind = "not_ready" if unready else "crash"
            self._change(lambda state: state.fail_candidate(version, kind, reason))
            self._say(f"{self.state.serving} serves again.")
            return
        self.failures.count(unready)
        before = self.state.previous
        if unready and self.failures.unready >= UNREADY and before and before != version:
            self._change(lambda state: _fall_back(state, version, reason))
            self.failures = Failures()
            self._say(f"{before} serves again.")
        elif not unready:
            self._change(lambda state: state.report(version, "crash", reason))

    def _start_what_is_wanted(self) -> None:
        version = self.wanted
        running = {w.version for w in (self.current, self.incoming) if w is not None}
        if version is None or version in running or time.monotonic() < self.failures.next_start:
            return
        if version == self.state.candidate and not self._may_try(version):
            return
        try:
            self.incoming = Worker.start(
                version,
                self.root.folder(version),
                str(self.root.installed(version).get("python") or sys.executable),
                self.listener,
                self.root.path,
                self.config,
            )
        except OSError as error:
            self._cannot_start(version, f"It cannot be started: {error.strerror or error}.")

    def _cannot_start(self, version: str, reason: str) -> None:
        self._say(f"{version} failed: {reason}")
        if version == self.state.candidate:
            self._change(lambda state: state.fail_candidate(version, "not_ready", reason))
            return
        self.failures.count(unready=True)
        if self.failures.unready >= UNREADY and self.state.previous:
            self._change(lambda state: _fall_back(state, version, reason))
            self.failures = Failures()

    def _may_try(self, version: str) -> bool:
        """Count the start of a candidate on disk before it happens."""
        if self._pending:  # the count could not be kept: what serves goes on serving
            return False
        if self.state.starts >= STARTS:
            reason = f"It was started {STARTS} times and did not live through its trial."
            self._change(lambda state: state.fail_candidate(version, "trial", reason))
            self._say(f"{version} failed: {reason}")
            return False
        before = self.state
        self._change(lambda state: _add_start(state, version, 1))
        if self._pending:
            self._pending.clear()
            self.state = before
            self._retry_at = self.failures.next_start = time.monotonic() + 5
            return False
        return True

    def _change(self, change: Callable[[State], State]) -> None:
        """Change the state now; on disk as soon as that can be done."""
        self.state = change(self.state)
        self._pending.append(change)
        self._retry_at = 0.0
        self._write_pending()

    def _write_pending(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        changes = list(self._pending)

        def all_of(state: State) -> State:
            for change in changes:
                state = change(state)
            return state

        try:
            self.state = self.root.change(all_of)
        except (OSError, UpdateError) as error:
            self._say(f"{self.root.path / STATE} cannot be written, it is tried again: {error}")
            self._retry_at = time.monotonic() + 5
            return
        self._pending.clear()
        self._stamp = _stamp(self.root.path / STATE)

    def _let_go(self, worker: Worker) -> None:
        worker.end()
        deadline = time.monotonic() + self.settings.limits.drain_seconds + 2
        self.leaving.append(Leaving(worker, deadline))

    def _stop(self) -> None:
        """Let the workers finish what they accepted."""
        healthy = self.current is not None and self.current.process.poll() is None
        version = self.current.version if self.current else ""
        if healthy and version == self.state.candidate:
            # a device that is switched off is no failure of the candidate
            self._change(lambda state: _add_start(state, version, -1))
        if self.incoming is not None:
            self.incoming.kill()
        if self.current is not None:
            self._let_go(self.current)
        while self.leaving:
            self._reap()
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            (self.root.path / SERVING).unlink()

    def _note(self, worker: Worker) -> None:
        note = {
            "pid": os.getpid(),
            "worker": worker.process.pid,
            "address": str(self.address),
            "version": worker.version,
        }
        with contextlib.suppress(OSError):
            write_json(self.root.path / SERVING, note)

    def _say(self, sentence: str) -> None:
        print(f"slm-edge: {sentence}", file=sys.stderr, flush=True)


def serve(path: Path, *, config: Path | None = None, listen: str | None = None) -> int:
    """``slm-edge serve --root``: until SIGTERM or SIGINT.

    Raises:
        EdgeError: The configuration or the address is wrong, nothing is installed, or another
            process serves this root.
    """
    settings = Settings.read(config).listening(listen)
    config = config.absolute() if config is not None else None  # workers start elsewhere
    root = Root(path)
    root.make()
    with locked(root.path / "lock", f"Another slm-edge serves {root.path}: stop that one first."):
        state = root.read()
        if state.candidate is None and state.serving is None:
            raise UpdateError(
                f"Nothing is installed in {root.path}: slm-edge install --root {root.path} "
                "--package PACKAGE."
            )
        _clean(root)
        listener = open_socket(settings.address)
        try:
            supervisor = Supervisor(root, settings, config, listener, state)
            _run(supervisor)
        finally:
            remove_socket(listener, settings.address)
    return 0


def _run(supervisor: Supervisor) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def stop(*_: object) -> None:
        supervisor.stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    waker = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        supervisor.run(reading)
    finally:
        signal.set_wakeup_fd(waker)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _fall_back(state: State, version: str, reason: str) -> State:
    """The version before serves again."""
    if state.serving != version or state.previous is None:
        return state
    state = state.refuse(version, "not_ready", reason)
    return replace(state, serving=state.previous, previous=None)


def _add_start(state: State, version: str, by: int) -> State:
    if state.candidate != version:
        return state
    return replace(state, starts=max(state.starts + by, 0))


def _clean(root: Root, busy: Set[str] = frozenset()) -> None:
    """Remove versions that nobody names, unless an installation is going on."""
    with (
        contextlib.suppress(BusyError, OSError),
        locked(root.path / "install.lock", "An installation is going on."),
    ):
        root.clean({*root.read().named(), *busy})


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
