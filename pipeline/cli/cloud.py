"""The commands of ``slm`` that talk to an account; app.py adds them to its own.

Each reads its options, calls pipeline/cloud, and prints through account_showing.py. What they cost
to start is what they import: nothing of AWS before a command runs.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.cloud.session import Account

PANEL = "in the account"
_EXIT = {"Succeeded": 0, "Stopped": 130}


class Durations(StrEnum):
    """Whose minutes an estimate takes."""

    newest = "newest"
    assumed = "assumed"
    local = "local"
    cloud = "cloud"


Environment = Annotated[
    str, typer.Option("--env", help="Settings: a shipped environment, or the path of a .toml file.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="Use AWS at this address, as an emulator's.")
]
Home = Annotated[
    Path,
    typer.Option("--home", envvar="SLM_HOME", help="Folder of this machine's executions."),
]
VersionName = Annotated[
    str | None,
    typer.Argument(metavar="[VERSION]", help="Its number or ARN; else the newest that is pending."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (check, start, watch, push, approve, reject, upload, costs):
        app.command(rich_help_panel=PANEL)(command)


def check(env: Environment = "dev", endpoint_url: Endpoint = None) -> None:
    """Look before deploying: login, bootstrap, bucket names and placeholders."""
    from pipeline.cloud import checking

    problems = 0
    for one in checking.checks(open_account(env, endpoint_url)):
        typer.echo(f"{'no ' if one.problem else 'yes'}  {one.what}")
        if one.problem:
            problems += 1
            typer.echo(f"     {one.problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo(
        f"next     cdk deploy --all -c {'settings' if env.endswith('.toml') else 'env'}={env}"
    )


def start(
    env: Environment = "dev",
    params: Annotated[
        Path | None, typer.Option(help="Parameters as the AWS command line takes them (JSON).")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, whatever it costs.")] = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Start an execution of the deployed pipeline."""
    from pipeline.cli import account_showing, sources
    from pipeline.cloud import costs, starting
    from pipeline.cloud.session import CloudError

    account = open_account(env, endpoint_url)
    plan = starting.plan(account, sources.parameter_values(params, set_ or ()))
    cost = costs.execution_cost(plan.definition, plan.values)
    account_showing.print_estimate(cost, env)
    limit = account.settings.ask_above_usd
    if not yes and (cost.usd > limit or cost.unpriced):
        reason = (
            f"{', '.join(cost.unpriced)} has no price"
            if cost.unpriced
            else f"${cost.usd:.2f} is more than ask_above_usd = {limit:g}"
        )
        if not on_terminal():
            raise CloudError(f"Nothing was started, because {reason}: repeat with --yes.")
        if not typer.confirm(f"{reason}: start it?", default=False):
            raise CloudError("Nothing was started.")
    account_showing.print_started(starting.start(account, plan), env, endpoint_url)


