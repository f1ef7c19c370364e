"""``slm fleet``: provision devices, deploy to them, look at them, and go back.

Each command reads its options, calls pipeline/cloud/fleet, and prints. Nothing of AWS is imported
before a command runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.cloud import PANEL, Endpoint, Environment

if TYPE_CHECKING:
    from pipeline.cloud.fleet.following import Progress
    from pipeline.cloud.fleet.showing import Group
    from pipeline.cloud.session import Account

app = typer.Typer(no_args_is_help=True, help="Provision devices, and deploy to them.")

PerMinute = Annotated[int, typer.Option(min=1, max=1000, help="Devices that are told in a minute.")]
AbortPercent = Annotated[
    float,
    typer.Option(min=1, max=100, help="Failed devices, of those that ended, that stop it."),
]
AbortAfter = Annotated[
    int, typer.Option(min=1, help="Devices that must have ended before that counts.")
]
Minutes = Annotated[float, typer.Option(min=0, help="How long to wait for a group's devices.")]
PollSeconds = Annotated[
    float, typer.Option(min=0.05, max=600, help="Between two looks at the devices.")
]


def add_to(parent: typer.Typer) -> None:
    """Add the commands to ``slm``."""
    parent.add_typer(app, name="fleet", rich_help_panel=PANEL)


@app.command()
def provision(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Of the devices.")],
    canary: Annotated[
        bool, typer.Option("--canary", help="Into the group that gets versions first.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Where the devices' folders are written.", file_okay=False)
    ] = Path("devices"),
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Make things, certificates, and a folder of configuration each."""
    from pipeline.cloud.fleet import provisioning

    provisioning.check_names(names)
    account = _account(env, endpoint_url)
    fleet = provisioning.prepare(account, canary=canary)
    for name in names:
        done = provisioning.provision(account, fleet, name, out)
        known = "" if done.new else ", provisioned before"
        typer.echo(f"{done.thing}  in {fleet.group}{known}: {done.folder}")
    typer.echo("next     copy each folder to its device as its README.txt says")


@app.command()
def deploy(
    package: Annotated[
        Path, typer.Argument(help="Output folder of the package step.", file_okay=False)
    ],
    per_minute: PerMinute = 50,
    abort_percent: AbortPercent = 10.0,
    abort_after: AbortAfter = 3,
    minutes: Minutes = 60.0,
    poll_seconds: PollSeconds = 5.0,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Deploy a package: to the canary devices, and if all take it, to the fleet."""
    from pipeline.cloud.fleet import packages, releasing
    from pipeline.cloud.fleet.deployments import Rollout

    account = _account(env, endpoint_url)
    read = packages.read(package, account.settings.component_name)
    packages.check_signature(account, read)
    new = packages.publish(account, read)
    typer.echo(f"{read.name} {read.version} is {'now' if new else 'already'} in the account")
    rollout = Rollout(per_minute, abort_percent, abort_after)
    patience = releasing.Patience(minutes, poll_seconds)
    releasing.release(account, read.version, rollout, patience, _say)
    typer.echo(f"{read.version} is on every device")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Show devices, their versions and their health."""
    from pipeline.cloud.fleet import showing

    groups = showing.groups(_account(env, endpoint_url))
    if as_json:
        typer.echo(json.dumps({"groups": [asdict(group) for group in groups]}, indent=2))
        return
    for group in groups:
        _print_group(group)


@app.command()
def rollback(
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Else the version before.")
    ] = None,
    per_minute: PerMinute = 1000,
    abort_percent: AbortPercent = 100.0,
    abort_after: AbortAfter = 3,
    minutes: Minutes = 60.0,
    poll_seconds: PollSeconds = 5.0,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Give every device the version that it had before."""
    from pipeline.cloud.fleet import releasing
    from pipeline.cloud.fleet.deployments import Rollout

    rollout = Rollout(per_minute, abort_percent, abort_after)
    patience = releasing.Patience(minutes, poll_seconds)
    version = releasing.rollback(_account(env, endpoint_url), to, rollout, patience, _say)
    typer.echo(f"{version} is on every device again")


def _print_group(group: Group) -> None:
    from rich.console import Console
    from rich.table import Table

    kind = "canary" if group.canary else "fleet"
    wanted = f"{group.version}, {group.status}" if group.version else "nothing deployed"
    table = Table(title=f"{group.name} ({kind}): {wanted}", title_justify="left", box=None)
    for column in ("device", "version", "state", "health", "seen"):
        table.add_column(column)
    for one in group.devices:
        table.add_row(one.thing, one.version or "-", one.state or "-", one.health, one.seen or "-")
    Console().print(table)


def _say(progress: Progress) -> None:
    typer.echo(f"  {progress}")


def _account(env: str, endpoint_url: str | None) -> Account:
    from pipeline.cli import cloud

    return cloud.open_account(env, endpoint_url)
