"""``slm-edge install``, ``rollback``, ``status`` and ``verify``.

What it leaves out: fetching a package. A nucleus, ``curl`` or a memory stick brings it.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.settings import Settings
from edge.updates.errors import VersionError
from edge.updates.files import locked, read_json
from edge.updates.state import Root, State

ROOT = Path("/var/lib/slm-edge")


def add(subparsers: Any) -> None:
    """Add the parsers; each has its function as the default ``run``."""
    parser = subparsers.add_parser("install", help="check a package and make it the next version")
    _add_root(parser)
    _add_package(parser)
    parser.add_argument("--allow-downgrade", action="store_true", help="take an older version")
    parser.add_argument("--again", action="store_true", help="try a version that failed here")
    parser.set_defaults(run=_install)
    parser = subparsers.add_parser("verify", help="only check a package")
    _add_package(parser)
    parser.set_defaults(run=_verify)
    parser = subparsers.add_parser("rollback", help="back to the version before")
    _add_root(parser)
    parser.set_defaults(run=_rollback)
    parser = subparsers.add_parser("status", help="what serves, what waits, what was refused")
    _add_root(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_status)


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=ROOT, help=f"default: {ROOT}")


def _add_package(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--package", type=Path, required=True, help="a zip, or it unpacked")
    parser.add_argument("--signature", type=Path, help="manifest.sig, where it lies elsewhere")
    parser.add_argument("--config", type=Path, help="default: /etc/slm-edge/config.toml")


def _install(options: argparse.Namespace) -> int:
    from edge.updates.install import install

    outcome = install(
        Root(options.root),
        options.package,
        Settings.read(options.config).updates,
        signature=options.signature,
        allow_downgrade=options.allow_downgrade,
        again=options.again,
    )
    print(outcome.sentence)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from edge.package.check import open_package
    from edge.updates.install import check

    with open_package(options.package, options.signature) as package:
        manifest, signer = check(package, Settings.read(options.config).updates)
        package.check_files()
    by = f"signed by {signer.file} ({signer.key[:16]})" if signer else "not signed"
    print(f"good: {manifest.component} {manifest.version}, {len(manifest.files)} files, {by}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    root = Root(options.root)
    found: list[str] = []

    def back(state: State) -> State:
        if state.candidate is not None:  # what serves goes on serving
            found.append(state.serving or "")
            return replace(state, candidate=None, starts=0)
        if state.previous is None:
            raise VersionError(
                f"{root.path} has no version before {state.serving or 'the first'}: install one."
            )
        found.append(state.previous)
        return replace(state, serving=state.previous, previous=state.serving)

    root.make()
    with locked(root.path / "install.lock", f"An installation works on {root.path}: wait."):
        root.change(back)
    print(f"{found[0]} serves again.")
    return 0


def _status(options: argparse.Namespace) -> int:
    root = Root(options.root)
    state = root.read()
    running = _running(root)
    if options.json:
        print(json.dumps({**state.to_json(), "running": running}, indent=2, sort_keys=True))
        return 0
    lines = {
        "serving": state.serving or "nothing is installed",
        "on trial": state.candidate,
        "before it": state.previous,
        "process": f"{running['pid']} on {running['address']}" if running else "not running",
    }
    for name, value in lines.items():
        if value:
            print(f"{name:9}  {value}")
    for version, reason in state.refused.items():
        print(f"{'refused':9}  {version}: {reason}")
    return 0


def _running(root: Root) -> dict[str, Any] | None:
    """What the supervisor noted, if it lives."""
    from edge.updates.supervisor import SERVING

    note = read_json(root.path / SERVING)
    pid = note.get("pid") if note is not None else None
    if not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None  # left by one that was killed
    except PermissionError:
        pass  # another user's
    return note
