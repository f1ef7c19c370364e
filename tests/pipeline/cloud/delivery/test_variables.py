"""Values that are handed on: what a shell and GitHub read is what was written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.cloud.delivery.variables import hand_on, summarize

AWKWARD = "accuracy 96.2% (champion: 95.9%, +0.3 points); $(touch owned) `id` 'a' \"b\"\nsecond"
ONE_LINE = AWKWARD.replace("\n", " ")


def test_a_shell_that_sources_the_file_has_the_values_and_runs_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    hand_on({"FIGURES": AWKWARD, "EMPTY": ""}, tmp_path / "build" / "variables.sh")
    script = '. build/variables.sh; printf "%s|%s" "$FIGURES" "$EMPTY"; sh -c \'test "$FIGURES"\''
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ONE_LINE}|"
    assert not (tmp_path / "owned").exists()


def test_github_gets_a_line_each_and_cannot_be_given_another_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outputs, shown = tmp_path / "outputs", tmp_path / "summary"
    outputs.write_text("before=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(shown))
    hand_on({"FIGURES": "good\nMODEL_PACKAGE=another"}, tmp_path / "variables.sh")
    assert outputs.read_text() == "before=1\nFIGURES=good MODEL_PACKAGE=another\n"
    text = summarize({"commit": "abc", "figures": AWKWARD})
    assert text == f"- commit: `abc`\n- figures: `{ONE_LINE}`\n"
    assert shown.read_text() == text
