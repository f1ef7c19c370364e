"""Sends what waits in the spool, oldest first, in a thread of its own.

At least once: a window is forgotten only after the receiver took it, and a process killed between
the two sends the same bytes again. While nobody can be reached it waits longer and longer, with
jitter, so that a fleet does not come back all at once. A window that is refused again and again is
set aside and never holds up the others.

What it leaves out: what the windows say, and how a sender works.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from edge.telemetry.senders import Outcome, Sender
from edge.telemetry.spool import Spool, window_id

FIRST_WAIT, LAST_WAIT = 1.0, 900.0
"""Seconds between tries while nobody can be reached: doubled each time, up to a quarter hour."""
TRIES = 5
"""After so many refusals a window is set aside."""
TURN = 5.0
"""Seconds between looks at the spool: another process may have added to it, or ended."""

_log = logging.getLogger("edge.telemetry")


class Delivery:
    """The thread. It is a daemon: a process that ends does not wait for a network."""

    def __init__(self, spool: Spool, sender: Sender, *, first_wait: float = FIRST_WAIT) -> None:
        self._spool = spool
        self._sender = sender
        self._first_wait = first_wait
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._failures = 0
        self._refusals: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="telemetry-delivery", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the spool now, unless nobody could be reached a moment ago."""
        self._wake.set()

    def close(self, patience: float) -> None:
        """Send what can be sent within ``patience`` seconds, and end."""
        self._ending.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            ending = self._ending.is_set()
            wait = self._turn()
            if ending:
                self._sender.close()
                return
            # while nobody can be reached, a new window is no reason to hurry
            (self._ending if self._failures else self._wake).wait(max(wait, 0.05))

    def _turn(self) -> float:
        """Send what waits. Returns seconds until the next look."""
        try:
            if not self._spool.may_send():
                return TURN
            return self._send_all()
        except Exception as error:  # noqa: BLE001 - a library's surprise must not end the thread
            _log.warning("Telemetry is not sent: %r.", error)
            return self._back_off(0.0)

    def _send_all(self) -> float:
        soonest = TURN
        names = self._spool.waiting()
        for table in (self._refusals, self._not_before):
            for gone in table.keys() - set(names):
                del table[gone]
        for name in names:
            pause = self._not_before.get(name, 0.0) - time.monotonic()
            if pause > 0:
                soonest = min(soonest, pause)
                continue
            data = self._spool.read(name)
            if data is None:
                continue
            answer = self._sender.send(window_id(name), data)
            if answer.outcome is Outcome.UNREACHABLE:
                if not self._failures:
                    _log.warning("Telemetry waits on this device: %s", answer.reason)
                return self._back_off(answer.wait)
            if self._failures:
                _log.info("Telemetry is sent again.")
            self._failures = 0
            if answer.outcome is Outcome.DELIVERED:
                self._spool.remove(name)
            else:
                soonest = min(soonest, self._refused(name, answer.reason))
        return soonest

    def _back_off(self, asked: float) -> float:
        wait = min(self._first_wait * 2.0 ** min(self._failures, 20), LAST_WAIT)
        self._failures += 1
        return max(wait * random.uniform(0.5, 1.0), asked)  # noqa: S311 - jitter, no secret

    def _refused(self, name: str, reason: str) -> float:
        """Note the refusal. Returns seconds until this window may be tried again."""
        tries = self._refusals[name] = self._refusals.get(name, 0) + 1
        if tries >= TRIES:
            _log.warning("A window of telemetry is set aside: %s", reason)
            self._spool.set_aside(name)
            return TURN
        wait = min(self._first_wait * 2.0**tries, LAST_WAIT)
        self._not_before[name] = time.monotonic() + wait
        return wait
