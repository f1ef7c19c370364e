"""The training stack: images, SageMaker pipelines, the model package group, retraining, Studio.

Everything in it can be made again from this repository, but for the images and registered models
of an environment that retains its data. Leaves out: key, buckets and topic (cdk/foundation), and
the roles that the pipeline and its jobs run with (cdk/roles).
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import DefaultStackSynthesizer, Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.context import ImageMode
from cdk.foundation.stack import FoundationStack
from cdk.roles.stack import RolesStack
from cdk.training.images import BuiltImages, Repositories
from cdk.training.pipeline import Definition, ModelPackageGroup, Pipeline
from cdk.training.retraining import Retraining
from cdk.training.studio import Studio
from pipeline.settings import Settings


class TrainingStack(Stack):
    """What trains, and what starts it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        foundation: FoundationStack,
        roles: RolesStack,
        images: ImageMode,
        env: Environment,
        definition: Definition | None = None,
        readers: Sequence[str] = (),
    ) -> None:
        """Wire the stack.

        Args:
            readers: Other accounts whose environments run the images of this one.
            definition: What :meth:`Definition.of` made of ``settings``, where it was already made.
        """
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: images, pipelines and retraining",
            termination_protection=settings.environment == "prod",
        )
        self.add_stack_dependency(roles)  # by name only, so CDK cannot see it
        key = foundation.key
        # By its name: the topic's own policy, which lets services publish, is the foundation's.
        alerts = sns.Topic.from_topic_arn(self, "Alerts", settings.alert_topic_arn)
        Repositories(self, "Repositories", settings=settings, key=key, readers=readers)
        definition = definition or Definition.of(settings)
        drift_check = Definition.of_drift_check(settings)
        if images == "build":
            built = BuiltImages(self, "Images", settings=settings, qualifier=_qualifier(self))
            definition = definition.with_images(built.uris)
            drift_check = drift_check.with_images(built.uris)
        ModelPackageGroup(self, "Models", settings=settings)
        Pipeline(
            self,
            "Pipeline",
            settings=settings,
            name=settings.pipeline_name,
            says="Labelled utterances in, a signed int8 intent classifier for devices out",
            definition=definition,
            key=key,
        )
        Pipeline(
            self,
            "DriftCheck",
            settings=settings,
            name=settings.drift_pipeline_name,
            says="Devices' counts in, a report out, and an event where they no longer look alike",
            definition=drift_check,
            key=key,
        )
        Retraining(self, "Retraining", settings=settings, key=key, alerts=alerts)
        if settings.studio.enabled:
            Studio(self, "Studio", settings=settings, key=key)
        boundary = iam.ManagedPolicy.from_managed_policy_arn(
            self, "Boundary", settings.boundary_arn
        )
        iam.PermissionsBoundary.of(self).apply(boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)


def _qualifier(stack: Stack) -> str:
    """What ``cdk bootstrap`` put into the names of its resources."""
    return stack.synthesizer.bootstrap_qualifier or DefaultStackSynthesizer.DEFAULT_QUALIFIER
