"""``slm deliver``: the steps of a delivery, which CodeBuild and GitHub's workflows call.

Each reads its options, calls pipeline/cloud/delivery, and prints. The options may come from the
environment, because that is how both hand values on; what a command makes is handed on by
variables.py. A person may call every one of them with a login of their own (--as-self).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.cloud import PANEL, Endpoint

if TYPE_CHECKING:
    from pipeline.cloud.session import Account

app = typer.Typer(no_args_is_help=True, help="The steps from a commit to devices.")

Environment = Annotated[
    str,
    typer.Option("--env", envvar="SLM_ENV", help="A shipped environment, or a .toml file."),
]
Commit = Annotated[str, typer.Option(envvar="SLM_COMMIT", help="Its whole hash.")]
AsSelf = Annotated[
    bool,
    typer.Option("--as-self", help="With this login's own rights, not the environment's role."),
]
ModelPackage = Annotated[str, typer.Option(envvar="SLM_MODEL_PACKAGE", help="The version's ARN.")]
Sha256 = Annotated[
    str, typer.Option(envvar="SLM_PACKAGE_SHA256", help="Of its package.json, as was approved.")
]
ProcessingImage = Annotated[str, typer.Option(envvar="SLM_PROCESSING_IMAGE", help="By digest.")]
TrainingImage = Annotated[str, typer.Option(envvar="SLM_TRAINING_IMAGE", help="By digest.")]


class Until(StrEnum):
    """How far a promotion is followed."""

    canary = "canary"
    fleet = "fleet"
    done = "done"


def add_to(parent: typer.Typer) -> None:
    """Add the commands to ``slm``."""
    parent.add_typer(app, name="deliver", rich_help_panel=PANEL)


@app.command()
def images(commit: Commit, env: Environment = "dev", endpoint_url: Endpoint = None) -> None:
    """Build the images of a commit and push them, once; name them by digest."""
    from pipeline.cli.cloud import open_account
    from pipeline.cloud.delivery import images as building
    from pipeline.cloud.delivery.variables import hand_on

    found = building.build_once(open_account(env, endpoint_url), commit, typer.echo)
    hand_on({"PROCESSING_IMAGE": found["processing"], "TRAINING_IMAGE": found["training"]})


@app.command()
def deploy(
    commit: Commit,
    processing_image: ProcessingImage,
    training_image: TrainingImage,
    env: Environment = "dev",
    endpoint_url: Endpoint = None,
) -> None:
    """Deploy an environment with these images."""
    from pipeline.cli.cloud import open_account
    from pipeline.cloud.delivery import deploying
    from pipeline.cloud.delivery import images as tagging
    from pipeline.cloud.delivery.environments import tooling_of
    from pipeline.cloud.session import Account
    from pipeline.errors import UsageError

    settings = open_account(env, endpoint_url).settings
    tooling = tooling_of(settings)
    if tooling is None:
        raise UsageError(f"{env} is not delivered to: set delivery.tooling in its settings.")
    file = deploying.write_settings(
        env, {"processing": processing_image, "training": training_image}
    )
    registry = Account(tooling, endpoint_url)
    for uri in (processing_image, training_image):
        tagging.keep(registry, uri, settings.environment, commit)
    deploying.deploy(settings, file)


@app.command()
def run(
    commit: Commit,
    env: Environment = "dev",
    smoke: Annotated[
        Path | None, typer.Option(help="Run on the data in this folder, uploaded first.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(envvar="SLM_DATASET", help="Its name in the account.")
    ] = "default",
    as_self: AsSelf = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Run the pipeline on a commit, wait for its end, and name what it made."""
    from pipeline.cli import account_showing
    from pipeline.cloud import approving
    from pipeline.cloud.delivery import figures, images, running
    from pipeline.cloud.delivery.variables import hand_on

    images.check_commit(commit)
    account = _account(env, endpoint_url, as_self=as_self)
    if smoke:
        data = running.place_smoke_data(account, smoke, typer.echo)
    else:
        data = running.address_of(account, dataset)
    arn, new = running.find_or_start(account, commit, data)
    typer.echo(f"execution {arn}{'' if new else ', which was started before'}")
    if account_showing.watch(account, arn, env) != "Succeeded":
        raise typer.Exit(1)
    made = running.release_of(account, arn)
    version = approving.find(account, made.version.arn)
    champion = approving.champion(account)
    told = figures.line(version, champion, commit=commit, sha256=made.sha256)
    typer.echo(f"package   {made.url}\nsha256    {made.sha256}\n{told}")
    hand_on(
        {
            "EXECUTION": made.execution,
            "MODEL_PACKAGE": made.version.arn,
            "PACKAGE_SHA256": made.sha256,
            "FIGURES": told,
            "REPORT": made.report,
        }
    )


