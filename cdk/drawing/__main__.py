"""Draws the account: ``make diagram``, which runs ``python -m cdk.drawing``.

    --assembly FOLDER   read what ``cdk synth`` wrote there, instead of synthesizing the example
    --env ENV           whose stacks those are (dev)
    --docs FOLDER       where to write (docs)

Without --assembly it synthesizes dev with everything that its settings can add, which takes some
seconds and no credentials.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cdk.context import ContextError
from cdk.drawing import dashboard, infrastructure, roles, security
from cdk.drawing.account import AccountTemplates, example_settings, synthesize
from pipeline.settings import Settings, SettingsError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures and the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cdk.drawing")
    parser.add_argument("--assembly", type=Path, help="a folder that cdk synth wrote")
    parser.add_argument("--env", default="dev", help="whose stacks --assembly holds")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write")
    given = parser.parse_args(arguments)
    try:
        account = _account(given.assembly, given.env)
    except (ContextError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in files(account).items():
        file: Path = given.docs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        print(file)
    return 0


def files(account: AccountTemplates) -> Mapping[str, str]:
    """What is written, by its path below docs/."""
    return {
        "images/infrastructure.svg": infrastructure.draw(account),
        "images/security.svg": security.draw(account),
        "images/dashboard.svg": dashboard.draw(dashboard.body_of(account)),
        "images/dashboard-phone.svg": dashboard.draw(dashboard.body_of(account), phone=True),
        "roles.md": roles.write(account),
    }


def _account(assembly: Path | None, env: str) -> AccountTemplates:
    if assembly is not None:
        return AccountTemplates.read(assembly, Settings.load(env))
    with tempfile.TemporaryDirectory() as folder:
        return synthesize(example_settings(Path(folder)), Path(folder))


if __name__ == "__main__":
    sys.exit(main())
