"""What is started is of its own version only, and ends with who started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from edge.updates.launch import start


def test_it_runs_the_version_s_own_code_and_leaves_no_byte_code(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("import sys\nprint(sys.argv[1])\n")
    process = start(tmp_path, None, ["hello"], code="import edge", output=subprocess.PIPE)
    assert process.communicate()[0] == b"hello\n"
    assert list(tmp_path.rglob("*.pyc")) == []


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, time; from edge.updates.launch import start; "
            f"print(start(pathlib.Path({str(tmp_path)!r}), None, [], "
            "code='import time; time.sleep(60)').pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 10
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        # who has no parent left to wait for it is no longer running
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
