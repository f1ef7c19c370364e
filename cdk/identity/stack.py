"""The identity stack: permission sets and who gets them, in IAM Identity Center.

People have no IAM user, group or access key in any account. They sign in to Identity Center and get
a session of one of four permission sets, for some hours. The stack belongs where the instance
lives, which in an organization is the management account or one that it delegates to.

Without ``identity.instance_arn`` in the settings there is no such stack; ``why_left_out`` says so.

Leaves out: the instance and its users and groups, which an organization has once.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sso as sso
from constructs import Construct

from cdk.identity.names import permission_set_name
from cdk.identity.permissions import statements_of
from pipeline.sections import PERMISSION_SETS, Assignment, PermissionSet
from pipeline.settings import Settings

DESCRIPTIONS: dict[PermissionSet, str] = {
    "data-scientist": "Opens Studio, starts and follows executions, reads data",
    "ml-engineer": "Also imports datasets, approves models, publishes packages",
    "platform-engineer": "Deploys, and lifts the budget's brake",
    "auditor": "Reads configuration, policies and trails; no data",
}


def why_left_out(settings: Settings) -> str | None:
    """One sentence when there is no identity stack, None when there is one."""
    if settings.identity.instance_arn:
        return None
    return (
        f"{settings.stack_name('identity')} is left out because identity.instance_arn is empty: "
        "set it to the ARN of your IAM Identity Center instance to get the permission sets."
    )


class IdentityStack(Stack):
    """The four permission sets and their assignments; ``env`` is where the instance lives."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, env: Environment
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: permission sets and assignments",
            termination_protection=settings.environment == "prod",
        )
        self.permission_sets = {
            name: _permission_set(self, settings, name) for name in PERMISSION_SETS
        }
        for assignment in dict.fromkeys(settings.identity.assignments):  # once, if written twice
            self._assign(settings, assignment)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)

    def _assign(self, settings: Settings, assignment: Assignment) -> None:
        permission_set = self.permission_sets[assignment.permission_set]
        sso.CfnAssignment(
            self,
            f"{assignment.permission_set}-{assignment.principal_type}-{assignment.principal_id}",
            instance_arn=settings.identity.instance_arn,
            permission_set_arn=permission_set.attr_permission_set_arn,
            principal_id=assignment.principal_id,
            principal_type=assignment.principal_type,
            target_id=settings.account,
            target_type="AWS_ACCOUNT",
        )


def _permission_set(
    scope: Construct, settings: Settings, name: PermissionSet
) -> sso.CfnPermissionSet:
    document: Any = iam.PolicyDocument(statements=statements_of(name, settings)).to_json()
    return sso.CfnPermissionSet(
        scope,
        name,
        instance_arn=settings.identity.instance_arn,
        name=permission_set_name(settings, name),
        description=DESCRIPTIONS[name],
        session_duration=f"PT{settings.identity.hours(name)}H",
        inline_policy=document,
    )
