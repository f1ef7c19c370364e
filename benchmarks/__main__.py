"""``make bench``: every benchmark in turn, each in a process of its own.

``python -m benchmarks`` runs the quick sizes (about a quarter of an hour on two cores; wrk must be
installed for the load on the service); the figures in docs/results.md come from the commands that
stand there, one benchmark at a time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
QUICK = (
    ("runner", "--jobs", "10"),
    ("device", "--utterances", "500"),
    ("service", "--seconds", "5", "--requests", "5000"),
    ("fuzz", "--requests", "5000"),
    ("mutations", "--count", "1000"),
    ("updates", "--kills", "10"),
    ("prepare", "--rows", "100000"),
    ("training",),
    ("drift", "calm", "--periods", "20"),
)


def main() -> int:
    """Run them all; the number of those that failed."""
    failed = 0
    for name, *arguments in QUICK:
        print(f"\n== benchmarks.{name} {' '.join(arguments)}".rstrip(), flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        failed += subprocess.run(command, cwd=REPOSITORY, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
