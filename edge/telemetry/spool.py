"""Windows on disk until somebody has taken them: bounded, and whole after a power cut.

::

    folder/0000000012-<id>.json          closed, waiting; sealed with a checksum
    folder/0000000013-<id>.<owner>.open  the open window as it was some minutes ago
    folder/owner-<owner>.lock            held by the process that counts in it
    folder/aside/…json                   refused by the receiver; tried again at the next start
    folder/counters.json                 the last number, what was lost, which reports were told
    folder/lock  folder/sending.lock     held for a moment; held by the one process that sends

Closing a window is a rename, and so is finding the one of a process that died: a window is at any
instant in one file. Where the disk is full or cannot be written, windows wait in memory, bounded.

What it leaves out: sending, and what a window says.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from edge.telemetry.files import PARTIAL, Lock, held, seal, sync_folder, unseal, write_whole
from edge.telemetry.window import Lost

CLOSED, OPEN = ".json", ".open"
ASIDE = "aside"
COUNTERS = "counters.json"
MOST_IN_MEMORY = 256 * 1024
"""Bytes of windows that wait in memory: about 150, six days of hours."""
MOST_REPORTS = 256
"""Told reports that are remembered; who makes them keeps fewer."""

Render = Callable[[int, Lost], bytes]
"""Makes a window's bytes of its number and what was lost before it."""


@dataclass
class Counters:
    """What outlasts the windows: one small file."""

    sequence: int = 0
    overflow: int = 0
    damaged: int = 0
    refused: int = 0
    told: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> Lost:
        return Lost(self.overflow, self.damaged, self.refused)