@app.command()
def device(
    model_package: ModelPackage,
    package_sha256: Sha256,
    env: Environment = "staging",
    as_self: AsSelf = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Carry the lifecycle of a version's package out on this machine."""
    import tempfile

    from pipeline.cloud.delivery import device as lifecycle
    from pipeline.cloud.delivery import promoting
    from pipeline.cloud.fleet.files import public_pem
    from pipeline.cloud.fleet.provisioning import signing_key

    account = _account(env, endpoint_url, as_self=as_self)
    with tempfile.TemporaryDirectory() as folder:
        package = promoting.fetch(account, model_package, package_sha256, Path(folder))
        typer.echo(f"package {package.name} {package.version}: hashes and signature are good")
        key = public_pem(signing_key(account))
        lifecycle.carry_out(package, key, list(_UTTERANCES), Path(folder) / "device", typer.echo)


@app.command()
def promote(
    model_package: ModelPackage,
    package_sha256: Sha256,
    to: Annotated[str, typer.Option(envvar="SLM_TO", help="The environment to promote to.")],
    env: Environment = "staging",
    until: Annotated[Until, typer.Option(help="How far it is followed.")] = Until.canary,
    minutes: Annotated[float, typer.Option(min=0, help="How long it is followed.")] = 60.0,
    poll_seconds: Annotated[float, typer.Option(min=0.05, max=600)] = 30.0,
    as_self: AsSelf = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Approve the very package that a person approved, and follow it to the devices."""
    import tempfile

    from pipeline.cloud.delivery import promoting

    source = _account(env, endpoint_url, as_self=as_self)
    target = _account(to, endpoint_url, as_self=as_self)
    promoting.check_way(source, target)
    with tempfile.TemporaryDirectory() as folder:
        package = promoting.fetch(source, model_package, package_sha256, Path(folder))
    typer.echo(f"package {package.name} {package.version}: hashes and signature are good")
    note = f"Delivery: package {package_sha256[:16]} was approved"
    new = promoting.approve(source, model_package, note)
    typer.echo("approved" if new else "approved before")
    record = promoting.follow(
        target,
        model_package,
        package_sha256,
        until.value,
        typer.echo,
        minutes=minutes,
        poll_seconds=poll_seconds,
    )
    typer.echo(f"next     slm promotions --env {to} tells how it goes on from {record.state}")


@app.command()
def summary(
    commit: Commit,
    processing_image: ProcessingImage,
    training_image: TrainingImage,
    model_package: ModelPackage,
    package_sha256: Sha256,
    figures: Annotated[str, typer.Option(envvar="SLM_FIGURES", help="Of slm deliver run.")],
    report: Annotated[str, typer.Option(envvar="SLM_REPORT", help="Of slm deliver run.")],
) -> None:
    """Print what the workflow that promotes to prod is to be given."""
    from pipeline.cloud.delivery.variables import summarize

    values = {
        "commit": commit,
        "processing_image": processing_image,
        "training_image": training_image,
        "model_package": model_package,
        "package_sha256": package_sha256,
        "figures": figures,
        "report": report,
    }
    typer.echo(summarize(values), nl=False)


_UTTERANCES = ("turn on the light in the kitchen", "what is the weather", "qwxz 17 §")
"""What a device is asked: it has to answer, whatever it answers."""


def _account(env: str, endpoint_url: str | None, *, as_self: bool) -> Account:
    from pipeline.cli.cloud import open_account
    from pipeline.cloud.delivery.access import open_as_role

    account = open_account(env, endpoint_url)
    return account if as_self else open_as_role(account.settings, endpoint_url)
