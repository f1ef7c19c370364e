"""The two SageMaker pipelines, and the group that models are registered in.

The main one and the drift check. Their definitions are those of ``pipeline.definition`` and
``pipeline.drift_definition``, put into the template as they are but for two things that only a
deployment knows: the images that it builds, and the key's ARN in place of its alias's (SageMaker
takes no alias for a volume). A definition that is too large for a template goes through S3, where
nothing can be replaced any more; the settings must then name the key itself.

Leaves out: what the pipelines do (there), and when (retraining.py, cdk/monitoring/schedules.py).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import CfnTag, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from cdk.context import ContextError
from pipeline import drift_definition
from pipeline.definition import build_definition
from pipeline.names import ImageName
from pipeline.settings import Settings

MAX_INLINE = 100_000
"""Bytes of a definition that are put into the template. SageMaker documents S3 for "a large
definition" without a number; its SDK draws the line at 100 KB."""
MAX_DEFINITION = 1_048_576
"""Characters: ``PipelineDefinition`` of CreatePipeline in the SageMaker API reference."""


@dataclass(frozen=True)
class Definition:
    """A definition's text, with the names that a deployment replaces as the settings give them."""

    settings: Settings
    text: str

    @classmethod
    def of(cls, settings: Settings) -> Definition:
        """Build the definition of ``settings`` and check that SageMaker would take it.

        Raises:
            ContextError: It is too large.
        """
        made = cls._of(settings, build_definition)
        made.check_size()
        return made

    @classmethod
    def of_drift_check(cls, settings: Settings) -> Definition:
        """Build the definition of the drift check: one step, far below any limit."""
        return cls._of(settings, drift_definition.build_definition)

    @classmethod
    def _of(cls, settings: Settings, build: Callable[[Settings], dict[str, Any]]) -> Definition:
        text = json.dumps(build(settings), sort_keys=True, separators=(",", ":"))
        return cls(settings, text)

    @property
    def is_inline(self) -> bool:
        return len(self.text.encode()) <= MAX_INLINE

    def with_images(self, uris: Mapping[ImageName, str]) -> Definition:
        """The same definition on other images."""
        text = self.text
        for name, uri in uris.items():
            text = text.replace(_quoted(_image(self.settings, name)), _quoted(uri))
        return Definition(self.settings, text)

    def with_key(self, key: kms.IKey) -> str:
        """The text with the key's ARN, a token, in place of its alias's.

        In quotes, because the signing key's alias begins with the same words.
        """
        return self.text.replace(_quoted(self.settings.kms_key_arn), _quoted(key.key_arn))

    def check_size(self) -> None:
        """Refuse what SageMaker or the way to it cannot carry.

        Raises:
            ContextError: See there.
        """
        size = len(self.text.encode())
        name = self.settings.environment
        if size > MAX_DEFINITION:
            raise ContextError(
                f"the pipeline definition of {name} has {size} bytes, more than the "
                f"{MAX_DEFINITION} that SageMaker takes: shorten tags or lists in its settings."
            )
        if not self.is_inline and not self.settings.kms_key.startswith("key/"):
            raise ContextError(
                f"the pipeline definition of {name} has {size} bytes, more than the {MAX_INLINE} "
                "that fit into a template, so it goes through S3, where the key's alias cannot be "
                'replaced: deploy the foundation stack and set kms_key = "key/<its id>".'
            )


class Pipeline(Construct):
    """A pipeline with its limit on parallel steps."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        name: str,
        says: str,
        definition: Definition,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, id)
        sagemaker.CfnPipeline(
            self,
            "Resource",
            pipeline_name=name,
            pipeline_display_name=name,
            pipeline_description=says,
            pipeline_definition=(
                {"PipelineDefinitionBody": definition.with_key(key)}
                if definition.is_inline
                else {"PipelineDefinitionS3Location": self._uploaded(definition.text)}
            ),
            role_arn=settings.role_arn("pipeline"),
            parallelism_configuration={"MaxParallelExecutionSteps": settings.max_parallel_steps},
            tags=[CfnTag(key=key, value=value) for key, value in settings.all_tags.items()],
        )

    def _uploaded(self, text: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "definition.json"
            file.write_text(text, encoding="utf-8")
            asset = s3_assets.Asset(self, "Definition", path=str(file))  # copied at once
        return {"Bucket": asset.s3_bucket_name, "Key": asset.s3_object_key}


class ModelPackageGroup(Construct):
    """Where trained models wait for approval.

    Where data is retained it outlives the stack, as the record of what ran on devices. Elsewhere
    it is removed with the stack, once its versions are: SageMaker removes no group that holds any.
    It has no resource policy, since only this account reads it.
    """

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(scope, id)
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Resource",
            model_package_group_name=settings.model_package_group,
            model_package_group_description="Intent classifiers, a version for every execution",
            tags=[CfnTag(key=key, value=value) for key, value in settings.all_tags.items()],
        )
        group.apply_removal_policy(
            RemovalPolicy.RETAIN if settings.retain_data else RemovalPolicy.DESTROY
        )


def _image(settings: Settings, name: ImageName) -> str:
    return settings.processing_image if name == "processing" else settings.training_image


def _quoted(text: str) -> str:
    """As it stands in JSON, so that no part of a longer name is replaced."""
    return f'"{text}"'
