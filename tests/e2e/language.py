"""What people say to six intents of the sample, and how some of them begin to speak: in German.

The usual way is the bundled sample's. The other way, ``german.jsonl``, was written for the story of
drift (test_loop.py): a household that changes its language is the plainest shift that there is.
Every third utterance of both is kept from training, for the devices to hear.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

SPLITS = (
    "train", "test", "train", "train", "test", "train", "validation", "train", "test", "train",
)  # fmt: skip
"""Three of ten to test on: the reference for drift is counted on those."""


class Row(NamedTuple):
    """One utterance and what it means."""

    text: str
    intent: str


def shifted() -> list[Row]:
    """The other way to speak."""
    return _read(Path(__file__).with_name("german.jsonl"))


def usual(repository: Path) -> list[Row]:
    """As many of the sample's utterances of the same intents, and of those out of scope."""
    other = shifted()
    intents = list(dict.fromkeys(row.intent for row in other))
    many = len(other) // len(intents)
    rows = _read(repository / "data/smart_home/utterances.jsonl")
    return [row for name in intents for row in [r for r in rows if r.intent == name][:many]]


def heard(rows: list[Row]) -> list[Row]:
    """What devices hear and training never sees."""
    return rows[2::3]


def write(rows: list[Row], folder: Path) -> Path:
    """A dataset of all that devices do not hear."""
    folder.mkdir(parents=True)
    known = [row for number, row in enumerate(rows) if number % 3 != 2]
    lines = [
        json.dumps({**row._asdict(), "split": SPLITS[number % len(SPLITS)]})
        for number, row in enumerate(known)
    ]
    (folder / "utterances.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _read(path: Path) -> list[Row]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Row(row["text"], row["intent"]) for row in rows]
