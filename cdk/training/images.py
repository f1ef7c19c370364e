"""The container images: repositories in the account, and images built from this checkout.

The repositories hold what delivery promotes, by digest. ``cdk deploy`` with ``-c images=build``
builds an image asset for each Dockerfile instead and pushes it to the repository that
``cdk bootstrap`` made. An asset's hash covers exactly the files that its Dockerfile copies, so a
changed document or test builds nothing and leaves the pipeline as it is. ``SLM_TORCH_INDEX`` and
``SLM_TORCH`` mean what they mean to containers/build.py, and count as part of an image.

Leaves out: what the images hold (containers/), and building them for one machine
(containers/build.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from cdk.roles import principals
from pipeline.names import PROJECT, ImageName
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
COPIED: dict[ImageName, tuple[str, ...]] = {
    "processing": (
        "pyproject.toml",
        "requirements.txt",
        "containers/requirements_of.py",
        "edge",
        "steps",
    ),
    "training": ("pyproject.toml", "requirements.txt", "containers/requirements_of.py", "steps"),
}
"""What each Dockerfile copies from the repository's root."""
_NOT_CODE = ("**/__pycache__", "**/*.py[cod]", "**/.DS_Store")
UNTAGGED_DAYS = 14
KEPT_IMAGES = 30  # a rollback reaches so many releases back
RELEASED = "in-*"
"""The tags of images that an environment was deployed with; see pipeline/cloud/delivery/images.py.
Without a rule of their own, thirty commits later prod's images would be gone."""


class Repositories(Construct):
    """One ECR repository an image: tags that cannot be moved, scanned, encrypted, bounded."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        key: kms.IKey,
        readers: Sequence[str] = (),
    ) -> None:
        """``readers`` are other accounts whose jobs pull from here; see cdk/delivery."""
        super().__init__(scope, id)
        for name in COPIED:
            repository = ecr.Repository(
                self,
                name.title(),
                repository_name=settings.repository(name),
                image_tag_mutability=ecr.TagMutability.IMMUTABLE,
                image_scan_on_push=True,
                encryption=ecr.RepositoryEncryption.KMS,
                encryption_key=key,
                removal_policy=(
                    RemovalPolicy.RETAIN if settings.retain_data else RemovalPolicy.DESTROY
                ),
                empty_on_delete=not settings.retain_data,
            )
            repository.add_lifecycle_rule(
                description="Images that lost their tag",
                tag_status=ecr.TagStatus.UNTAGGED,
                max_image_age=Duration.days(UNTAGGED_DAYS),
            )
            repository.add_lifecycle_rule(
                # first, because an image that one rule is about is no other's to remove
                description="All but the newest images of releases",
                tag_pattern_list=[RELEASED],
                max_image_count=KEPT_IMAGES,
            )
            repository.add_lifecycle_rule(
                description="All but the newest images",
                tag_status=ecr.TagStatus.ANY,
                max_image_count=KEPT_IMAGES,
            )
            for account in readers:
                repository.add_to_resource_policy(_pull(settings, account))


class BuiltImages(Construct):
    """An image asset for each Dockerfile; ``uris`` are plain strings.

    The asset's own ``image_uri`` is a token, which the pipeline's definition cannot carry through
    the SageMaker SDK; account, region, qualifier and hash are known, so the same URI is put
    together here.
    """

    def __init__(
        self, scope: Construct, id: str, *, settings: Settings, qualifier: str, root: Path = ROOT
    ) -> None:
        super().__init__(scope, id)
        suffix = ".cn" if settings.partition == "aws-cn" else ""
        registry = f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com{suffix}"
        repository = f"cdk-{qualifier}-container-assets-{settings.account}-{settings.region}"
        self.uris: dict[ImageName, str] = {
            name: f"{registry}/{repository}:{self._asset(name, root).asset_hash}" for name in COPIED
        }

    def _asset(self, name: ImageName, root: Path) -> assets.DockerImageAsset:
        dockerfile = f"containers/{name}/Dockerfile"
        return assets.DockerImageAsset(
            self,
            name.title(),
            asset_name=f"{Stack.of(self).stack_name}-{name}",
            directory=str(root),
            file=dockerfile,
            # Later rules win, so these also stand above those of .dockerignore, which is wider:
            # it serves both images.
            exclude=["*", *(f"!{path}" for path in (dockerfile, *COPIED[name])), *_NOT_CODE],
            ignore_mode=IgnoreMode.DOCKER,
            platform=assets.Platform.LINUX_AMD64,
            build_args=_build_arguments(name),
        )


def _pull(settings: Settings, account: str) -> iam.PolicyStatement:
    """Jobs of the project in another account may pull."""
    return iam.PolicyStatement(
        sid=f"Pull{account}",
        principals=[principals.roles_of(account, f"{PROJECT}-*", settings.partition)],
        actions=[
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        ],
    )


def _build_arguments(name: ImageName) -> dict[str, str] | None:
    """Where pip finds torch without CUDA, for an image that shall not have it."""
    index = os.environ.get("SLM_TORCH_INDEX", "")
    with_cuda = name == "training" and os.environ.get("SLM_TORCH") == "cuda"
    return {"TORCH_INDEX": index} if index and not with_cuda else None
