"""The edge stack: what devices meet in the account.

Everything in it can be made again from this repository; the things and certificates of devices,
which ``slm fleet provision`` makes, survive it, but devices lose their policy and role with it.
Leaves out: key, signing key and buckets (cdk/foundation).
"""

from __future__ import annotations

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.edge.devices import Devices
from cdk.edge.telemetry import Telemetry
from cdk.foundation.stack import FoundationStack
from cdk.roles.names import Names
from cdk.roles.stack import RolesStack
from pipeline.settings import Settings


class EdgeStack(Stack):
    """What devices are given, and where their telemetry goes."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        foundation: FoundationStack,
        roles: RolesStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: policy, role and groups of devices, telemetry",
            termination_protection=settings.environment == "prod",
        )
        self.add_stack_dependency(roles)  # the boundary, by its name
        names = Names(settings, foundation.key.key_arn)
        alerts = sns.Topic.from_topic_arn(self, "Alerts", settings.alert_topic_arn)
        Devices(self, "Devices", names=names)
        Telemetry(self, "Telemetry", names=names, key=foundation.key, alerts=alerts)
        boundary = iam.ManagedPolicy.from_managed_policy_arn(
            self, "Boundary", settings.boundary_arn
        )
        iam.PermissionsBoundary.of(self).apply(boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)
