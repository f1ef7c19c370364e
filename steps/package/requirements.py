"""Reads ``edge/requirements.txt``, what the device installs, and checks its form.

Each distribution is pinned with ``==`` and with the hashes of its wheels, so that what was tested
is what is installed, from whichever index. What it leaves out: any other form that pip would take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steps.contract import StepError

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][0-9A-Za-z.!]*)"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True)
class Pin:
    """A distribution that the device needs."""

    name: str
    version: str
    hashes: frozenset[str]
    """SHA-256 of its wheels, of one or of each architecture."""

    @property
    def line(self) -> str:
        """The line that pip reads."""
        options = "".join(f" --hash=sha256:{digest}" for digest in sorted(self.hashes))
        return f"{self.name}=={self.version}{options}\n"


def read_pins(path: Path) -> tuple[Pin, ...]:
    """The distributions of a requirements file, in its order.

    Raises:
        StepError: A line is not a pin with hashes.
    """
    pins: dict[str, Pin] = {}
    for line in _lines(path):
        match = _PIN.fullmatch(line)
        if match is None:
            raise StepError(
                f"{path} has the line {line[:100]!r}: write NAME==VERSION and the wheels' "
                "--hash=sha256:… there."
            )
        found = re.findall(r"sha256:([0-9a-f]{64})", match["hashes"])
        if match["name"] in pins:
            raise StepError(f"{path} names {match['name']} twice: leave one of them.")
        pins[match["name"]] = Pin(match["name"], match["version"], frozenset(found))
    return tuple(pins.values())


def _lines(path: Path) -> Iterator[str]:
    """Without comments, continued lines joined, single spaces."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StepError(f"{path} cannot be read: {error.strerror}.") from None
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield " ".join(words)
