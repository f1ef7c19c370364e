"""What an execution made: its output folders, and the figures that matter.

Figures are read leniently: a figure that a step did not write is missing, not an error, because
an execution may have ended early and a definition need not be ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.local import Execution, PipelineError, UsageError, open_storage, runs
from pipeline.local.storage import FolderStorage


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One model of the comparison."""

    name: str
    accuracy: Figure | None
    out_of_scope_auroc: Figure | None
    calibration_error: Figure | None = None


@dataclass(frozen=True)
class Registered:
    """The model package that the execution made."""

    group: str
    version: str
    status: str


@dataclass(frozen=True)
class Figures:
    """The figures that matter, as far as the execution got."""

    rows: tuple[Row, ...] = ()
    compiled_accuracy: float | None = None
    agreement: float | None = None
    milliseconds: float | None = None
    """Median time for one utterance on one thread."""
    megabytes: float | None = None
    registered: Registered | None = None


def outputs(execution: Execution) -> dict[str, str]:
    """The S3 location of every output that was written, by its name."""
    found: dict[str, str] = {}
    for step in execution.steps.values():
        config: Mapping[str, Any] = step.outputs.get("ProcessingOutputConfig") or {}
        for output in config.get("Outputs", []):
            found[output["OutputName"]] = output["S3Output"]["S3Uri"]
    return found


def output_folder(home: Path, execution: Execution, name: str) -> Path | None:
    """The folder of an output on this machine; None if it was not written, or lies elsewhere."""
    uri = outputs(execution).get(name)
    storage = open_storage(home, execution.endpoint_url)
    if uri is None or not isinstance(storage, FolderStorage):
        return None
    path = storage.path(uri)
    return path if path.is_dir() else None


def find_output(home: Path, name: str, execution_id: str | None = None) -> Path:
    """The folder of output ``name`` of an execution, or of the newest that has one.

    Raises:
        UsageError: There is none.
    """
    if execution_id:
        folder = output_folder(home, runs.load(home, execution_id), name)
        if folder is None:
            raise UsageError(f"Execution {execution_id} has no output {name} on this machine.")
        return folder
    for execution in runs.list_executions(home):
        folder = output_folder(home, execution, name)
        if folder is not None:
            return folder
    raise UsageError(f"No execution in {home} has an output {name} yet: start with slm run.")


def read_figures(home: Path, execution: Execution) -> Figures:
    """The figures of an execution."""
    found = outputs(execution)

    def document(output: str, file: str) -> dict[str, Any]:
        if output not in found:
            return {}
        try:
            storage = open_storage(home, execution.endpoint_url)
            content: object = json.loads(storage.read(f"{found[output].rstrip('/')}/{file}"))
        except (PipelineError, OSError, ValueError):
            return {}
        return cast("dict[str, Any]", content) if isinstance(content, dict) else {}

    evaluation = document("evaluation", "evaluation.json")
    compilation = document("compiled", "compilation.json")
    registration = document("registration", "registration.json")
    size = _number(compilation, "bytes")
    return Figures(
        rows=tuple(_rows(evaluation)),
        compiled_accuracy=_number(compilation, "parity", "accuracy"),
        agreement=_number(compilation, "parity", "agreement"),
        milliseconds=_number(compilation, "latency", "int8", "median_ms"),
        megabytes=None if size is None else size / 1e6,
        registered=_registered(registration, compilation),
    )


def _rows(evaluation: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    if isinstance(_at(evaluation, "figures"), dict):
        error = _figure(evaluation, "figures", "expected_calibration_error")
        rows.append(_row("this model", evaluation, "figures", error))
    if isinstance(_at(evaluation, "champion"), dict):
        version = _at(evaluation, "champion", "version")
        rows.append(_row(f"champion, version {version}", evaluation, "champion"))
    if isinstance(_at(evaluation, "baseline"), dict):
        name = _at(evaluation, "baseline", "name") or "baseline"
        rows.append(_row(str(name), evaluation, "baseline"))
    return rows


def _row(name: str, document: Mapping[str, Any], key: str, error: Figure | None = None) -> Row:
    return Row(
        name,
        _figure(document, key, "accuracy"),
        _figure(document, key, "out_of_scope_auroc"),
        error,
    )


def _registered(
    registration: Mapping[str, Any], compilation: Mapping[str, Any]
) -> Registered | None:
    """The package as it stands now: one that missed the parity gate has been rejected since."""
    if "version" not in registration:
        return None
    group, version = registration.get("group", "unknown"), registration["version"]
    missed = _number(compilation, "parity", "passed") == 0
    status = "Rejected" if missed else registration.get("status", "unknown")
    return Registered(str(group), str(version), str(status))


def _at(document: Mapping[str, Any], *path: str) -> object:
    value: Any = document
    for key in path:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(key)
    return value


def _number(document: Mapping[str, Any], *path: str) -> float | None:
    value = _at(document, *path)
    return float(value) if isinstance(value, int | float) else None


def _figure(document: Mapping[str, Any], *path: str) -> Figure | None:
    value = _number(document, *path, "value")
    if value is None:
        return None
    return Figure(value, _number(document, *path, "low"), _number(document, *path, "high"))
