"""What ``slm drift`` prints: a table of figures a version, and the way to the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_STYLES = {
    "drift": "bold red",
    "no drift": "green",
    "not enough": "yellow",
    "no reference": "yellow",
}


def print_drift(found: Mapping[str, Any], report: str) -> None:
    """Print what ``drift.json`` holds, the newest period of each version."""
    console = Console(highlight=False)
    if not found["versions"]:
        console.print(f"{found['message']}".capitalize() + ".", soft_wrap=True)
    for version in found["versions"]:
        _print_version(console, version)
    _print_windows(console, found["windows"])
    console.print(f"report   {escape(_near(report))}", soft_wrap=True)


def _print_version(console: Console, version: Mapping[str, Any]) -> None:
    status = Text(version["status"], _STYLES[version["status"]])
    console.print(Text(f"version {version['version']}  ") + status)
    console.print(f"  {escape(version['message'])}", style="dim", soft_wrap=True)
    newest = version["periods"][-1] if version["periods"] else None
    if newest is None or not newest["figures"]:
        return
    console.print(
        f"  {newest['utterances']:,} utterances of {newest['devices']:,} devices, "
        f"{newest['start']} to {newest['end']}",
        style="dim",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("  figure", no_wrap=True)
    for title in ("distance", "threshold"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("")
    for figure in newest["figures"]:
        table.add_row(
            "  " + figure["name"].replace("_", " "),
            _number(figure["statistic"]),
            _number(figure["threshold"]),
            Text(f"{figure['status']}: {figure['message']}", _STYLES[figure["status"]])
            if figure["status"] != "no drift"
            else Text(figure["status"], "dim"),
        )
    console.print(table)


def _print_windows(console: Console, windows: Mapping[str, Any]) -> None:
    console.print(
        f"windows  {windows['counted']:,} counted of {windows['read']:,} read, "
        f"{windows['duplicates']:,} twice, {windows['quarantined']:,} in quarantine",
        soft_wrap=True,
    )
    for reason, count in windows["quarantine"].items():
        console.print(f"         {count:,}: {reason}", style="dim", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _near(report: str) -> str:
    """A path as seen from here, where that is shorter."""
    here, path = Path.cwd(), Path(report)
    return str(path.relative_to(here)) if path.is_relative_to(here) else report
