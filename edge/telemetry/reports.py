"""Updates that went wrong, as the state on disk reports them; only kind and version are told.

The supervisor keeps a bounded list ``reports`` in ``state.json``, each with an id, a kind, a
version and a reason. The reason is a sentence for the log and stays on the device.

What it leaves out: judging the state. Whatever in it is not a report is passed over.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

STATE = "state.json"
MOST = 64
"""Reports that are looked at, the last ones."""
LARGEST = 1_000_000
"""Bytes of a state that is read: the real one has some thousand."""
_NAMESPACE = uuid.UUID("6f1d8a0e-52b5-4c53-9a0b-0f6ae6a1d3b7")


@dataclass(frozen=True)
class Report:
    """An update that went wrong."""

    id: str
    kind: str
    version: str

    def window_id(self, thing: str) -> str:
        """The id of the window that tells it: the same if a power cut makes us tell it again."""
        return str(uuid.uuid5(_NAMESPACE, f"{thing}/{self.id}"))

    def to_json(self) -> dict[str, str]:
        """What leaves the device."""
        return {"kind": self.kind, "version": self.version}


def read_reports(root: Path) -> list[Report]:
    """The reports in ``root``, oldest first; none if there is no state or it cannot be read."""
    path = root / STATE
    try:
        if path.stat().st_size > LARGEST:
            return []
        state: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    listed: Any = cast("dict[str, Any]", state).get("reports") if isinstance(state, dict) else None
    if not isinstance(listed, list):
        return []
    found: list[Report] = []
    for item in cast("list[Any]", listed)[-MOST:]:
        if isinstance(item, dict) and "id" in item:
            report = cast("dict[str, Any]", item)
            kind, version = str(report.get("kind", "")), str(report.get("version", ""))
            found.append(
                Report(
                    str(report["id"])[:64],
                    # words of ours and numbers only: no sentence gets out by a slip
                    kind if re.fullmatch("[a-z][a-z_]{0,31}", kind) else "other",
                    version if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}", version) else "",
                )
            )
    return found
