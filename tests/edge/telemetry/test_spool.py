"""Windows on disk: bounded, whole after a kill, in memory where there is no disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.telemetry.spool import Spool
from edge.telemetry.window import Lost


def body(text: str = "window", size: int = 0) -> object:
    def render(sequence: int, lost: Lost) -> bytes:
        return f"{text} {sequence} lost {lost.overflow}/{lost.damaged}/{lost.refused}".encode() + (
            b"." * size
        )

    return render


def put(spool: Spool, name: str, **options: object) -> None:
    spool.put(name, body(name, **options))  # type: ignore[arg-type]


def contents(spool: Spool) -> list[bytes | None]:
    return [spool.read(name) for name in spool.waiting()]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "telemetry", 10_000)
    made.start()
    return made


def test_windows_wait_in_order_until_they_are_removed(spool: Spool) -> None:
    for name in ("a", "b"):
        put(spool, name)
    assert contents(spool) == [b"a 1 lost 0/0/0", b"b 2 lost 0/0/0"]
    spool.remove(spool.waiting()[0])
    assert contents(spool) == [b"b 2 lost 0/0/0"]


def test_the_oldest_go_where_there_is_no_room_and_that_is_told(
    spool: Spool, tmp_path: Path
) -> None:
    for number in range(20):
        put(spool, f"w{number}", size=2000)
    size = sum(path.stat().st_size for path in (tmp_path / "telemetry").glob("*.json"))
    assert size <= 10_000 + 500
    found = contents(spool)
    assert found[-1] is not None
    assert found[-1].startswith(b"w19 20 lost 1/0/0")
    assert len(found) == 4


def test_a_damaged_window_is_dropped_and_told(spool: Spool, tmp_path: Path) -> None:
    put(spool, "a")
    [path] = (tmp_path / "telemetry").glob("0*.json")
    path.write_bytes(path.read_bytes().replace(b"lost", b"tost"))
    assert contents(spool) == [None]
    put(spool, "b")
    assert contents(spool) == [b"b 2 lost 0/1/0"]


def test_damaged_counters_give_no_number_twice(spool: Spool, tmp_path: Path) -> None:
    put(spool, "a")
    (tmp_path / "telemetry" / "counters.json").write_text("{")
    put(spool, "b")
    assert [name[:10] for name in spool.waiting()] == ["0000000001", "0000000002"]


def test_the_open_window_of_a_process_that_died_is_closed_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    program = (
        "import sys, time; from pathlib import Path; from edge.telemetry.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 10_000); spool.start()\n"
        "spool.snapshot('a', lambda sequence, lost: b'snapshot')\n"
        "print('written', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    second = Spool(folder, 10_000)
    second.start()
    assert second.waiting() == []  # it lives: its window is its own
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    third = Spool(folder, 10_000)
    third.start()
    assert contents(third) == [b"snapshot"]


def test_a_process_killed_at_any_moment_leaves_whole_windows(tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    program = (
        "import sys; from pathlib import Path; from edge.telemetry.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 10_000_000); spool.start()\n"
        "for number in range(100_000):\n"
        "    spool.put(f'{sys.argv[2]}-{number}', lambda sequence, lost: b'x' * 3000)\n"
    )
    for turn in range(4):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder), str(turn)])
        time.sleep(0.4 + turn * 0.07)
        process.kill()
        process.wait()
    spool = Spool(folder, 10_000_000)
    spool.start()
    found = contents(spool)
    assert len(found) > 4
    assert set(found) == {b"x" * 3000}
    numbers = [name[:10] for name in spool.waiting()]
    assert len(set(numbers)) == len(numbers)


def test_without_a_disk_windows_wait_in_memory_and_are_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    folder.write_text("a file where the folder should be")
    spool = Spool(folder, 10_000)
    spool.start()
    put(spool, "a")
    assert "cannot be written" in spool.problem
    assert contents(spool) == [b"a 1 lost 0/0/0"]
    folder.unlink()
    put(spool, "b")
    assert spool.problem == ""
    assert len(list(folder.glob("0*.json"))) == 2


def test_memory_is_bounded_too() -> None:
    spool = Spool(None, 10_000)
    for number in range(20):
        put(spool, f"w{number}", size=2000)
    assert sum(len(data or b"") for data in contents(spool)) <= 10_000
    put(spool, "last")
    assert (contents(spool)[-1] or b"").startswith(b"last 21 lost ")


def test_one_process_sends_at_a_time(tmp_path: Path) -> None:
    first, second = (Spool(tmp_path / "telemetry", 10_000) for _ in range(2))
    first.start()
    second.start()
    assert first.may_send()
    assert not second.may_send()
    first.close()
    assert second.may_send()


def test_what_was_refused_is_set_aside_and_tried_again_at_the_next_start(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "telemetry", 10_000)
    spool.start()
    put(spool, "a")
    spool.set_aside(spool.waiting()[0])
    assert spool.waiting() == []
    put(spool, "b")
    assert contents(spool) == [b"b 2 lost 0/0/1"]
    again = Spool(tmp_path / "telemetry", 10_000)
    again.start()
    assert len(again.waiting()) == 2
