"""The promotion stack: Approved and what follows, and the role that another environment acts as.

Its roles have a boundary of their own: that of the environment is for jobs, which never deploy to
devices. Everything in it can be made again from this repository; the records of promotions lie in
the deployments bucket. Leaves out: key, signing key, buckets and topic (cdk/foundation).
"""

from __future__ import annotations

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.edge.stack import EdgeStack
from cdk.foundation.stack import FoundationStack
from cdk.promotion import permissions
from cdk.promotion.boundary import of_boundary
from cdk.promotion.promotion import Promotion
from cdk.roles import principals
from cdk.roles.names import Names
from pipeline.settings import Settings


class PromotionStack(Stack):
    """From an approved version to devices."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        target: Settings,
        source: Settings | None,
        foundation: FoundationStack,
        edge: EdgeStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: from an approved version to the devices",
            termination_protection=settings.environment == "prod",
        )
        self.add_stack_dependency(edge)  # the groups, by their names
        names = Names(settings, foundation.key.key_arn, foundation.signing_key.key_arn)
        boundary = iam.ManagedPolicy(
            self,
            "PromotionBoundary",
            managed_policy_name=f"{settings.name}-promotion-boundary",
            description="The most that a role of promotion can do",
            statements=of_boundary(names, target),
        )
        alerts = sns.Topic.from_topic_arn(self, "Alerts", settings.alert_topic_arn)
        Promotion(self, "Promotion", names=names, target=target, key=foundation.key, alerts=alerts)
        if source is not None:
            _promoted_role(self, names, source)
        iam.PermissionsBoundary.of(self).apply(boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)


def _promoted_role(scope: Construct, names: Names, source: Settings) -> iam.Role:
    """What the function of the environment before this one acts as here, and nobody else."""
    settings = names.settings
    statements = permissions.of_target(names, elsewhere=True)
    return iam.Role(
        scope,
        "Promoted",
        role_name=settings.promoted_role,
        description=f"What the promotion of {source.name} does here",
        assumed_by=principals.roles_of(source.account, source.promotion_role, source.partition),
        inline_policies={"promoted": iam.PolicyDocument(statements=statements)},
    )
