"""Malformed requests to a real service: no crash, no wrong acceptance, no growing memory.

``python -m benchmarks.fuzz`` takes the newest execution's compiled model and sends 100,000 requests
(``--requests``) over real connections: bodies made wrong on purpose, each judged by what
docs/api/openapi.yaml allows; bytes that are no request or nearly one, some in pieces; and, one in
twenty, what schemathesis derives from the document, right and wrong. Between them a right request
must always get its right answer.

Exit code 1 for a connection that closes without an answer, a status or body that the document does
not know, an answer where a refusal was due or the other way round, an end or a word of the
service, or memory that grows. ``--seed`` repeats a run's choices. A request may be refused with
503 where the machine is slow: that is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.malformed import DOCUMENT, Malformed, Rule
from benchmarks.prediction import add_folders, find_folders
from benchmarks.serving import Service

LIMITS = {"request_seconds": 0.3, "queue": 200, "deadline_seconds": 10.0}
"""Half a request is soon given up, and a machine busy with other work refuses nothing."""
CLIENTS = 24
DERIVED = 20
"""One request in so many is schemathesis's."""
RIGHT = {"text": "turn off the kitchen light"}
EVERY = 500
"""Requests between two right ones."""
STATUSES = frozenset((200, 400, 404, 405, 408, 413, 431, 503))
REFUSALS = frozenset((400, 413))
MOST_GROWTH_MB = 8.0
WARM_UP = 0.2
"""Share of the requests after which memory is looked at first."""
PATIENCE = 30.0


@dataclass
class Seen:
    """What became of them."""

    answers: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    early: float = 0.0
    """MB after the warm-up."""
    late: float = 0.0


class Fuzz:
    """Requests to one service."""

    def __init__(self, service: Service, seed: int, requests: int) -> None:
        self.service, self.requests = service, requests
        self.chance = random.Random(seed)  # noqa: S311
        self.malformed = Malformed(self.chance)
        self.rule = Rule()
        self.seen = Seen()
        self.sent = 0
        self.right = service.ask(RIGHT)
        if self.right[0] != 200:
            raise SystemExit(f"error: the service answers {self.right[0]} to a right request.")

    async def run(self, say: Callable[[str], None]) -> None:
        """Send them from some clients at once."""

        async def client() -> None:
            while self.sent < self.requests:
                self.sent += 1
                number = self.sent
                await self._one()
                if number % EVERY == 0:
                    await self._check_right(number, say)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def _one(self) -> None:
        if self.chance.random() < 0.5:
            body = self.malformed.body()
            head = b"POST /v1/predict HTTP/1.1\r\nHost: device\r\nContent-Length: %d\r\n\r\n"
            status = await self._exchange(head % len(body) + body)
            due = {200} if self.rule.allows(body) else REFUSALS
            if status is not None and status not in due | {503}:
                self.seen.wrong.append(f"{status} for the body {body[:200]!r}")
        else:
            data = self.malformed.raw()
            if status := await self._exchange(data):
                self.seen.answers[f"raw bytes: {status}"] += 1
            return
        self.seen.answers[f"bodies: {status}"] += 1

    async def _exchange(self, data: bytes) -> int | None:
        """Send bytes, sometimes in two pieces, and judge the first answer by itself."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.service.port)
                try:
                    cut = self.chance.randrange(len(data)) if self.chance.random() < 0.2 else 0
                    writer.write(data[:cut])
                    await asyncio.sleep(0.002 if cut else 0)
                    writer.write(data[cut:])
                    status, fields, body = await _answer(reader)
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.seen.wrong.append(f"{error!r} after {data[:300]!r}")
            return None
        fault = _fault(status, fields, body)
        if fault:
            self.seen.wrong.append(f"{fault} after {data[:300]!r}")
        return status

    async def _check_right(self, number: int, say: Callable[[str], None]) -> None:
        found = await asyncio.to_thread(self.service.ask, RIGHT)
        if found != self.right:
            self.seen.wrong.append(f"after {number} requests a right one got {found}")
        self.seen.late = self.service.resident
        if not self.seen.early and number >= WARM_UP * self.requests:
            self.seen.early = self.seen.late
        if number % 10_000 == 0:
            say(f"{number:,} requests, {self.seen.late:.1f} MB resident")

    def derive(self, count: int) -> None:
        """What schemathesis makes of the document, right and wrong, each held to it."""
        import schemathesis
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import seed as seeded
        from schemathesis.config import SchemathesisConfig
        from schemathesis.core.failures import FailureGroup
        from schemathesis.generation import GenerationMode

        refused = {"negative_data_rejection": {"expected-statuses": ["400", "404", "405", "413"]}}
        document = schemathesis.openapi.from_path(
            DOCUMENT, config=SchemathesisConfig.from_dict({"checks": refused})
        )
        address = f"http://127.0.0.1:{self.service.port}"
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = document["/v1/predict"]["POST"].as_strategy(generation_mode=mode)

            @seeded(self.chance.randrange(2**32))
            @settings(
                max_examples=max(1, count // 2), deadline=None, database=None,
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )  # fmt: skip
            @given(strategy)
            def ask(case: Any) -> None:
                try:
                    response = case.call(base_url=address, timeout=PATIENCE)
                    self.seen.answers[f"schemathesis: {response.status_code}"] += 1
                    case.validate_response(response)
                except (Exception, FailureGroup) as error:  # noqa: BLE001 - all of it is wrong
                    body = str(case.body)[:300]
                    self.seen.wrong.append(f"schemathesis: {str(error)[:300]!r} after {body}")

            ask()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    """The first answer that is final."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        version, status, *_ = lines[0].split(b" ", 2)
        if version != b"HTTP/1.1":
            raise ValueError(f"{lines[0]!r} begins the answer")
        if status != b"100":
            break
    pairs = (line.partition(b":") for line in lines[1:])
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    return int(status), fields, await reader.readexactly(int(fields[b"content-length"]))


