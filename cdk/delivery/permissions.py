"""What each role of the delivery may do, and the most that any of them can.

A build runs the code of a commit, so what it may do is what anybody may do who can push to the
branch. Each build therefore has a role of its own: the tests reach nothing, the images their two
repositories, and a deployment the roles that ``cdk bootstrap`` made for its one environment. What
else is to be done in an environment is done as ``settings.delivery_role`` of that environment.

These roles have a boundary of their own. That of the environment is for what runs in it, which must
never take a role that deploys.

Leaves out: the role in each environment (cdk/roles/delivery.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_iam as iam

from cdk.roles import wildcards
from cdk.roles.names import IMAGES, Names
from cdk.roles.statements import allow
from pipeline.settings import Settings

BOOTSTRAP = "hnb659fds"
PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
BUILDS = ("codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild")
APPROVAL = "Approve"
"""The stage in which a person decides, and the action in it."""


def own_repositories(names: Names) -> list[str]:
    """Where the images go that every environment runs."""
    return [names.arn("ecr", f"repository/{names.settings.repository(image)}") for image in IMAGES]


def deploying_roles(target: Settings) -> list[str]:
    """What ``cdk bootstrap`` made in an environment's account: to deploy, and to upload assets.

    Not the one that pushes images: what is deployed is named by digest.
    """
    return [
        f"arn:{target.partition}:iam::{target.account}:role/"
        f"cdk-{BOOTSTRAP}-{kind}-role-{target.account}-{target.region}"
        for kind in ("deploy", "file-publishing")
    ]


def take(sid: str, roles: Sequence[str]) -> iam.PolicyStatement:
    """Take these roles and no others."""
    return allow(sid, ["sts:AssumeRole"], list(dict.fromkeys(roles)))


def log_group(settings: Settings) -> str:
    return f"/aws/codebuild/{settings.delivery_pipeline}"


def of_every_build(names: Names) -> list[iam.PolicyStatement]:
    """Read the source, and log."""
    settings = names.settings
    group = names.arn("logs", f"log-group:{log_group(settings)}")
    return [
        allow("ReadSource", ["s3:GetObject", "s3:GetObjectVersion"], [artifacts(names)]),
        allow("UseKey", ["kms:Decrypt", "kms:GenerateDataKey"], [names.key_arn]),
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], [group, f"{group}:*"]),
    ]


def of_images(names: Names) -> list[iam.PolicyStatement]:
    """Push to the two repositories, and look at what is there."""
    return [
        wildcards.statement("LogInToRegistries", names.settings),
        allow("PushImages", PUSH, own_repositories(names)),
    ]


def of_deployment(names: Names, target: Settings) -> list[iam.PolicyStatement]:
    """Deploy the stacks of one environment, and mark the images that it runs."""
    return [
        take("TakeDeployingRoles", deploying_roles(target)),
        allow(
            "MarkImages",
            ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage"],
            own_repositories(names),
        ),
    ]


def of_pipeline(names: Names, projects: Sequence[str]) -> list[iam.PolicyStatement]:
    """What CodePipeline does: fetch the source, start builds, ask for the approval."""
    settings = names.settings
    bucket = names.bucket("pipeline")
    return [
        allow("UseConnection", [f"{_service(settings)}:UseConnection"], [connection(settings)]),
        allow(
            "KeepArtifacts",
            ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            [artifacts(names)],
        ),
        allow("FindArtifacts", ["s3:GetBucketVersioning", "s3:ListBucket"], [bucket]),
        allow("UseKey", ["kms:Decrypt", "kms:GenerateDataKey"], [names.key_arn]),
        allow(
            "StartBuilds",
            BUILDS,
            [names.arn("codebuild", f"project/{project}") for project in projects],
        ),
        allow("AskForApproval", ["sns:Publish"], [settings.alert_topic_arn]),
    ]


def of_boundary(names: Names, targets: Sequence[Settings]) -> list[iam.PolicyStatement]:
    """The most that a role of the delivery can do."""
    settings = names.settings
    deploying = [role for target in targets for role in deploying_roles(target)]
    group = names.arn("logs", f"log-group:{log_group(settings)}")
    statements = [
        take("TakeRoles", [*deploying, *(target.delivery_role_arn for target in targets)]),
        allow(
            "Artifacts",
            ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            [artifacts(names)],
        ),
        allow("Bucket", ["s3:GetBucketVersioning", "s3:ListBucket"], [names.bucket("pipeline")]),
        allow("Key", ["kms:Decrypt", "kms:GenerateDataKey"], [names.key_arn]),
        allow(
            "Builds", BUILDS, [names.arn("codebuild", f"project/{settings.delivery_pipeline}-*")]
        ),
        allow("Images", PUSH, own_repositories(names)),
        wildcards.statement("LogInToRegistries", settings),
        allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [group, f"{group}:*"]),
        allow("Alerts", ["sns:Publish"], [settings.alert_topic_arn]),
    ]
    if settings.delivery.connection:
        use = [f"{_service(settings)}:UseConnection"]
        statements.append(allow("Connection", use, [connection(settings)]))
    return statements


def artifacts(names: Names) -> str:
    """The pipeline's artifacts, below a prefix that CodePipeline makes of the pipeline's name."""
    return f"{names.bucket('pipeline')}/{names.settings.delivery_prefix}/*"


def approval(names: Names) -> str:
    """The ARN of the action that waits for a person; see pipeline.py."""
    return names.arn("codepipeline", f"{names.settings.delivery_pipeline}/{APPROVAL}/{APPROVAL}")


def connection(settings: Settings) -> str:
    return settings.delivery.connection


def _service(settings: Settings) -> str:
    """CodeConnections' prefix in IAM, which older connections have under its former name."""
    return settings.delivery.connection.split(":")[2]
