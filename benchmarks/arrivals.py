"""Requests that arrive at a rate of their own, whether or not earlier ones were answered.

``wrk`` and its like ask again when they were answered, so that a slow service slows them down. Here
request number n is due at n / rate seconds, and its time runs from then: a queue in front of the
service counts. What it leaves out: measuring a service below its capacity, which ``wrk`` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

CONNECTIONS = 200
"""At most, all kept alive: fewer than the service takes."""
PATIENCE = 30.0
"""Seconds until an answer counts as none."""


@dataclass
class Arrivals:
    """What became of them."""

    answered: int = 0
    refused: int = 0
    """503."""
    wrong: list[str] = field(default_factory=list[str])
    """Another status, another answer, or none."""
    milliseconds: list[float] = field(default_factory=list[float])
    """From when a request was due until it was answered or refused."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def send(
    port: int, pairs: Sequence[tuple[bytes, bytes]], *, rate: float, seconds: float
) -> Arrivals:
    """Send bodies at ``rate`` a second to ``/v1/predict`` on this machine.

    Args:
        port: Of the service.
        pairs: Bodies, and the answer that each must get if it gets one.
        rate: Requests a second.
        seconds: How long.
    """
    return asyncio.run(_send(port, pairs, rate, seconds))


async def _send(
    port: int, pairs: Sequence[tuple[bytes, bytes]], rate: float, seconds: float
) -> Arrivals:
    seen = Arrivals()
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await _open(port))
    began, tasks = time.perf_counter(), set[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(_one(port, idle, pairs[number % len(pairs)], due, seen))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    while not idle.empty():
        idle.get_nowait().writer.close()
    return seen


async def _open(port: int) -> _Connection:
    return _Connection(*await asyncio.open_connection("127.0.0.1", port))


async def _one(
    port: int,
    idle: asyncio.Queue[_Connection],
    pair: tuple[bytes, bytes],
    due: float,
    seen: Arrivals,
) -> None:
    connection = await idle.get()
    try:
        async with asyncio.timeout(PATIENCE):
            status, body = await _ask(connection, pair[0])
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        seen.wrong.append(f"no answer: {error!r}")
        connection.writer.close()
        connection = await _open(port)
    else:
        seen.milliseconds.append((time.perf_counter() - due) * 1000)
        if status == 503:
            seen.refused += 1
        elif status == 200 and body == pair[1]:
            seen.answered += 1
        else:
            seen.wrong.append(f"{status} {body[:200]!r} to {pair[0]!r}")
    idle.put_nowait(connection)


async def _ask(connection: _Connection, body: bytes) -> tuple[int, bytes]:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: device\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.writer.write(head + body)
    answer = await connection.reader.readuntil(b"\r\n\r\n")
    fields = dict(
        line.split(b": ", 1) for line in answer.lower().split(b"\r\n")[1:] if b": " in line
    )
    length = int(fields[b"content-length"])
    return int(answer.split(b" ", 2)[1]), await connection.reader.readexactly(length)
