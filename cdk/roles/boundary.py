"""The permissions boundary: the most that any role of this project can ever do.

A role may do what its own policy *and* the boundary allow. Whoever widens a role's policy, by
mistake or on purpose, stays inside the project: its buckets, its key, its jobs, its log groups. IAM
itself is out of reach, but for handing the project's own roles to SageMaker and the scheduler, and
for the one policy that the budget attaches.

A stack gives it to all its roles, the ones that CDK makes included, with
``iam.PermissionsBoundary.of(stack)``; other stacks than ours find it by its name.

Leaves out: what each role needs (statements.py). People's permission sets have no boundary; they
are not roles that this account's stacks make.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk.foundation.budget import denial_arn
from cdk.roles import wildcards
from cdk.roles.names import Names
from cdk.roles.statements import SIGN, allow, base_model, network
from pipeline.settings import Settings


def make_boundary(
    scope: Construct,
    construct_id: str,
    *,
    settings: Settings,
    key_arn: str,
    signing_key_arn: str,
) -> iam.ManagedPolicy:
    """The boundary, a managed policy; IAM allows it 6,144 characters."""
    return iam.ManagedPolicy(
        scope,
        construct_id,
        managed_policy_name=settings.boundary_name,
        description=f"The most that a role of {settings.name} can do",
        statements=_statements(Names(settings, key_arn, signing_key_arn)),
    )


def _statements(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    roles = f"arn:{settings.partition}:iam::{settings.account}:role/{settings.name}-*"
    services = ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]
    buckets = [names.bucket(purpose) for purpose in settings.buckets]
    return [
        allow(
            "Data",
            ["s3:AbortMultipartUpload", "s3:Get*", "s3:List*", "s3:PutObject"],
            [*buckets, *(f"{bucket}/*" for bucket in buckets)],
        ),
        *base_model(names),
        allow(
            "Key",
            [
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            ],
            [names.key_arn],
        ),
        allow("Signing", SIGN, [names.signing_key_arn]),
        allow(
            "SageMaker",
            [  # none that deletes: what was registered or logged stays for those who audit it
                f"sagemaker:{verb}*"
                for verb in (
                    "Add",
                    "Create",
                    "Describe",
                    "List",
                    "Retry",
                    "Start",
                    "Stop",
                    "Update",
                )
            ],
            names.sagemaker(
                *(f"{kind}/pipelines-*" for kind in ("processing-job", "training-job")),
                f"*/{settings.name}*",
                # Studio: the domain's id is its own, and apps and spaces lie below it
                *(f"{kind}/d-*" for kind in ("domain", "user-profile", "space", "app")),
            ),
        ),
        allow(
            "Images",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:Describe*",
                "ecr:GetDown*",
            ],
            names.repositories,
        ),
        allow(
            "Logs",
            [
                "logs:Create*",
                "logs:Describe*",
                "logs:Get*",
                "logs:PutLogEvents",
                "logs:PutRetentionPolicy",
            ],
            [
                names.arn("logs", "log-group:/aws/sagemaker/*"),
                names.arn("logs", f"log-group:/aws/lambda/{settings.name}-*"),
            ],
        ),
        allow(
            "Messages",
            ["sns:Publish", "sqs:SendMessage"],
            [names.arn(service, f"{settings.name}-*") for service in ("sns", "sqs")],
        ),
        allow("Events", ["events:PutEvents"], [names.arn("events", "event-bus/default")]),
        allow(
            "Schedules",
            [f"scheduler:{verb}Schedule" for verb in ("Create", "Delete", "Get", "Update")],
            [names.arn("scheduler", f"schedule/{settings.schedule_group}/*")],
        ),
        allow(
            "PassRoles",
            ["iam:PassRole"],
            [roles],
            {"StringEquals": {"iam:PassedToService": services}},
        ),
        allow(
            "Brake",
            ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
            [roles],
            {"ArnEquals": {"iam:PolicyARN": denial_arn(settings)}},
        ),
        *network(names),
        wildcards.statement("LogInToRegistries", settings),
        wildcards.statement("PublishMetrics", settings),
        wildcards.statement("FindInStudio", settings),
    ]
