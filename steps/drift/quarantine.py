"""Windows that were refused: ``quarantine.jsonl``, a line each with where it lay and why.

What it said is not repeated: whoever sends malformed windows could otherwise write into the report.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

QUARANTINE = "quarantine.jsonl"
MOST_LISTED = 100_000
"""Lines of the file; those beyond are counted by reason only."""
MOST_PATH = 300


class Quarantine:
    """Writes as it goes. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        self.reasons: Counter[str] = Counter()
        self._file = (folder / QUARANTINE).open("w", encoding="utf-8")

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def total(self) -> int:
        return self.reasons.total()

    def put(self, path: str, reason: str) -> None:
        """Set one aside."""
        if self.total < MOST_LISTED:
            self._file.write(json.dumps({"window": path[-MOST_PATH:], "reason": reason}) + "\n")
        self.reasons[reason] += 1
