"""``slm run``: puts definition, parameters and data together, runs, and sums up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import results
from pipeline.cli import sources
from pipeline.cli.watching import Watcher
from pipeline.local import Execution, RunOptions, UsageError, runs
from pipeline.local import run as run_definition
from pipeline.results import Figure, Figures

_TAIL = 12  # lines of a failed job's log that are shown


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    home: Path
    environment: str = "local"
    data: Path | None = None
    assignments: tuple[str, ...] = ()
    params: Path | None = None
    resume: bool = False
    execution: str | None = None
    runtime: str = "process"
    pipeline: str | None = None
    definition: Path | None = None
    endpoint_url: str | None = None


def run_pipeline(request: Request) -> str:
    """Run and report; returns the execution's status.

    Raises:
        PipelineError: It could not start.
    """
    console = Console(highlight=False)
    definition, options = _plan(request, console)
    with Watcher(console) as watcher:
        execution = run_definition(definition, options, watcher)
    figures = results.read_figures(options.home, execution)
    _print_figures(console, figures)
    _print_places(console, options.home, execution)
    if execution.status == "Succeeded":
        _print_next(console, request)
    else:
        _print_end(watcher, execution)
    return execution.status


def _plan(request: Request, console: Console) -> tuple[dict[str, Any], RunOptions]:
    if request.execution and not request.resume:
        raise UsageError(f"{request.execution} is one word too many: did you mean --resume?")
    values = sources.parameter_values(request.params, request.assignments)
    if request.resume:
        return {}, _resumed(request, values)
    if request.pipeline and request.definition:
        raise UsageError("--pipeline and --definition name two definitions: give one.")
    with console.status("reading the definition"):
        definition = _definition(request)
    if request.data and sources.INPUT in values:
        raise UsageError(f"--data and --set {sources.INPUT} name two inputs: give one.")
    if sources.INPUT not in values:
        address = sources.place_data(request.data, definition, request.home, request.endpoint_url)
        if address:
            values[sources.INPUT] = address
    return definition, _options(request, values)


def _definition(request: Request) -> dict[str, Any]:
    if request.definition:
        return sources.read_definition(request.definition)
    if request.pipeline:
        return sources.deployed_definition(
            request.pipeline, request.environment, request.endpoint_url
        )
    return sources.own_definition(request.environment)


def _resumed(request: Request, values: dict[str, object]) -> RunOptions:
    if request.data or request.definition or request.pipeline:
        raise UsageError(
            "An execution is resumed with its own definition and data: leave --data, "
            "--definition and --pipeline out."
        )
    if request.execution:
        execution = runs.load(request.home, request.execution)
    else:
        open_ends = [one for one in runs.list_executions(request.home) if one.status != "Succeeded"]
        if not open_ends:
            raise UsageError(f"No execution in {request.home} waits to be resumed: see slm runs.")
        execution = open_ends[0]
    return _options(request, values, resume=execution)


def _options(
    request: Request, values: dict[str, object], resume: Execution | None = None
) -> RunOptions:
    endpoint = request.endpoint_url or (resume.endpoint_url if resume else None)
    return RunOptions(
        home=request.home,
        parameters=values,
        source=sources.REPOSITORY,
        runtime=request.runtime,
        resume=resume.id if resume else None,
        endpoint_url=endpoint,
        pipeline=request.pipeline or f"slm-edge-{request.environment}",
    )


def _print_figures(console: Console, figures: Figures) -> None:
    if not figures.rows:
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("on the test split", no_wrap=True)
    table.add_column("accuracy", no_wrap=True)
    table.add_column("out-of-scope AUROC", no_wrap=True)
    for row in figures.rows:
        table.add_row(row.name, _percent(row.accuracy), _share(row.out_of_scope_auroc))
    console.print()
    console.print(table)
    line = " · ".join(_details(figures))
    if line:
        console.print(line, soft_wrap=True)


def _details(figures: Figures) -> Iterator[str]:
    error = figures.rows[0].calibration_error
    if error:
        yield f"calibration error {error.value:.3f}"
    if figures.compiled_accuracy is not None:
        yield f"int8 accuracy {figures.compiled_accuracy:.1%}"
    if figures.milliseconds is not None:
        yield f"{figures.milliseconds:.1f} ms an utterance on one thread"
    if figures.megabytes is not None:
        yield f"{figures.megabytes:.1f} MB"
    if figures.registered:
        model = figures.registered
        yield f"{model.group} version {model.version}, {model.status}"


def _percent(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1%}"
    return f"{figure.value:.1%} ({100 * figure.low:.1f}–{100 * figure.high:.1f})"


def _share(figure: Figure | None) -> str:
    return "not measured" if figure is None else f"{figure.value:.3f}"


def _print_places(console: Console, home: Path, execution: Execution) -> None:
    package = results.output_folder(home, execution, "package")
    evaluation = results.output_folder(home, execution, "evaluation")
    places: list[tuple[str, Path]] = []
    if package:
        places += [("package", path) for path in sorted(package.glob("*.zip"))]
    if evaluation and (evaluation / "report.html").exists():
        places.append(("report", evaluation / "report.html"))
    if places:
        console.print()
    for what, path in places:
        console.print(f"{what:<9}{escape(str(_near(path)))}", soft_wrap=True)


def _near(path: Path) -> Path:
    """The path as seen from here, where that is shorter."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _print_next(console: Console, request: Request) -> None:
    home = "" if request.home == Path(".slm") else f" --home {request.home}"
    console.print()
    console.print("[dim]try next[/]")
    ideas = (
        (f'slm predict{home} "it\'s too dark in here"', "ask the compiled model"),
        (f"slm report{home} --open", "figures, confusions, calibration"),
        (f"slm run{home} --set Epochs=1", "another setting; what is unchanged is reused"),
        ("slm import clinc150 data_full.json", "then slm run --data with it"),
    )
    width = 2 + max(len(command) for command, _ in ideas)
    for command, why in ideas:
        console.print(f"  {escape(command.ljust(width))}[dim]{why}[/]", soft_wrap=True)


def _print_end(watcher: Watcher, execution: Execution) -> None:
    """Say on the error output why the execution ended, and how to go on."""
    console = Console(stderr=True, highlight=False)
    console.print()
    resume = f"slm run --resume {execution.id}"
    if execution.status == "Stopped":
        console.print(f"Stopped. Go on with: {resume}", markup=False, soft_wrap=True)
        return
    failure = watcher.failures[-1] if watcher.failures else None
    if failure is None:
        reason = execution.failure_reason or "the execution failed"
        console.print(f"error: {reason}", markup=False, soft_wrap=True)
        return
    if failure.log is None:  # a gate that is closed: the sentence says all
        console.print(f"error: {failure.reason}", markup=False, soft_wrap=True)
        return
    for line in failure.log_tail[-_TAIL:]:
        console.print(f"  | {line}", style="dim", markup=False, soft_wrap=True)
    sentence = f"error: {watcher.title(failure.step)} failed: {failure.reason}"
    console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"log      {_near(failure.log)}", markup=False, soft_wrap=True)
    console.print(f"go on    {resume}", markup=False, soft_wrap=True)
