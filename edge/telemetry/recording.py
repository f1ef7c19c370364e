"""Counts what the service answers, closes a window now and then, and sees it sent.

``observe`` and ``error`` add to counters in memory, some microseconds under a lock; threads of our
own do everything with the disk and the network. Nothing here raises into the caller.

What it leaves out: what is counted (:mod:`edge.telemetry.window`), where it waits
(:mod:`edge.telemetry.spool`) and how it gets away (:mod:`edge.telemetry.delivery`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.errors import SettingsError
from edge.settings import Settings
from edge.telemetry.delivery import FIRST_WAIT, Delivery
from edge.telemetry.reports import read_reports
from edge.telemetry.senders import Sender, make_sender
from edge.telemetry.spool import Spool
from edge.telemetry.window import Lost, Observed, Origin, Window, encode

SNAPSHOTS = 12
"""Times in a window that it is written down: a power cut loses a twelfth of an hour."""
SOONEST, LATEST = 0.2, 300.0
"""Seconds between two snapshots, at least and at most."""
LONGEST = 24
"""Windows' lengths that a window with too few utterances to tell of stays open, at most."""
PATIENCE = 2.0
"""Seconds that closing waits for the network."""

_log = logging.getLogger("edge.telemetry")


class Telemetry:
    """Make it with :meth:`start`. Safe for threads; a second process may use the same folder."""

    def __init__(
        self, origin: Origin, length: float, spool: Spool | None, root: Path | None
    ) -> None:
        self._origin = origin
        self._length = length
        self._spool = spool
        self._root = root
        self._lock = threading.Lock()
        self._window = Window(time.monotonic())
        self._written = 0  # changes of the open window that a snapshot holds
        self._delivery: Delivery | None = None
        self._problem = ""
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="telemetry", daemon=True)

    @classmethod
    def start(
        cls,
        settings: Settings,
        root: Path | None,
        versions: Mapping[str, str],
        *,
        first_wait: float = FIRST_WAIT,
    ) -> Telemetry:
        """Begin to count. With ``destination = "none"`` nothing is counted, kept or sent.

        Args:
            settings: ``telemetry`` says how long a window is, and where it goes.
            root: The folder of the device's state: its reports are told, and ``telemetry`` in it
                is the spool unless the settings name another; None for memory only.
            versions: ``component`` (the package's) and ``model``.
            first_wait: Seconds before an unreachable receiver is tried again.
        """
        chosen = settings.telemetry
        origin = Origin(
            thing=settings.thing,
            component=str(versions.get("component", ""))[:64],
            model=str(versions.get("model", ""))[:64],
            minimum_count=chosen.minimum_count,
        )
        if chosen.destination == "none":
            return cls(origin, chosen.window_seconds, None, root)
        folder = chosen.folder or (root / "telemetry" if root is not None else None)
        telemetry = cls(origin, chosen.window_seconds, Spool(folder, chosen.max_bytes), root)
        try:
            telemetry._begin(make_sender(settings), first_wait)
        except SettingsError as error:
            _log.warning("Telemetry is kept but not sent: %s", error)
            telemetry._begin(None, first_wait)
        return telemetry

    def observe(self, prediction: Observed, characters: int, seconds: float) -> None:
        """Count one answered utterance.

        Args:
            prediction: Its answer.
            characters: Length of the cleaned utterance.
            seconds: From the accepted utterance to its answer.
        """
        if self._spool is None:
            return
        try:
            with self._lock:
                self._window.add(prediction, characters, seconds)
        except Exception:  # noqa: BLE001 - counting must never cost anybody an answer
            _log.debug("A prediction could not be counted.", exc_info=True)

    def error(self, kind: str) -> None:
        """Count one error of a kind in :data:`edge.telemetry.ERRORS`."""
        if self._spool is None:
            return
        with self._lock:
            self._window.error(kind)

    def close(self) -> None:
        """Write the open window to the spool, send what can be sent at once, and stop counting."""
        spool = self._spool
        if spool is None:
            return
        self._ending.set()
        self._keeper.join(PATIENCE)
        self._safely(self._close_window)
        self._spool = None
        if self._delivery is not None:
            self._delivery.close(PATIENCE)
        spool.close()

    def _begin(self, sender: Sender | None, first_wait: float) -> None:
        if self._spool is not None and sender is not None:
            self._delivery = Delivery(self._spool, sender, first_wait=first_wait)
        self._keeper.start()

    def _keep(self) -> None:
        if self._spool is not None:
            self._safely(self._spool.start)
        self._safely(self._tell_reports)
        if self._delivery is not None:
            self._delivery.start()
        step = min(max(self._length / SNAPSHOTS, SOONEST), LATEST)
        while not self._ending.wait(min(step, max(self._remaining(), SOONEST / 4))):
            self._safely(self._turn)

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a surprise must not end the thread
            _log.warning("Telemetry: %r.", error)

    def _remaining(self) -> float:
        """Seconds until the open window may be closed; more if it has too little to tell."""
        age = time.monotonic() - self._window.started
        if age >= self._length and not self._is_due():
            return SOONEST * 5
        return self._length - age

    def _is_due(self) -> bool:
        window = self._window
        age = time.monotonic() - window.started
        if age < self._length:
            return False
        if window.utterances >= self._origin.minimum_count or window.errors:
            return True
        return age >= self._length * LONGEST

    def _turn(self) -> None:
        self._tell_reports()
        if not self._window.changes:
            self._skip()
        elif self._is_due():
            self._close_window()
        elif self._window.changes != self._written:
            self._snapshot()
        if self._spool is not None and self._spool.problem != self._problem:
            self._problem = self._spool.problem
            _log.warning("%s", f"Telemetry: {self._problem or 'the disk can be written again.'}")

    def _skip(self) -> None:
        """Begin an empty window anew: nobody is told that nothing happened."""
        now = time.monotonic()
        with self._lock:
            if not self._window.changes and now - self._window.started >= self._length:
                self._window.started = now

    def _snapshot(self) -> None:
        with self._lock:
            window = self._window.copy()
        now = time.monotonic()

        def render(sequence: int, lost: Lost) -> bytes:
            return encode(
                window, self._origin, sequence=sequence, now=now, lost=lost, complete=False
            )

        if self._spool is not None:
            self._spool.snapshot(window.id, render)
        self._written = window.changes

    def _close_window(self) -> None:
        now = time.monotonic()
        with self._lock:
            window, self._window = self._window, Window(now)
            self._written = 0
        if window.changes:
            self._put(window, now)

    def _tell_reports(self) -> None:
        """A window for each update that went wrong: it does not wait for the hour to end."""
        if self._root is None or self._spool is None:
            return
        for report in read_reports(self._root):
            if not self._spool.was_told(report.id):
                now = time.monotonic()
                window = Window(now, report.window_id(self._origin.thing))
                self._put(window, now, (report.to_json(),), told=report.id)

    def _put(
        self, window: Window, now: float, reports: tuple[dict[str, str], ...] = (), told: str = ""
    ) -> None:
        def render(sequence: int, lost: Lost) -> bytes:
            return encode(
                window, self._origin, sequence=sequence, now=now, lost=lost, reports=reports
            )

        if self._spool is not None:
            self._spool.put(window.id, render, told=told)
        if self._delivery is not None:
            self._delivery.wake()
