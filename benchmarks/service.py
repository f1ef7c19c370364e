"""The service under load: how fast, for how long, and what happens beyond that.

``python -m benchmarks.service`` takes the newest execution's compiled model (as
``benchmarks.prediction`` does; ``--compiled`` and ``--prepared`` name folders) and asks one service
with the test split's utterances:

- requests a second, median and 99th percentile at 1, 8 and 64 clients, each for ``--seconds``, with
  ``wrk`` (Debian's package), whose script compares every answer with the one that the same
  utterance got alone;
- ``--requests`` in all (1,000,000 for the figure in docs/results.md) at 8 clients, the service's
  memory looked at all the while;
- twice the measured capacity, sent at that rate whether or not answers come: every answer must be
  a right one or 503, and none may come after its deadline.

Exit code 1 if an answer is missing or wrong, memory grows, or a deadline passes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arrivals import Arrivals, send
from benchmarks.prediction import add_folders, find_folders, test_rows
from benchmarks.serving import Service
from edge.settings import Limits

SCRIPT = Path(__file__).with_name("service.lua")
CLIENTS = (1, 8, 64)
SUSTAINED = 8
"""Clients of the long run, and those whose rate is the capacity."""
QUESTIONS = 500
MOST_GROWTH_MB = 8.0
"""Of the service between a tenth of the long run and its end."""


@dataclass(frozen=True)
class Load:
    """What ``wrk`` saw."""

    requests: int
    seconds: float
    wrong: int
    """Answers that are not 200 with a known body."""
    broken: int
    """Connections that failed or waited for more than 10 seconds."""
    median_ms: float
    late_ms: float
    """99th percentile."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Questions:
    """Bodies, and the answers that the service gives to each alone."""

    def __init__(self, service: Service, texts: list[str], folder: Path) -> None:
        asked = [{"text": text} for text in texts]
        self.bodies = [json.dumps(body).encode() for body in asked]
        self.answers: list[bytes] = []
        for body in asked:
            status, answer = service.ask(body)
            if status != 200:
                raise SystemExit(f"error: the service answers {status} to one client alone.")
            self.answers.append(answer)
        self._files = (folder / "bodies", folder / "answers")
        for path, lines in zip(self._files, (self.bodies, self.answers), strict=True):
            path.write_bytes(b"\n".join(lines) + b"\n")

    def load(self, port: int, clients: int, seconds: int) -> Load:
        """Ask with ``wrk`` from ``clients`` connections, each as soon as it was answered.

        First the queue becomes empty: a load that ends leaves what it had asked for last there.
        """
        time.sleep(Limits().deadline_seconds)
        command = [_wrk(), "--threads", "1", "--connections", str(clients), "--latency"]
        command += ["--duration", f"{seconds}s", "--timeout", "10s", "--script", str(SCRIPT)]
        command += [f"http://127.0.0.1:{port}", "--", *map(str, self._files)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        line = next((x for x in ended.stdout.splitlines() if x.startswith("RESULT ")), None)
        if line is None:
            raise SystemExit(f"error: wrk did not finish: {ended.stdout}{ended.stderr}")
        requests, micros, wrong, broken, median, late = map(int, line.split()[1:])
        return Load(requests, micros / 1e6, wrong, broken, median / 1e3, late / 1e3)


@contextmanager
def watching(service: Service) -> Iterator[list[float]]:
    """The service's memory in MB, every half a second while the block runs."""
    seen, over = [service.resident], threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append(service.resident)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def measure_clients(service: Service, questions: Questions, seconds: int) -> dict[int, Load]:
    """Print and return what 1, 8 and 64 clients see."""
    print(f"{'clients':>8} {'requests/s':>11} {'median ms':>10} {'p99 ms':>8} {'errors':>7}")
    found: dict[int, Load] = {}
    for clients in CLIENTS:
        load = found[clients] = questions.load(service.port, clients, seconds)
        print(
            f"{clients:8} {load.rate:11.0f} {load.median_ms:10.2f} {load.late_ms:8.2f} "
            f"{load.wrong + load.broken:7}",
            flush=True,
        )
    return found


def last(service: Service, questions: Questions, requests: int) -> tuple[int, int, float]:
    """Ask ``requests`` times or a little more; how many, how many failed, and MB of growth."""
    done = failed = 0
    seconds, early = 5, 0.0
    with watching(service) as seen:
        while done < requests:
            load = questions.load(service.port, SUSTAINED, seconds)
            done, failed = done + load.requests, failed + load.wrong + load.broken
            if done >= requests / 10 and not early:
                early = max(seen)
            left = (requests - done) / max(load.rate, 1)
            seconds = int(max(1, min(60, left)))
        growth = max(seen[-3:]) - early
    print(f"{done:,} requests, {failed} failed; {early:.1f} MB early, {growth:+.1f} MB at the end")
    return done, failed, growth


def overload(service: Service, questions: Questions, rate: float, seconds: int) -> Arrivals:
    """Send ``rate`` a second, whatever the service does."""
    pairs = list(zip(questions.bodies, questions.answers, strict=True))
    seen = send(service.port, pairs, rate=rate, seconds=seconds)
    print(
        f"{rate:.0f} requests/s: {seen.answered:,} answered, {seen.refused:,} refused with 503, "
        f"{len(seen.wrong)} wrong; the last after {max(seen.milliseconds, default=0):.0f} ms"
    )
    return seen


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("error: wrk makes the load: install it (apt-get install wrk).")
    return found


def main() -> int:
    """Measure, print, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.service", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_folders(parser)
    parser.add_argument("--seconds", type=int, default=10, help="for each number of clients")
    parser.add_argument("--requests", type=int, default=20_000, help="of the long run")
    given = parser.parse_args()
    folders = find_folders(given)
    texts = [row["text"] for row in test_rows(folders.prepared, QUESTIONS)]
    deadline_ms = Limits().deadline_seconds * 1000
    with tempfile.TemporaryDirectory() as name, Service(folders.compiled, Path(name)) as service:
        questions = Questions(service, texts, Path(name))
        loads = measure_clients(service, questions, given.seconds)
        _, failed, growth = last(service, questions, given.requests)
        rate = 2 * loads[SUSTAINED].rate
        beyond = overload(service, questions, rate, given.seconds)
    for sentence in beyond.wrong[:10]:
        print(f"WRONG: {sentence}")
    failed += sum(load.wrong + load.broken for load in loads.values()) + len(beyond.wrong)
    late = sum(value > deadline_ms for value in beyond.milliseconds)
    holds = not failed and not late and beyond.refused > 0 and growth <= MOST_GROWTH_MB
    print(
        f"{'holds' if holds else 'MISSED'}: {failed} failed, memory {growth:+.1f} MB (at most "
        f"{MOST_GROWTH_MB:.0f}), {late} over the deadline of {deadline_ms:.0f} ms"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
