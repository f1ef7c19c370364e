"""Hands values from one step of a delivery to the next, in the form that whoever runs it reads.

CodeBuild exports variables of the shell: a build sources ``build/delivery/variables.sh``. GitHub
reads ``name=value`` from the file that GITHUB_OUTPUT names. A value is one line. What a person has
to copy goes into the summary of GitHub's run as well.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

FILE = Path("build/delivery/variables.sh")
OUTPUT, SUMMARY = "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"


def hand_on(values: Mapping[str, str], file: Path = FILE) -> None:
    """Write ``values`` to ``file``, and to GitHub's where there is one."""
    lines = {name: " ".join(value.split()) for name, value in values.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    exported = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
    file.write_text(exported, encoding="utf-8")
    if outputs := os.environ.get(OUTPUT):
        with Path(outputs).open("a", encoding="utf-8") as opened:
            opened.writelines(f"{name}={value}\n" for name, value in lines.items())


def summarize(values: Mapping[str, str]) -> str:
    """What a person needs to promote a release, a line each; GitHub shows it beside the run."""
    text = "".join(f"- {name}: `{' '.join(value.split())}`\n" for name, value in values.items())
    if summary := os.environ.get(SUMMARY):
        with Path(summary).open("a", encoding="utf-8") as opened:
            opened.write(text)
    return text