class Spool:
    """The folder, shared by the processes that count. Safe for threads.

    Args:
        folder: Where windows wait; None for memory only.
        max_bytes: Of all windows on disk; the oldest go first.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._mutex = threading.RLock()
        self._memory: deque[tuple[str, bytes]] = deque()
        self._owed = Counters()  # what could not be written down yet
        self._numbers: dict[str, int] = {}
        self._owner = uuid.uuid4().hex[:12]
        self._alive: Lock | None = None
        self._sending = Lock(folder / "sending.lock") if folder else None
        self.problem = ""
        """Why the disk is not used at present; empty when it is."""

    def start(self) -> None:
        """Close what processes that died left open, and give refused windows another chance."""
        with self._using_disk() as folder:
            if folder is not None:
                self._recover(folder)
                for path in sorted((folder / ASIDE).glob("*" + CLOSED)):
                    path.replace(folder / path.name)

    def snapshot(self, window_id: str, render: Render) -> None:
        """Write the open window down; if that fails, the next snapshot may succeed."""
        with self._using_disk() as folder:
            if folder is not None:
                sequence = self._number(window_id)
                write_whole(self._open_path(folder, window_id), seal(render(sequence, Lost())))

    def put(self, window_id: str, render: Render, *, told: str = "") -> None:
        """Add a closed window; ``told`` is the report that it tells.

        It takes the place of its snapshot. Without a disk it waits in memory.
        """
        with self._mutex:
            done = False
            with self._using_disk() as folder:
                if folder is not None:
                    counters = self._read_counters()
                    sequence = self._number(window_id)
                    data = seal(render(sequence, counters.lost))
                    opened = self._open_path(folder, window_id)
                    write_whole(opened, data)
                    opened.rename(folder / _name(sequence, window_id))
                    done = True
                    sync_folder(folder)
                    # a power cut between these two tells of what was lost twice, never not at all
                    self._settle(folder, told)
                    self._make_room(folder)
            if not done:
                self._keep_in_memory(window_id, render, told)
            self._numbers.pop(window_id, None)

    def was_told(self, report: str) -> bool:
        """Whether a window told this report already."""
        with self._mutex:
            return report in self._read_counters().told

    def waiting(self) -> list[str]:
        """Names of the closed windows, oldest first."""
        with self._mutex:
            names = {name for name, _ in self._memory}
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    names.update(n for n in _list(self._folder) if _is_closed(n))
            return sorted(names)

    def read(self, name: str) -> bytes | None:
        """A window as it is sent, or None if it is gone or was damaged; then it is counted."""
        with self._mutex:
            for known, data in self._memory:
                if known == name:
                    return data
            if self._folder is None:
                return None
            try:
                sealed = (self._folder / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError:
                sealed = b""
            data = unseal(sealed)
            if data is None:
                self._drop(name, "damaged")
            return data

    def remove(self, name: str) -> None:
        """Let go of a window that was delivered."""
        with self._mutex:
            self._memory = deque(item for item in self._memory if item[0] != name)
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink(missing_ok=True)
                    self._snapshot_of(self._folder, name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> None:
        """Put away a window that the receiver refuses, so that it is in nobody's way."""
        with self._mutex:
            in_memory = any(known == name for known, _ in self._memory)
            if in_memory:
                self.remove(name)
                self._owed.refused += 1
                return
            with self._using_disk() as folder:
                if folder is not None:
                    (folder / ASIDE).mkdir(mode=0o700, exist_ok=True)
                    (folder / name).replace(folder / ASIDE / name)
                    self._owed.refused += 1
                    self._write_counters(folder, self._read_counters())

    def may_send(self) -> bool:
        """Whether this process is the one that sends; it stays so until it ends."""
        if self._sending is None:
            return True
        try:
            return self._sending.take()
        except OSError:  # no folder: there are only this process's windows, in memory
            return True

    def close(self) -> None:
        """Let other processes send."""
        with self._mutex:
            for lock in (self._sending, self._alive):
                if lock is not None:
                    lock.let_go()
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    (self._folder / f"owner-{self._owner}.lock").unlink()

    @contextlib.contextmanager
    def _using_disk(self) -> Generator[Path | None]:
        """The folder, ready and locked; None without one. A failure of the disk ends the block."""
        with self._mutex, contextlib.ExitStack() as stack:
            folder = self._folder
            try:
                if folder is not None:
                    self._prepare(folder, stack)
            except OSError as error:
                self._note(error)
                folder = None
            try:
                yield folder
            except OSError as error:
                self._note(error)
            else:
                if folder is not None:
                    self.problem = ""

    def _prepare(self, folder: Path, stack: contextlib.ExitStack) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(held(Lock(folder / "lock")))
        if self._alive is None:
            alive = Lock(folder / f"owner-{self._owner}.lock")
            if alive.take():
                self._alive = alive
        self._flush_memory(folder)

    def _note(self, error: OSError) -> None:
        self.problem = f"{self._folder} cannot be written: {error.strerror or error}."

    def _recover(self, folder: Path) -> None:
        names = sorted(_list(folder))
        for name in names:
            if name.endswith(PARTIAL):
                (folder / name).unlink(missing_ok=True)
            elif name.endswith(OPEN):
                stem, _, owner = name.removesuffix(OPEN).rpartition(".")
                if owner != self._owner and self._is_dead(folder, owner):
                    (folder / name).rename(folder / f"{stem}{CLOSED}")
        for name in names:
            if name.startswith("owner-") and self._is_dead(folder, name[6:-5]):
                (folder / name).unlink(missing_ok=True)
        sync_folder(folder)

    def _is_dead(self, folder: Path, owner: str) -> bool:
        path = folder / f"owner-{owner}.lock"
        if not path.exists():
            return True
        lock = Lock(path)
        taken = lock.take()
        lock.let_go()
        return taken

    def _open_path(self, folder: Path, window_id: str) -> Path:
        return folder / f"{self._number(window_id):010d}-{window_id}.{self._owner}{OPEN}"

    def _snapshot_of(self, folder: Path, name: str) -> Path:
        """What is left of the window ``name`` where it went into memory when it was closed."""
        return folder / f"{name.removesuffix(CLOSED)}.{self._owner}{OPEN}"

    def _number(self, window_id: str) -> int:
        """The window's number, its own from the first time that it is asked."""
        if window_id not in self._numbers:
            counters = self._read_counters()
            counters.sequence += 1
            # in memory even if it cannot be written: no number is given twice by this process
            self._owed.sequence = counters.sequence
            self._numbers[window_id] = counters.sequence
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    self._write_counters(self._folder, counters)
        return self._numbers[window_id]

    def _read_counters(self) -> Counters:
        """What the file says and what could not be written into it."""
        counters = Counters()
        if self._folder is not None:
            path = self._folder / COUNTERS
            try:
                counters = _parse_counters(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                counters.sequence = _highest(self._folder)
            except (OSError, ValueError):
                counters.sequence = _highest(self._folder)
                counters.damaged = 1
        owed = self._owed
        counters.sequence = max(counters.sequence, owed.sequence)
        counters.overflow += owed.overflow
        counters.damaged += owed.damaged
        counters.refused += owed.refused
        counters.told = [*counters.told, *(r for r in owed.told if r not in counters.told)]
        return counters

    def _write_counters(self, folder: Path, counters: Counters) -> None:
        counters.told = counters.told[-MOST_REPORTS:]
        write_whole(folder / COUNTERS, json.dumps(asdict(counters)).encode())
        self._owed = Counters(sequence=counters.sequence)

    def _settle(self, folder: Path, told: str) -> None:
        """What was lost has been said, and ``told`` has been told."""
        counters = self._read_counters()
        said = replace(counters, overflow=0, damaged=0, refused=0)
        if told:
            said.told = [*said.told, told]
        self._write_counters(folder, said)

    def _keep_in_memory(self, window_id: str, render: Render, told: str) -> None:
        owed = self._read_counters()
        sequence = self._number(window_id)
        self._memory.append((_name(sequence, window_id), render(sequence, owed.lost)))
        self._owed.overflow = self._owed.damaged = self._owed.refused = 0
        if told:
            self._owed.told = [*self._owed.told, told][-MOST_REPORTS:]
        most = min(MOST_IN_MEMORY, self._max_bytes)
        while len(self._memory) > 1 and sum(len(data) for _, data in self._memory) > most:
            self._memory.popleft()
            self._owed.overflow += 1

    def _flush_memory(self, folder: Path) -> None:
        while self._memory:
            name, data = self._memory[0]
            write_whole(folder / name, seal(data))
            self._snapshot_of(folder, name).unlink(missing_ok=True)
            self._memory.popleft()

    def _make_room(self, folder: Path) -> None:
        """Remove the oldest windows, those set aside among them, until all fit."""
        sizes: dict[Path, int] = {}
        for place in (folder, folder / ASIDE):
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(place):
                    if _is_closed(entry.name) or entry.name.endswith(OPEN):
                        sizes[Path(entry.path)] = entry.stat().st_size
        total, lost = sum(sizes.values()), 0
        for path in sorted(sizes, key=lambda path: path.name):
            if total <= self._max_bytes:
                break
            if path.name.endswith(CLOSED):
                path.unlink(missing_ok=True)
                total -= sizes[path]
                lost += path.parent == folder  # those aside were counted when they were put there
        if lost:
            self._owed.overflow += lost
            self._write_counters(folder, self._read_counters())

    def _drop(self, name: str, why: Literal["damaged"]) -> None:
        with self._using_disk() as folder:
            if folder is not None:
                (folder / name).unlink(missing_ok=True)
                setattr(self._owed, why, getattr(self._owed, why) + 1)
                self._write_counters(folder, self._read_counters())


def window_id(name: str) -> str:
    """The id of the window in the file ``name``."""
    return name.removesuffix(CLOSED).partition("-")[2]


def _name(sequence: int, identity: str) -> str:
    return f"{sequence:010d}-{identity}{CLOSED}"


def _list(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _is_closed(name: str) -> bool:
    return name.endswith(CLOSED) and name[:10].isdigit()


def _highest(folder: Path) -> int:
    """The highest number of a window in ``folder``, whose counters are gone."""
    with contextlib.suppress(OSError):
        return max((int(n[:10]) for n in _list(folder) if n[:10].isdigit()), default=0)
    return 0


def _parse_counters(data: bytes) -> Counters:
    value: Any = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    known = cast("dict[str, Any]", value)
    numbers = [known.get(key) for key in ("sequence", "overflow", "damaged", "refused")]
    told = known.get("told")
    if not all(isinstance(number, int) for number in numbers) or not isinstance(told, list):
        raise ValueError("not counters")
    return Counters(*cast("list[int]", numbers), told=[str(r) for r in cast("list[Any]", told)])
