"""The state is the old or the new one, and names only versions that are whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.updates.errors import BusyError
from edge.updates.files import locked
from edge.updates.state import Root, State
from tests.edge.packages import REPOSITORY


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path / "state")
    made.make()
    return made


def test_a_candidate_that_is_confirmed_takes_the_place_of_what_served() -> None:
    state = State(serving="1.0.9", candidate="1.0.10", confirmed="1.0.9").confirm("1.0.10")
    assert (state.serving, state.previous, state.candidate) == ("1.0.10", "1.0.9", None)
    assert state.confirmed == "1.0.10"


def test_a_candidate_that_fails_is_refused_and_reported_and_the_old_one_serves() -> None:
    state = State(serving="1.0.1", candidate="1.0.2").fail_candidate("1.0.2", "crash", "It died.")
    assert (state.serving, state.candidate) == ("1.0.1", None)
    assert state.refused == {"1.0.2": "It died."}
    assert state.reports[0]["kind"] == "crash"


def test_what_is_remembered_of_failures_is_bounded() -> None:
    state = State()
    for number in range(100):
        state = state.refuse(f"1.0.{number}", "crash", "x" * 1000)
    assert len(json.dumps(state.to_json())) < 30_000


def test_a_change_is_read_again_as_it_was_written(root: Root) -> None:
    root.change(lambda state: replace(state, serving="1.0.1", confirmed="1.0.1"))
    assert root.read() == State(serving="1.0.1", confirmed="1.0.1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"serving": "../x"}', b"\xff" * 50])
def test_a_damaged_state_is_made_anew_from_confirmed_versions(root: Root, content: bytes) -> None:
    for version, sure in (("1.0.2", True), ("1.0.10", False)):
        root.folder(version).mkdir()
        (root.folder(version) / "installed.json").write_text(json.dumps({"confirmed": sure}))
    (root.path / "state.json").write_bytes(content)
    assert root.read().serving == "1.0.2"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux")
def test_a_state_of_another_user_is_named_and_not_made_anew(root: Root) -> None:
    root.change(lambda state: replace(state, serving="1.0.1"))
    written = (root.path / "state.json").read_bytes()
    without = "-dac_override,-dac_read_search"  # root reads what it likes with these
    drop = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]
    command = [sys.executable, "-m", "edge", "status", "--root", str(root.path)]
    for closed in (root.path / "state.json", root.path):
        closed.chmod(0)
        try:
            done = subprocess.run(
                [*(drop if os.geteuid() == 0 else []), *command],
                cwd=REPOSITORY, capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            closed.chmod(0o755)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {root.path}/state.json may not be read")
        assert done.stderr.count("\n") == 1
    assert (root.path / "state.json").read_bytes() == written


def test_cleaning_leaves_only_what_is_to_be_kept(root: Root) -> None:
    for name in ("1.0.1", "1.0.2", ".partial-1.0.3-1"):
        (root.versions / name / "model").mkdir(parents=True)
        (root.versions / name / "model" / "file").touch()
    root.clean({"1.0.2"})
    assert [path.name for path in root.versions.iterdir()] == ["1.0.2"]


def test_a_lock_that_is_held_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock"),
        pytest.raises(BusyError, match="Another supervisor"),
        locked(tmp_path / "lock", "Another supervisor runs here."),
    ):
        pass
