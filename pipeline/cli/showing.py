"""``slm show``, ``slm runs`` and ``slm ui``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import diagram as drawing
from pipeline.cli import sources
from pipeline.cli.watching import duration
from pipeline.definition import as_text
from pipeline.local import Execution, UsageError, runs
from pipeline.parameters import parameters
from pipeline.results import read_figures
from pipeline.settings import Settings

_CHOICES = 3  # of a parameter that are listed
_STATUS = {"Succeeded": "green", "Failed": "red", "Stopped": "yellow", "Executing": "cyan"}


def show_definition(
    environment: str, file: Path | None, *, as_json: bool, diagram: Path | None
) -> None:
    """Print, dump or draw a definition.

    Raises:
        UsageError: The file is not a definition, or the picture's suffix is not known.
    """
    definition = sources.read_definition(file) if file else sources.own_definition(environment)
    try:
        if as_json:
            sys.stdout.write(as_text(definition))
        if diagram:
            drawing.write(definition, diagram)
        if not as_json and not diagram:
            _print_definition(Console(highlight=False), definition)
    except ValueError as error:
        raise UsageError(f"{error}: name a file with one of these suffixes.") from None
    except (AttributeError, KeyError, TypeError):
        raise UsageError(
            f"{file} is not a pipeline definition: its steps cannot be read."
        ) from None
    except OSError as error:
        raise UsageError(f"{diagram} cannot be written: {error.strerror}.") from None


def _print_definition(console: Console, definition: Mapping[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("step", "what it does", "type"):
        table.add_column(title)
    for depth, step in _walk(definition.get("Steps", []), 0):
        name = Text("  " * depth + step["Name"], "bold")
        table.add_row(name, step.get("Description", ""), step["Type"])
    console.print(table)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("parameter", no_wrap=True)
    table.add_column("default", overflow="fold")
    table.add_column("what it is")
    purposes = {p.name: p.purpose for p in parameters(Settings.load("local"))}
    for parameter in definition.get("Parameters", []):
        name, default = parameter["Name"], str(parameter.get("DefaultValue", ""))
        choices = _choices(parameter.get("EnumValues", []))
        purpose = purposes.get(name, parameter["Type"])
        shown = f"{purpose}: {choices}" if choices else str(purpose)
        table.add_row(name, default, Text(shown))
    console.print(table)


def _choices(values: list[str]) -> str:
    shown = ", ".join(values[:_CHOICES])
    return shown if len(values) <= _CHOICES else f"{shown} … ({len(values)} in all)"


def _walk(steps: list[dict[str, Any]], depth: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for step in steps:
        yield depth, step
        if step["Type"] == "Condition":
            yield from _walk(step["Arguments"]["IfSteps"], depth + 1)
            yield from _walk(step["Arguments"]["ElseSteps"], depth + 1)


def print_executions(home: Path) -> None:
    """List the executions of a home, the newest first."""
    console = Console(highlight=False)
    executions = runs.list_executions(home)
    if not executions:
        console.print(f"No executions in {home} yet: start with slm run.", soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("execution", "status", "started", "time", "accuracy", "version"):
        table.add_column(title, no_wrap=True)
    for execution in executions:
        figures = read_figures(home, execution)
        accuracy = figures.rows[0].accuracy if figures.rows else None
        table.add_row(
            execution.id,
            Text(execution.status, _STATUS[execution.status]),
            _local_time(execution.started),
            _elapsed(execution),
            f"{accuracy.value:.1%}" if accuracy else "",
            figures.registered.version if figures.registered else "",
        )
    console.print(table)


def _local_time(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M") if text else ""


def _elapsed(execution: Execution) -> str:
    if not execution.ended:
        return ""
    start, end = (datetime.fromisoformat(t) for t in (execution.started, execution.ended))
    return duration((end - start).total_seconds())


def open_mlflow(home: Path, port: int) -> int:
    """Run MLflow's own interface until it is stopped; returns its exit code.

    Raises:
        UsageError: Nothing has been tracked yet.
        ModuleNotFoundError: MLflow is not installed.
    """
    database = home.absolute() / "mlflow.db"
    if not database.exists():
        raise UsageError(f"{database} does not exist yet: start with slm run.")
    if importlib.util.find_spec("mlflow") is None:
        raise ModuleNotFoundError("mlflow", name="mlflow")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{database.as_posix()}"]
    return subprocess.run(command, check=False).returncode
