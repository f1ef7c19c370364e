"""ARNs of what a project's policies name, spelt from the settings.

Strings, not tokens: a policy then names a thing that another stack makes without depending on that
stack. The keys' ARNs alone come from outside, because IAM knows a key by its id and not its alias.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.names import ImageName
from pipeline.settings import Settings

IMAGES: tuple[ImageName, ...] = ("processing", "training")
JOB_NAMES = "pipelines-*"
"""SageMaker Pipelines names a job ``pipelines-<execution>-<step>-<random>``."""

_ECR_IMAGE = re.compile(
    r"^(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[^@:]+)"
)


@dataclass(frozen=True)
class Names:
    """ARNs in the account and region of ``settings``."""

    settings: Settings
    key_arn: str
    signing_key_arn: str = ""

    def arn(self, service: str, resource: str) -> str:
        where = self.settings
        return f"arn:{where.partition}:{service}:{where.region}:{where.account}:{resource}"

    def bucket(self, purpose: str) -> str:
        return f"arn:{self.settings.partition}:s3:::{self.settings.buckets[purpose]}"

    def sagemaker(self, *resources: str) -> list[str]:
        return [self.arn("sagemaker", resource) for resource in resources]

    @property
    def model_packages(self) -> list[str]:
        """The group and its versions: some calls are checked against one, some the other."""
        group = self.settings.model_package_group
        return self.sagemaker(f"model-package-group/{group}", f"model-package/{group}/*")

    @property
    def jobs(self) -> list[str]:
        return self.sagemaker(f"processing-job/{JOB_NAMES}", f"training-job/{JOB_NAMES}")

    @property
    def repositories(self) -> list[str]:
        """Where images come from: the account's own, the bootstrap's assets, or prebuilt ones."""
        settings = self.settings
        assets = f"cdk-hnb659fds-container-assets-{settings.account}-{settings.region}"
        found = [
            *(self.arn("ecr", f"repository/{settings.repository(image)}") for image in IMAGES),
            self.arn("ecr", f"repository/{assets}"),
            *_prebuilt(settings),
        ]
        return list(dict.fromkeys(found))


def _prebuilt(settings: Settings) -> Iterable[str]:
    for image in (settings.processing_image, settings.training_image):
        if match := _ECR_IMAGE.match(image):
            yield (
                f"arn:{settings.partition}:ecr:{match['region']}:{match['account']}:"
                f"repository/{match['repository']}"
            )
