"""The CDK app: ``cdk synth -c env=dev``, which runs ``python -m cdk.app`` (see cdk.json).

    -c env=dev|staging|prod   or   -c settings=FILE.toml
    -c images=build (default) or   -c images=prebuilt

It needs no credentials, no docker and no network, and writes the same bytes on every run. Bad
input ends with one sentence on standard error and status 1, before anything is written.

Leaves out: what the stacks hold (their packages), and the rules that they are checked against
(nag.py).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import App, Environment

from cdk import nag
from cdk.context import KEYS, ContextError, Request
from cdk.delivery.stack import DeliveryStack
from cdk.edge.stack import EdgeStack
from cdk.foundation.stack import FoundationStack
from cdk.identity.stack import IdentityStack, why_left_out
from cdk.monitoring.stack import MonitoringStack
from cdk.promotion.stack import PromotionStack
from cdk.roles.stack import RolesStack
from cdk.training.pipeline import Definition
from cdk.training.stack import TrainingStack
from pipeline.cloud.delivery.environments import targets_of, tooling_of
from pipeline.cloud.promotion.environments import source_of, target_of
from pipeline.settings import Settings, SettingsError


@dataclass(frozen=True)
class Stacks:
    """What one environment consists of."""

    foundation: FoundationStack
    roles: RolesStack
    training: TrainingStack
    edge: EdgeStack
    promotion: PromotionStack
    monitoring: MonitoringStack
    identity: IdentityStack | None
    delivery: DeliveryStack | None


def new_app(outdir: Path | None = None, context: Mapping[str, object] | None = None) -> App:
    """An empty app; without ``outdir`` and ``context`` it takes those of the command line tool.

    CDK's own validation of templates is off: loading it takes as long as all the rest, and a test
    runs cfn-lint over every environment's templates instead.
    """
    return App(
        outdir=str(outdir) if outdir else None,
        context=context,
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,
        stack_traces=False,
    )


def add_stacks(app: App, request: Request) -> Stacks:
    """Add the stacks of one environment to ``app``.

    Raises:
        ContextError: The definition is too large; nothing was added yet.
        SettingsError: Delivery or promotion leads from or to an environment that does not agree;
            nor then.
    """
    settings = request.settings
    definition = Definition.of(settings)  # first: it can be refused, and then nothing is left
    targets = targets_of(settings) if settings.delivery.here else None
    tooling_of(settings)
    promoted_to, promoted_from = target_of(settings), source_of(settings)
    env = Environment(account=settings.account, region=settings.region)
    foundation = FoundationStack(app, settings.stack_name("foundation"), settings=settings, env=env)
    roles = RolesStack(
        app, settings.stack_name("roles"), settings=settings, foundation=foundation, env=env
    )
    training = TrainingStack(
        app,
        settings.stack_name("training"),
        settings=settings,
        foundation=foundation,
        roles=roles,
        images=request.images,
        readers=sorted({one.account for one in targets or ()} - {settings.account}),
        env=env,
        definition=definition,
    )
    edge = EdgeStack(
        app,
        settings.stack_name("edge"),
        settings=settings,
        foundation=foundation,
        roles=roles,
        env=env,
    )
    promotion = PromotionStack(
        app,
        settings.stack_name("promotion"),
        settings=settings,
        target=promoted_to,
        source=promoted_from,
        foundation=foundation,
        edge=edge,
        env=env,
    )
    monitoring = MonitoringStack(
        app,
        settings.stack_name("monitoring"),
        settings=settings,
        foundation=foundation,
        roles=roles,
        env=env,
    )
    # by names only, so CDK cannot see it: the schedules' group and the drift check
    monitoring.add_stack_dependency(training)
    delivery = None
    if targets:
        delivery = DeliveryStack(
            app,
            settings.stack_name("delivery"),
            settings=settings,
            targets=targets,
            foundation=foundation,
            training=training,
            env=env,
        )
    people = _identity(app, settings)
    return Stacks(foundation, roles, training, edge, promotion, monitoring, people, delivery)


def _identity(app: App, settings: Settings) -> IdentityStack | None:
    if why_left_out(settings):
        return None
    identity = settings.identity
    return IdentityStack(
        app,
        settings.stack_name("identity"),
        settings=settings,
        env=Environment(
            account=identity.account or settings.account, region=identity.region or settings.region
        ),
    )


def main() -> int:
    """Synthesize what the command line asks for."""
    app = new_app()
    try:
        request = Request.of({key: app.node.try_get_context(key) for key in KEYS})
        add_stacks(app, request)
    except (ContextError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if reason := why_left_out(request.settings):
        print(f"note: {reason}", file=sys.stderr)
    nag.attach(app, request.settings)
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):
            raise
        print(
            "error: a rule objects to a stack (see above): fix what it found, or acknowledge it "
            "with its reason in cdk/nag.py.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
