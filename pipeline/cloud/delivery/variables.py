"""Hands values from one step of a delivery to the next, in the form that whoever runs it reads.

CodeBuild exports variables of the shell: a build sources ``build/delivery/variables.sh``. GitHub
reads ``name=value`` from the file that GITHUB_OUTPUT names. A value is one line.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

FILE = Path("build/delivery/variables.sh")


def hand_on(values: Mapping[str, str], file: Path = FILE) -> None:
    """Write ``values`` to ``file``, and to GitHub's where there is one."""
    lines = {name: " ".join(value.split()) for name, value in values.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    exported = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
    file.write_text(exported, encoding="utf-8")
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as opened:
            opened.writelines(f"{name}={value}\n" for name, value in lines.items())
