"""``slm promote`` and ``slm promotions``: an approved version to the devices, and how far each is.

Each reads its options, calls pipeline/cloud/promotion, and prints. Nothing of AWS or MLflow is
imported before a command runs.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.cloud import PANEL, Endpoint, Environment, Home

if TYPE_CHECKING:
    from pipeline.cloud.promotion.promoting import Look
    from pipeline.cloud.promotion.record import Record
    from pipeline.cloud.session import Account

To = Annotated[
    str | None,
    typer.Option("--to", help="The environment to promote to; else as the settings say."),
]
Profile = Annotated[
    str | None,
    typer.Option("--to-profile", help="The AWS profile for --to, where that is another account."),
]


def add_to(parent: typer.Typer) -> None:
    """Add the commands to ``slm``."""
    for command in (promote, promotions):
        parent.command(rich_help_panel=PANEL)(command)


def promote(
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Number or ARN; else the newest approved."),
    ] = None,
    to: To = None,
    to_profile: Profile = None,
    to_folder: Annotated[
        Path | None,
        typer.Option(help="No account: this machine's registry, and a folder for devices."),
    ] = None,
    by_machine: Annotated[
        bool,
        typer.Option("--by-machine", help="The account's state machine does it; this only looks."),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="One step, and no waiting.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also a version that was rolled back.")
    ] = False,
    poll_seconds: Annotated[
        float | None,
        typer.Option(min=0.01, max=3600, help="Between two looks; else as each step needs."),
    ] = None,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
    home: Home = Path(".slm"),
) -> None:
    """Promote an approved version: verify, copy, canary, watch, fleet; or back."""
    if to_folder is not None:
        _promote_to_folder(home, version, to_folder)
        return
    from pipeline.cloud.promotion import watching
    from pipeline.cloud.promotion.promoting import Promoter
    from pipeline.errors import UsageError

    source, target = _accounts(env, to, to_profile, endpoint_url)
    arn = _arn(source, version)
    if by_machine:
        if again or to is not None:
            raise UsageError("--by-machine goes where the settings say, and not --again.")
        now = datetime.now(UTC).replace(microsecond=0)
        execution = watching.start(source, arn)
        typer.echo(f"started  {execution}")
        if once:
            return
        onlooker = watching.Onlooker(target)
        record, advance = onlooker.find(arn, now), onlooker.look
    else:
        promoter = Promoter(source, target, name=_own_name())
        record, advance = promoter.begin(arn, again=again), promoter.advance
    typer.echo(f"{record.name} from {record.source} to {record.target}")
    record = _follow(advance, record, once=once, poll_seconds=poll_seconds)
    if record.state == "done":
        typer.echo(f"done     {record.component}: {record.reason}")
    elif record.ended:
        typer.echo(f"error: {record.state}: {record.reason}", err=True)
        raise typer.Exit(1)
    else:
        typer.echo(f"next     slm promote {record.version} goes on from {record.state}")


def promotions(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    to: To = None,
    to_profile: Profile = None,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """List promotions, the newest first: where each is, and why."""
    from pipeline.cloud.promotion.record import Records

    _, target = _accounts(env, to, to_profile, endpoint_url)
    found = Records(target).all()
    if as_json:
        typer.echo(json.dumps({"promotions": [asdict(one) for one in found]}, indent=2))
        return
    if not found:
        typer.echo(f"Nothing was promoted to {target.settings.name} yet.")
        return
    _print_table(found)


def _follow(
    advance: Callable[[str], Look], record: Record, *, once: bool, poll_seconds: float | None
) -> Record:
    """Go on to the end, and say what is new."""

    said = ""
    while True:
        state = record.state
        look = advance(record.name)
        record = look.record
        if look.words != said:
            said = look.words
            typer.echo(f"  {state:<9}{said}")
        if record.ended or once:
            return record
        if record.state == state:
            time.sleep(poll_seconds if poll_seconds is not None else look.wait)


def _print_table(found: list[Record]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for column in ("version", "component", "from", "to", "state", "since", "what"):
        table.add_column(column, overflow="fold")
    for one in found:
        words = one.reason or (one.history[-1].words if one.history else "")
        table.add_row(
            one.name, one.component or "-", one.source, one.target, one.state, one.since, words
        )
    Console().print(table)


def _promote_to_folder(home: Path, version: str | None, folder: Path) -> None:
    from pipeline.cloud.promotion import folder as folders
    from pipeline.settings import Settings

    settings = Settings.load("local")
    done = folders.promote(
        home, settings.model_package_group, settings.component_name, version, folder
    )
    known = "" if done.new else ", as before"
    typer.echo(f"done     {done.group}/{done.version}: {done.component} in {done.place}{known}")


def _accounts(
    env: str, to: str | None, profile: str | None, endpoint_url: str | None
) -> tuple[Account, Account]:
    """Where versions come from and go to."""
    from pipeline.cli import cloud
    from pipeline.cloud.session import Account
    from pipeline.errors import UsageError
    from pipeline.settings import Settings

    source = cloud.open_account(env, endpoint_url)
    name = to if to is not None else source.settings.promotion.to
    if not name:
        return source, source
    settings = Settings.load(name)
    if settings.environment == source.settings.environment:
        return source, source
    if settings.account != source.settings.account and profile is None and endpoint_url is None:
        raise UsageError(
            f"{settings.name} is account {settings.account}, another than {source.settings.name}'s:"
            " say with --to-profile which login is for it."
        )
    session = None
    if profile is not None:
        import boto3  # pyright: ignore[reportMissingTypeStubs]

        session = boto3.Session(profile_name=profile)
    return source, Account(settings, endpoint_url, session)


def _arn(source: Account, version: str | None) -> str:
    from pipeline.cloud import approving
    from pipeline.cloud.session import CloudError

    if version is not None:
        return approving.find(source, version).arn
    newest = approving.champion(source)
    if newest is None:
        group = source.settings.model_package_group
        raise CloudError(f"No version of {group} is approved: approve one with slm approve.")
    return newest.arn


def _own_name() -> str:
    """Who promotes, for whoever finds it held: a person, a machine and a process."""
    return f"{getpass.getuser()}@{socket.gethostname()}/{os.getpid()}"
