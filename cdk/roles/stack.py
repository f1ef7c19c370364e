"""The roles stack: the permissions boundary, the six service roles and the budget's action.

A role's policy is whole here and changes nowhere else: ``roles`` are handed out read-only, so that
no grant of another stack can widen them (or tie the two stacks in a knot).

Leaves out: people (cdk/identity).
"""

from __future__ import annotations

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk.foundation.budget import BudgetAction
from cdk.foundation.stack import FoundationStack
from cdk.roles.boundary import make_boundary
from cdk.roles.delivery import make_delivery_role
from cdk.roles.names import Names
from cdk.roles.statements import statements_of
from cdk.roles.trust import trusted_by
from pipeline.cloud.delivery.environments import tooling_of
from pipeline.names import ROLE_KINDS, RoleKind
from pipeline.settings import Settings

DESCRIPTIONS: dict[RoleKind, str] = {
    "pipeline": "Runs the pipeline: starts its jobs",
    "processing": "The jobs that prepare, evaluate and package",
    "training": "The job that trains",
    "registration": "The jobs that register and compile",
    "retraining": "The schedules that start the pipeline",
    "drift": "The job that compares the devices' windows with their references",
}


class RolesStack(Stack):
    """Who may do what in the account, services only."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        foundation: FoundationStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: permissions boundary, service roles, budget action",
            termination_protection=settings.environment == "prod",
        )
        key_arn = foundation.key.key_arn
        signing_key_arn = foundation.signing_key.key_arn
        self.boundary: iam.ManagedPolicy = make_boundary(
            self,
            "Boundary",
            settings=settings,
            key_arn=key_arn,
            signing_key_arn=signing_key_arn,
        )
        made: dict[RoleKind, iam.Role] = {
            kind: _role(self, kind, settings, (key_arn, signing_key_arn)) for kind in ROLE_KINDS
        }
        self.roles: dict[RoleKind, iam.IRole] = {
            kind: role.without_policy_updates() for kind, role in made.items()
        }
        starters: dict[str, iam.Role] = {settings.role_name(kind): made[kind] for kind in made}
        if tooling := tooling_of(settings):
            names = Names(settings, key_arn, signing_key_arn)
            starters[settings.delivery_role] = make_delivery_role(
                self, "Delivery", names=names, tooling=tooling
            )
        self.budget_action = BudgetAction(
            self, "BudgetAction", settings=settings, roles=list(starters)
        )
        self.budget_action.node.add_dependency(*starters.values())
        iam.PermissionsBoundary.of(self).apply(self.boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)


def _role(
    scope: Construct, kind: RoleKind, settings: Settings, key_arns: tuple[str, str]
) -> iam.Role:
    return iam.Role(
        scope,
        kind.capitalize(),
        role_name=settings.role_name(kind),
        description=DESCRIPTIONS[kind],
        assumed_by=trusted_by(kind, settings),
        inline_policies={
            kind: iam.PolicyDocument(statements=statements_of(kind, settings, *key_arns))
        },
    )
