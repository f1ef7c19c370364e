"""The delivery stack: the pipeline that takes a commit to prod, and GitHub's roles.

It exists in the tooling environment only, and a person deploys it: the pipeline deploys every stack
but this one, so that no commit changes the way that it has to go. Everything in it can be made
again from this repository. Leaves out: key, bucket and topic (cdk/foundation), the images'
repositories (cdk/training), and the role in each environment (cdk/roles).
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.delivery import permissions
from cdk.delivery.github import GitHub
from cdk.delivery.pipeline import DeliveryPipeline
from cdk.foundation.stack import FoundationStack
from cdk.roles.names import Names
from cdk.training.stack import TrainingStack
from pipeline.settings import Settings


class DeliveryStack(Stack):
    """From a commit to devices."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        targets: tuple[Settings, Settings, Settings],
        foundation: FoundationStack,
        training: TrainingStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: the way of a commit to dev, staging and prod",
            termination_protection=settings.environment == "prod",
        )
        self.add_stack_dependency(training)  # the repositories, by their name
        names = Names(settings, foundation.key.key_arn)
        boundary = iam.ManagedPolicy(
            self,
            "DeliveryBoundary",
            managed_policy_name=f"{settings.delivery_pipeline}-boundary",
            description="The most that a role of the delivery can do",
            statements=permissions.of_boundary(names, targets),
        )
        if settings.delivery.connection:
            alerts = sns.Topic.from_topic_arn(self, "Alerts", settings.alert_topic_arn)
            DeliveryPipeline(
                self,
                "Pipeline",
                names=names,
                key=foundation.key,
                alerts=alerts,
                targets=targets,
            )
            self._say_what_is_left_to_do(settings)
        if settings.delivery.github:
            GitHub(self, "GitHub", names=names, targets=targets)
        iam.PermissionsBoundary.of(self).apply(boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)

    def _say_what_is_left_to_do(self, settings: Settings) -> None:
        """CloudFormation makes a pipeline on a connection that nobody has confirmed."""
        CfnOutput(
            self,
            "Connection",
            description="Nothing starts before a person has confirmed the connection, once",
            value=(
                f"{settings.delivery.connection}: slm check --env {settings.environment} says "
                "whether it is confirmed, and where to confirm it"
            ),
        )