def _fault(status: int, fields: dict[bytes, bytes], body: bytes) -> str | None:
    """What is wrong with an answer whatever it answers."""
    if status not in STATUSES:
        return f"status {status}"
    kind = fields.get(b"content-type")
    if kind == b"text/plain; version=0.0.4" and status == 200:
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return f"{body[:100]!r} with status {status}"
    if status == 200:
        return None if kind == b"application/json" else f"{kind!r} with status 200"
    if kind != b"application/problem+json" or value.get("status") != status:
        return f"{kind!r} and {body[:100]!r} with status {status}"
    return None


def fuzz(model: Path, requests: int, seed: int, say: Callable[[str], None] = print) -> Seen:
    """Send them to a service of their own, which must end well and have said nothing."""
    with tempfile.TemporaryDirectory() as name, Service(model, Path(name), LIMITS) as service:
        work = Fuzz(service, seed, requests - requests // DERIVED)
        asyncio.run(work.run(say))
        work.derive(requests // DERIVED)
        if service.ask(RIGHT) != work.right:
            work.seen.wrong.append("a right request at the end was not answered")
        work.seen.late = service.resident
        if service.said:
            work.seen.wrong.append(f"the service said: {service.said[-1000:]}")
            say(f"{work.seen.answers}; {work.seen.wrong[:20]}")  # it ends the run, see Service
    return work.seen


def main() -> int:
    """Send them, print what became of them, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_folders(parser)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seen = fuzz(find_folders(given).compiled, given.requests, given.seed)
    for answer, count in sorted(seen.answers.items()):
        print(f"{answer:20} {count:8,}")
    for sentence in seen.wrong[:20]:
        print(f"WRONG: {sentence}")
    growth = seen.late - seen.early
    holds = not seen.wrong and growth <= MOST_GROWTH_MB
    print(
        f"{'holds' if holds else 'MISSED'}: {len(seen.wrong)} of {given.requests:,} went wrong, "
        f"memory {seen.early:.1f} MB early and {growth:+.1f} MB at the end (at most "
        f"{MOST_GROWTH_MB:.0f})"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
