"""What is installed on this device, in one file that is replaced as a whole.

::

    root/state.json          see State
    root/versions/1.0.3/     an unpacked package, its signature and installed.json
    root/versions/.partial-* unfinished; removed at the next start
    root/lock                held by the supervisor
    root/install.lock        held by an installer, and while old versions are removed
    root/state.lock          held while state.json is read, changed and replaced

A folder below ``versions`` gets its name when every file in it was verified and is on the disk, and
the state names it after that. So every version that the state names is whole at any instant.

What it leaves out: when what changes (:mod:`edge.updates.install`, :mod:`edge.updates.supervisor`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from edge.updates.errors import StateError
from edge.updates.files import locked, read_json, remove_tree, sync_folder, write_json

STATE = "state.json"
INSTALLED = "installed.json"
PARTIAL = ".partial-"
REPORTS = 32
REFUSED = 16
"""As many are remembered, the last ones."""
REASON = 300
"""Characters of a reason."""


@dataclass(frozen=True)
class State:
    """One moment; a change makes another one."""

    serving: str | None = None
    """What serves when nothing is on trial."""
    previous: str | None = None
    """What served before it, and can at once again."""
    candidate: str | None = None
    """On trial, or waiting for it; ``serving`` serves again if it fails."""
    starts: int = 0
    """How often the candidate was started: a device that it takes down does not try for ever."""
    confirmed: str | None = None
    """The highest version that lived through a trial; no lower one is installed."""
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    """Versions that failed here, and why."""
    reports: tuple[dict[str, str], ...] = ()
    """What went wrong, for telemetry: id, kind, version and reason."""

    def refuse(self, version: str, kind: str, reason: str) -> State:
        """Remember why ``version`` failed; who serves instead is the caller's to say."""
        reason = reason[:REASON]
        refused = {k: v for k, v in self.refused.items() if k != version}
        refused = dict([*refused.items(), (version, reason)][-REFUSED:])
        return replace(self.report(version, kind, reason), refused=refused)

    def report(self, version: str, kind: str, reason: str) -> State:
        """Tell of something that went wrong."""
        told = {"id": os.urandom(8).hex(), "kind": kind, "version": version}
        told["reason"] = reason[:REASON]
        return replace(self, reports=(*self.reports, told)[-REPORTS:])

    def fail_candidate(self, version: str, kind: str, reason: str) -> State:
        """The candidate is no good; nothing if it is not the candidate any more."""
        if self.candidate != version:
            return self
        return replace(self.refuse(version, kind, reason), candidate=None, starts=0)

    def confirm(self, version: str) -> State:
        """``version`` lived through its trial."""
        highest = max((v for v in (self.confirmed, version) if v), key=ordering)
        if version == self.candidate:
            return replace(
                self,
                serving=version,
                previous=self.serving,
                candidate=None,
                starts=0,
                confirmed=highest,
            )
        return replace(self, confirmed=highest) if version == self.serving else self

    def named(self) -> set[str]:
        """Versions that must stay on the disk."""
        return {v for v in (self.serving, self.previous, self.candidate) if v}

    def to_json(self) -> dict[str, object]:
        """As the file has it."""
        return {
            "serving": self.serving,
            "previous": self.previous,
            "candidate": self.candidate,
            "starts": self.starts,
            "confirmed": self.confirmed,
            "refused": dict(self.refused),
            "reports": list(self.reports),
        }


class Root:
    """The folder of a device's state."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.versions = self.path / "versions"

    def make(self) -> None:
        """Make the folders.

        Raises:
            StateError: They cannot be made.
        """
        try:
            self.versions.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"The state root {self.path} cannot be made: {error.strerror}; name a folder that "
                "can be written to with --root."
            ) from None

    def folder(self, version: str) -> Path:
        """Where a version lies."""
        return self.versions / version

    def read(self) -> State:
        """The state; made anew from the installed versions if the file is damaged.

        Raises:
            StateError: This user may not read it.
        """
        path = self.path / STATE
        value = read_json(path)
        state = _parse(value) if value is not None else None
        try:
            if state is None and path.exists():
                path.open("rb").close()  # what cannot be read is not damaged
                state = self._recover()
        except PermissionError:
            raise StateError(
                f"{path} may not be read by this user: run the command as the one that serves, "
                "with sudo -u."
            ) from None
        return state or State()

    def change(self, change: Callable[[State], State]) -> State:
        """Read, change and replace the state, while nobody else does.

        Raises:
            OSError: It could not be written; it is as it was.
        """
        with locked(self.path / "state.lock"):
            state = self.read()
            changed = change(state)
            if changed != state:
                write_json(self.path / STATE, changed.to_json())
            return changed

    def installed(self, version: str) -> dict[str, Any]:
        """What the installer noted of a version; empty if it is not there."""
        return read_json(self.folder(version) / INSTALLED) or {}

    def clean(self, keep: set[str]) -> None:
        """Remove what is unfinished, and every version that is not in ``keep``.

        The caller holds ``install.lock``. A version loses its name first: what has one is whole.
        """
        for path in sorted(self.versions.iterdir()):
            if path.name in keep:
                continue
            if not path.name.startswith(PARTIAL):
                gone = path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}-gone")
                path.rename(gone)
                sync_folder(self.versions)
                path = gone
            remove_tree(path)

    def _recover(self) -> State:
        """The best of what is there: confirmed versions first, then the highest."""
        found = [path.name for path in self.versions.iterdir() if _is_version(path.name)]
        sure = [name for name in found if self.installed(name).get("confirmed") is True]
        best = max(sure or found, key=ordering, default=None)
        state = State(serving=best, confirmed=max(sure, key=ordering, default=None))
        return state.report(best or "", "state", "state.json was damaged and made anew.")


def ordering(version: str) -> tuple[int, ...]:
    """Orders versions; anything that is none comes first."""
    return tuple(int(part) for part in version.split(".")) if _is_version(version) else ()


def _is_version(text: object) -> bool:
    parts = text.split(".") if isinstance(text, str) else []
    return len(parts) == 3 and all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts)


def _parse(value: dict[str, Any]) -> State | None:
    versions = {key: value.get(key) for key in ("serving", "previous", "candidate", "confirmed")}
    starts, refused, reports = (value.get(key) for key in ("starts", "refused", "reports"))
    sound = (
        all(v is None or _is_version(v) for v in versions.values())
        and isinstance(starts, int)
        and isinstance(refused, dict)
        and isinstance(reports, list)
    )
    if not sound:
        return None
    return State(
        **versions,
        starts=cast("int", starts),
        refused=cast("dict[str, str]", refused),
        reports=tuple(cast("list[dict[str, str]]", reports)),
    )
