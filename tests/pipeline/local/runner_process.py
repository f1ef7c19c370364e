"""Runs a definition in a process of its own: ``python -m ... ROOT DEFINITION [resume-id]``.

Prints one line for every event, so that a test can act in the middle of an execution.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.local import Event, ExecutionEnded, ExecutionStarted, RunOptions, StepLog, run


def main() -> None:
    root = Path(sys.argv[1])
    options = RunOptions(
        home=root / ".slm",
        source=root / "repository",
        parameters={},
        resume=sys.argv[3] if len(sys.argv) > 3 else None,
    )

    def tell(event: Event) -> None:
        match event:
            case ExecutionStarted(execution) | ExecutionEnded(execution):
                print(type(event).__name__, execution.id, execution.status, flush=True)
            case StepLog(_, step, line):
                print("log", step, line, flush=True)
            case _:
                print(type(event).__name__, event.step, flush=True)

    run(json.loads(Path(sys.argv[2]).read_text()), options, tell)


if __name__ == "__main__":
    main()