def watch(
    execution: Annotated[str | None, typer.Argument(help="Its id or ARN; else the newest.")] = None,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Watch an execution in the account until it ends."""
    from pipeline.cli import account_showing
    from pipeline.cloud import deployed

    account = open_account(env, endpoint_url)
    arn = deployed.execution_arn(account, execution)
    status = account_showing.watch(account, arn, env)
    raise typer.Exit(_EXIT.get(status, 1))


def push(
    execution: Annotated[
        str | None, typer.Argument(help="A run of this machine; else the newest that succeeded.")
    ] = None,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
    home: Home = Path(".slm"),
) -> None:
    """Push a run of this machine: model and package, figures, and a version that is pending."""
    from pipeline.cli import account_showing
    from pipeline.cloud import pushing

    run = pushing.choose(home, execution)
    pushed = pushing.push(open_account(env, endpoint_url), run, _say)
    if not pushed.new:
        typer.echo(
            f"Execution {run.execution.id} was pushed before, as version {pushed.version}, "
            f"{pushed.status}: nothing was done."
        )
        return
    typer.echo(f"model    {pushed.model}\npackage  {pushed.package}")
    typer.echo(f"version  {pushed.version}, {pushed.status}: {pushed.arn}")
    typer.echo(f"next     slm approve {pushed.version}{account_showing.options(env, endpoint_url)}")


def approve(
    version: VersionName = None,
    note: Annotated[str, typer.Option(help="Kept with the version.")] = "",
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Approve a registered version, which may then be deployed."""
    from pipeline.cli import account_showing
    from pipeline.cloud import approving

    account = open_account(env, endpoint_url)
    found = approving.find(account, version)
    account_showing.print_version(found, approving.champion(account))
    approving.check_approval(found)
    approving.decide(account, found, approving.APPROVED, note)
    typer.echo(f"Version {found.number} of {found.group} is approved.")


def reject(
    version: Annotated[str, typer.Argument(help="Its number or ARN.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")],
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Reject a registered version, with a reason."""
    from pipeline.cli import account_showing
    from pipeline.cloud import approving
    from pipeline.local.errors import UsageError

    if not reason.strip():
        raise UsageError("--reason is empty: say why the version is rejected.")
    account = open_account(env, endpoint_url)
    found = approving.find(account, version)
    account_showing.print_version(found, approving.champion(account))
    approving.check_rejection(found)
    approving.decide(account, found, approving.REJECTED, reason)
    typer.echo(f"Version {found.number} of {found.group} is rejected.")


def upload(
    folder: Annotated[Path, typer.Argument(help="A dataset, as slm import writes it.")],
    name: Annotated[
        str | None, typer.Option(help="What it is called in the account; else as the folder is.")
    ] = None,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Upload a dataset; its manifest, which comes last, starts retraining."""
    from pipeline.cli import account_showing
    from pipeline.cloud import uploading

    account = open_account(env, endpoint_url)
    done = uploading.upload(account, folder, name, _say)
    if not done.new:
        typer.echo(f"{done.address} is this very dataset already: nothing was uploaded.")
        return
    typer.echo(f"{done.files} files, {done.bytes:,} bytes at {done.address}")
    options = account_showing.options(env, endpoint_url)
    if account.settings.retraining.on_new_data:
        minutes = account.settings.retraining.cool_down_minutes
        typer.echo(f"next     retraining starts in {minutes} minutes: slm watch{options}")
    else:
        typer.echo(f"next     slm start --set InputData={done.address}{options}")


def costs(
    env: Environment = "dev",
    executions: Annotated[int, typer.Option(min=0, help="A month.")] = 10,
    devices: Annotated[int, typer.Option(min=0, help="That are never off.")] = 100,
    durations: Annotated[
        Durations,
        typer.Option(
            help="Whose minutes: of the newest run of this machine if there is one, "
            "assumed ones, this machine's, or the account's newest execution's."
        ),
    ] = Durations.newest,
    endpoint_url: Endpoint = None,
    home: Home = Path(".slm"),
) -> None:
    """Estimate what an execution and a month cost, against the budget."""
    from pipeline.cli import account_showing, sources
    from pipeline.cloud import costs as estimates
    from pipeline.settings import Settings

    settings = Settings.load(env)
    whose, minutes = _minutes(durations, env, endpoint_url, home)
    definition = sources.own_definition(env)
    values = {p["Name"]: p.get("DefaultValue") for p in definition["Parameters"]}
    execution = estimates.execution_cost(definition, values, minutes)
    month = estimates.month_cost(settings, execution, executions, devices)
    account_showing.print_costs(month, settings.name, whose)


def _minutes(
    durations: Durations, env: str, endpoint_url: str | None, home: Path
) -> tuple[str, dict[str, float]]:
    """Where the minutes of an estimate are from, and the minutes by step."""
    from pipeline.cloud import durations as measured
    from pipeline.local import UsageError, runs

    if durations is Durations.cloud:
        execution, minutes = measured.of_cloud(open_account(env, endpoint_url))
        return f"of execution {execution} in the account", minutes
    if durations is not Durations.assumed:
        for run in runs.list_executions(home):
            minutes = measured.of_local(run)
            if run.status == "Succeeded" and minutes:
                return f"of run {run.id} of this machine, and starting a job", minutes
        if durations is Durations.local:
            raise UsageError(f"No run in {home} has succeeded without the cache: start slm run.")
    return "assumed", {}


def open_account(env: str, endpoint_url: str | None) -> Account:
    """The account of an environment.

    Raises:
        UsageError: The environment is this machine.
    """
    from pipeline.cloud.session import Account
    from pipeline.local.errors import UsageError
    from pipeline.settings import Settings

    settings = Settings.load(env)
    if settings.environment == "local" and endpoint_url is None:
        raise UsageError("--env local is this machine and no account: choose dev or another one.")
    return Account(settings, endpoint_url)


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _say(address: str) -> None:
    typer.echo(f"  → {address}")
