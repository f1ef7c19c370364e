"""Updates that are killed: whatever dies and when, one good version serves afterwards.

``python -m benchmarks.updates`` installs version after version on one device while clients ask
without a pause, and 200 times (``--kills``) ends the installer, the supervisor or the worker with
SIGKILL at a random instant of an update. After each, everything that is left is killed too and the
supervisor is started again, as after a power cut. Then exactly one version must answer: the one
before or the new one, named by the state, and on the disk byte by byte as it was signed; half of
the times once more when the trial is over. Clients must have been answered by a version that was
installed, refused, or cut off by the kill; never answered wrong. Exit code 1 otherwise. ``--seed``
repeats a run's choices, not its timing.

The worker is a stand-in that answers with its version; everything else is what ships. What it
leaves out: a disk that loses what was written to it; a kill leaves the kernel's memory in place.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge.errors import EdgeError
from edge.package.check import open_package
from edge.package.signature import TrustedKeys
from tests.edge.packages import Device, new_key
from tests.edge.updates.serving import ENVIRONMENT, Crowd, Supervised, ask, wait_for

VICTIMS = ("installer", "supervisor", "worker")
TRIAL_SECONDS = 0.3
BEYOND = 1.2
"""Instants lie within this many times what an undisturbed update takes on this machine."""


class Killing:
    """One device through many interrupted updates."""

    def __init__(self, home: Path, chance: random.Random) -> None:
        self.device = Device(home, new_key(), trial_seconds=TRIAL_SECONDS)
        self.chance = chance
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.number = 0
        self.update_seconds = 0.0

    @property
    def newest(self) -> str:
        """The version that was made last."""
        return f"1.0.{self.number}"

    def run(self, kills: int, say: Callable[[str], None]) -> None:
        """Kill ``kills`` times."""
        self._install_next().wait()
        supervised = Supervised(self.device)
        supervised.settles(self.newest)
        with Crowd(self.device) as crowd:
            self._time_one(supervised)
            for turn in range(1, kills + 1):
                supervised = self._kill_once(supervised)
                if turn % 20 == 0:
                    say(f"{turn} kills, {len(crowd.versions):,} answers, {crowd.refused} refused")
        supervised.stop()
        known = {f"1.0.{number}" for number in range(1, self.number + 1)}
        self.wrong += [f"{v} answered" for v in set(crowd.versions) - known] + crowd.wrong
        self.outcomes["clients answered"] = len(crowd.versions)
        self.outcomes["clients refused"] = crowd.refused
        self.outcomes["clients cut off"] = crowd.cut

    def _time_one(self, supervised: Supervised) -> None:
        """How long an update takes, clients asking: the kills are drawn from it."""
        began = time.monotonic()
        self._install_next().wait()
        supervised.settles(self.newest)
        self.update_seconds = time.monotonic() - began

    def _kill_once(self, supervised: Supervised) -> Supervised:
        victim = self.chance.choice(VICTIMS)
        before = self._named()
        installer = self._install_next()
        time.sleep(self.chance.uniform(0, BEYOND * self.update_seconds))
        if victim == "installer":
            installer.kill()
        elif victim == "supervisor":
            supervised.process.kill()
        else:
            self._kill_worker()
        self.outcomes[f"killed: {victim}"] += 1
        installer.wait()  # another victim's installation goes on, and may end well
        supervised.process.kill()
        supervised.process.wait()
        supervised = Supervised(self.device)  # the next start
        self._check(before, "then served at once")
        if self.chance.random() < 0.5:
            wait_for(lambda: self.device.state()["candidate"] is None, 60)
            self._check(before, "then served in the end")
        return supervised

    def _check(self, before: set[str], when: str) -> None:
        """Exactly one good version serves: of those before, or the new one."""
        version = wait_for(lambda: ask(self.device), 90)
        state = self.device.state()
        named = {state[key] for key in ("serving", "candidate", "previous")}
        if version not in named or version not in before | {self.newest}:
            self.wrong.append(f"{version} serves, and the state names {sorted(map(str, named))}")
        try:
            with open_package(self.device.root / "versions" / version) as package:
                package.check_signature(TrustedKeys.read(self.device.trusted))
                package.check_files()
                if str(package.manifest.version) != version:
                    self.wrong.append(f"{version} is {package.manifest.version}")
        except EdgeError as error:
            self.wrong.append(f"{version} serves: {error}")
        self.outcomes[f"{when}: {'an old one' if version in before else 'the new one'}"] += 1

    def _named(self) -> set[str]:
        state = self.device.state()
        return {state[key] for key in ("serving", "candidate", "previous") if state[key]}

    def _install_next(self) -> subprocess.Popen[bytes]:
        self.number += 1
        package = self.device.package(self.newest)
        command = [sys.executable, "-m", "edge", "install", "--root", self.device.root]
        command += ["--config", self.device.config, "--package", package]
        return subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _kill_worker(self) -> None:
        with suppress(OSError, ValueError, KeyError):
            note = json.loads((self.device.root / "serve.json").read_text())
            os.kill(note["worker"], 9)


def kill(count: int, seed: int, say: Callable[[str], None] = print) -> Killing:
    """Kill ``count`` updates on a device of its own."""
    with tempfile.TemporaryDirectory() as home:
        killing = Killing(Path(home), random.Random(seed))  # noqa: S311
        killing.run(count, say)
    return killing


def main() -> int:
    """Kill, print what was seen, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.updates", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    killing = kill(given.kills, given.seed)
    print(f"an undisturbed update took {killing.update_seconds:.2f} s")
    for outcome, count in sorted(killing.outcomes.items()):
        print(f"{outcome:36} {count:8,}")
    for sentence in killing.wrong[:20]:
        print(f"WRONG: {sentence}")
    print(
        f"{'MISSED' if killing.wrong else 'holds'}: after {given.kills} kills one good version "
        f"served; {len(killing.wrong)} things went wrong"
    )
    return 1 if killing.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
