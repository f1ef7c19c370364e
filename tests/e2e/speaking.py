"""A simulated device whose people speak: ``python -m tests.e2e.speaking FOLDER ADDRESS``.

As tests/e2e/devices.py, but what it "answers" is what the model that it has really answered: the
test asked the compiled model about every utterance that devices may hear and wrote that down
beside the device's folder, in ``answers.json``: by component version and by way to speak. ``way``
beside it says how people speak now. Each device's people prefer some utterances to others.

``SLM_TEST_CLOCK`` lets hours pass in seconds, so that the check for drift sees days in minutes.
Leaves out: what devices.py leaves out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import edge.telemetry.window
from tests.e2e.devices import Answered, Device

LOOK_SECONDS = 2.0
"""Between two looks at what there is to do."""


def fast(moment: float) -> float:
    """The devices' time at a real one, both in seconds since 1970.

    ``SLM_TEST_CLOCK`` holds a real time, theirs at that moment, and how many seconds an hour takes.
    """
    real, theirs, hour = (float(word) for word in os.environ["SLM_TEST_CLOCK"].split())
    return theirs + (moment - real) * 3600 / hour


class Speaking(Device):
    """A device that hears its own mix of utterances."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder, address)
        self.chance = random.Random(self.settings.thing)  # noqa: S311 - a simulation
        self.answers: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.likes: dict[str, list[float]] = {}

    def hear(self, many: int) -> None:
        """Answer ``many`` utterances as the model that is installed does."""
        way = (self.folder.parent / "way").read_text()
        answers = self._answers(self.serving)
        if self.telemetry is None or way not in answers:
            return
        if way not in self.likes:
            self.likes[way] = [self.chance.gammavariate(2, 1) for _ in answers[way]]
        for one in self.chance.choices(answers[way], self.likes[way], k=many):
            counted = {name: value for name, value in one.items() if name != "characters"}
            self.telemetry.observe(Answered(**counted), one["characters"], 0.001)

    def _answers(self, version: str | None) -> dict[str, list[dict[str, Any]]]:
        """What the version answers; read again while it is not in the file yet."""
        if version not in self.answers:
            self.answers = json.loads((self.folder.parent / "answers.json").read_text())
        return self.answers.get(version or "", {})

    def live(self, over: threading.Event) -> None:
        """Go on until told to end."""
        if self.serving:
            self.count(self.serving)
        looked = 0.0
        while not over.is_set():
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                try:
                    self.ask()
                except OSError as error:  # the emulator is busy: as with a network, ask again
                    print(f"{self.settings.thing}: {error}", file=sys.stderr)
            self.hear(4)
            over.wait(0.5)
        if self.telemetry is not None:
            self.telemetry.close()


def main() -> None:
    clock = SimpleNamespace(**vars(time))
    clock.time = lambda: fast(time.time())
    edge.telemetry.window.time = clock  # type: ignore[attr-defined]
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    Speaking(Path(sys.argv[1]), sys.argv[2]).live(over)


if __name__ == "__main__":
    main()
