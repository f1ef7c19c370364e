"""``slm drift``: runs the check for drift on folders, at an emulated account or in a real one.

It is the pipeline of ``pipeline/drift_definition.py`` in all three. Exit codes: 0 no drift (or too
little to tell), 3 drift, 1 and 2 as for every command.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.cloud import Endpoint

FOUND = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    environment: str
    endpoint_url: str | None
    home: Path
    windows: Path | None
    reference: Path | None
    parameters: dict[str, object]

    @property
    def deployed(self) -> bool:
        """Whether the account itself runs the check."""
        return self.environment != "local" and self.endpoint_url is None


def add_to(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(drift)


def drift(
    windows: Annotated[
        Path | None,
        typer.Option(help="Folder of the devices' windows; at an endpoint, else the bucket's."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="reference.json, a package's folder, or one of VERSION.json; else the package of "
            "the newest execution, or the bucket's."
        ),
    ] = None,
    until: Annotated[str, typer.Option(help="Time of the check, ISO 8601, or now.")] = "now",
    period_hours: Annotated[
        int, typer.Option(min=1, max=672, help="Windows are added up over this long.")
    ] = 24,
    periods: Annotated[
        int, typer.Option(min=1, max=1000, help="Complete periods to show; the newest is tested.")
    ] = 3,
    min_utterances: Annotated[
        int, typer.Option(min=1, help="A period with fewer says nothing.")
    ] = 200,
    min_devices: Annotated[int, typer.Option(min=2, help="A period with fewer says nothing.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="drift.json, and nothing else.")] = False,
    env: Annotated[
        str, typer.Option("--env", help="Settings: a shipped environment, or a .toml file.")
    ] = "local",
    endpoint_url: Endpoint = None,
    home: Annotated[
        Path,
        typer.Option("--home", envvar="SLM_HOME", help="Folder of executions, data and models."),
    ] = Path(".slm"),
) -> None:
    """Check the devices' counts for drift (exit code 3 where there is)."""
    from pipeline.cli import drift_showing

    request = Request(
        environment=env,
        endpoint_url=endpoint_url,
        home=home,
        windows=windows,
        reference=reference,
        parameters={
            "Until": until,
            "PeriodHours": period_hours,
            "Periods": periods,
            "MinUtterances": min_utterances,
            "MinDevices": min_devices,
        },
    )
    found, report = _in_account(request) if request.deployed else _here(request, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        drift_showing.print_drift(found, report)
    raise typer.Exit(FOUND if found["found"] else 0)


def _here(request: Request, *, quiet: bool) -> tuple[dict[str, Any], str]:
    """Run the pipeline on this machine; what it found, and where its report is."""
    from rich.console import Console

    from pipeline import results
    from pipeline.cli import sources
    from pipeline.cli.watching import Watcher
    from pipeline.drift_definition import OUTPUT, REPORT, build_definition
    from pipeline.local import PipelineError, RunOptions, open_storage
    from pipeline.local import run as run_definition
    from pipeline.settings import Settings

    settings = Settings.load(request.environment)
    options = RunOptions(
        home=request.home,
        parameters={**request.parameters, **_places(request)},
        source=sources.REPOSITORY,
        endpoint_url=request.endpoint_url,
        pipeline=settings.drift_pipeline_name,
    )
    with Watcher(Console(stderr=True, quiet=quiet, highlight=False)) as watcher:
        execution = run_definition(build_definition(settings), options, watcher)
    if execution.status != "Succeeded":
        failure = watcher.failures[-1].reason if watcher.failures else execution.failure_reason
        raise PipelineError(failure or "The check was stopped.")
    place = results.outputs(execution)[OUTPUT].rstrip("/")
    storage = open_storage(request.home, request.endpoint_url)
    found: dict[str, Any] = json.loads(storage.read(f"{place}/drift.json"))
    folder = results.output_folder(request.home, execution, OUTPUT)
    return found, str(folder / REPORT) if folder else f"{place}/{REPORT}"


def _places(request: Request) -> dict[str, object]:
    """Folders of this machine as parameters; those that are left out stay as they are defined."""
    from pipeline.local import UsageError
    from pipeline.results import find_output

    windows, reference = request.windows, request.reference
    if windows is None and request.endpoint_url is None:
        raise UsageError(
            "--windows is missing: name the folder that the devices' windows are in, which is "
            "telemetry.destination of a device that sends them to one."
        )
    if reference is None and request.endpoint_url is None:
        reference = find_output(request.home, "package")
    places: dict[str, object] = {}
    for name, path in (("Windows", windows), ("References", reference)):
        if path is not None:
            if not path.exists():
                raise UsageError(f"{path} does not exist: name what is to be read.")
            places[name] = str(path.absolute())
    return places


def _in_account(request: Request) -> tuple[dict[str, Any], str]:
    """Start the deployed pipeline, wait for its end, and fetch what it found."""
    from rich.console import Console

    from pipeline.cli.cloud import open_account
    from pipeline.cli.watching import Watcher
    from pipeline.cloud import deployed, drifting, watching
    from pipeline.local import PipelineError, UsageError

    if request.windows or request.reference:
        raise UsageError(
            f"--windows and --reference name folders of this machine, which --env "
            f"{request.environment} cannot read: leave them out, or leave --env out."
        )
    account = open_account(request.environment, None)
    arn = drifting.start(account, request.parameters)
    console = Console(stderr=True, highlight=False)
    with Watcher(console) as watcher:
        execution = watching.watch(account, arn, watcher, console.print)
    if execution.status != "Succeeded":
        reason = watcher.failures[-1].reason if watcher.failures else execution.failure_reason
        raise PipelineError(f"Execution {deployed.short(arn)} {execution.status.lower()}: {reason}")
    return drifting.read(account, arn)
