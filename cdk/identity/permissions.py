"""What people may do: the inline policy of each permission set, scoped to this project.

Each set is what its people do in a day, and contains nothing for a bad day: an administrator of the
account, who is none of these, bootstraps it and repairs it.

==================  =====================================================================
data-scientist      opens Studio, starts and follows executions, reads data and models
ml-engineer         and imports datasets, pushes runs, approves models and releases, publishes
                    packages
platform-engineer   deploys through the bootstrap's roles, starts and holds releases, runs the
                    fleet of devices, lifts the budget's brake, and empties the buckets where data
                    is not retained; reads no data
auditor             reads configuration, policies, the trail and access logs; reads no data
==================  =====================================================================

Leaves out: services (cdk/roles), and Studio's own role, under which notebooks run (cdk/training).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aws_cdk import aws_iam as iam

from cdk.edge.telemetry import dead_letters_name
from cdk.identity import fleet, releases
from cdk.roles import wildcards
from cdk.roles.names import Names
from cdk.roles.statements import READ, WRITE, allow
from pipeline.names import PROJECT
from pipeline.sections import PermissionSet
from pipeline.settings import Settings

READABLE = ("raw", "processed", "models", "pipeline")
"""Buckets that a data scientist reads; packages are an ML engineer's."""


def statements_of(permission_set: PermissionSet, settings: Settings) -> list[iam.PolicyStatement]:
    """The whole inline policy of one permission set."""
    # the instance may live in another account, where the key's ARN cannot be referred to
    return _POLICIES[permission_set](Names(settings, _any_key(settings)))


# The permission sets ----------------------------------------------------------------------


def _data_scientist(names: Names) -> list[iam.PolicyStatement]:
    return [
        *_follow(names),
        *_studio(names),
        *_start(names),
        *_read(names, READABLE),
        _key(names, ["kms:Decrypt"]),
    ]


def _ml_engineer(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    datasets = f"{names.bucket('raw')}/{settings.datasets_prefix}/*"
    return [
        *_follow(names),
        *_studio(names),
        *_start(names),
        *_read(names, (*READABLE, "deployments")),
        allow("ImportDatasets", WRITE, [datasets]),
        allow(
            "PublishModelsAndPackages",
            WRITE,
            [f"{names.bucket(purpose)}/*" for purpose in ("models", "deployments")],
        ),
        allow(
            "RegisterAndApprove",
            [
                "sagemaker:CreateModelPackage",
                "sagemaker:CreateModelPackageGroup",
                "sagemaker:UpdateModelPackage",
            ],
            names.model_packages,
        ),
        wildcards.statement("PublishMetrics", settings),
        _key(names, ["kms:Decrypt", "kms:GenerateDataKey"]),
        # the key's ARN, which an upload names
        allow("FindKey", ["kms:DescribeKey"], [names.key_arn], _by_alias(names)),
        *releases.approving(names),
    ]


def _platform_engineer(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    bootstrap = f"cdk-hnb659fds-*-role-{settings.account}-{settings.region}"
    return [
        *_follow(names),
        allow("Deploy", ["sts:AssumeRole"], [_iam(names, f"role/{bootstrap}")]),
        *_stacks(names),
        allow(
            "LiftTheBrake",
            [
                "budgets:DescribeBudgetAction",
                "budgets:DescribeBudgetActionsForBudget",
                "budgets:ExecuteBudgetAction",
            ],
            _budgets(names),
        ),
        allow(
            "LookAtWhatFailed",
            [
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ReceiveMessage",
            ],
            [
                names.arn("sqs", one)
                for one in (
                    settings.dead_letter_queue,
                    settings.promotion_dead_letter_queue,
                    dead_letters_name(settings),
                )
            ],
        ),
        _key(names, ["kms:Decrypt"], through="sqs"),
        *fleet.statements(names),
        *releases.governing(names),
        *([] if settings.retain_data else [_empty(names)]),
    ]


def _auditor(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    logs = f"arn:{settings.partition}:s3:::{settings.access_log_bucket}"
    buckets = [names.bucket(purpose) for purpose in settings.buckets]
    return [
        *_follow(names),
        *_stacks(names),
        allow(
            "ReadRolesAndPolicies",
            [
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:GetRole",
                "iam:GetRolePolicy",
                "iam:List*",
            ],
            [_iam(names, f"role/{settings.name}-*"), _iam(names, f"policy/{settings.name}-*")],
        ),
        allow(
            "ReadBucketSettings",
            [
                "s3:GetBucket*",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
            ],
            [*buckets, logs],
        ),
        allow("ReadAccessLogs", ["s3:GetObject", "s3:ListBucket"], [logs, f"{logs}/*"]),
        allow(
            "ReadKeySettings",
            ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants"],
            [names.key_arn],
            _by_alias(names),
        ),
        allow("ReadTopic", ["sns:GetTopicAttributes"], [settings.alert_topic_arn]),
        allow(
            "ReadImages",
            ["ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories"],
            names.repositories,
        ),
        wildcards.statement("ReadTrail", settings),
    ]


_POLICIES: Mapping[PermissionSet, Callable[[Names], list[iam.PolicyStatement]]] = {
    "data-scientist": _data_scientist,
    "ml-engineer": _ml_engineer,
    "platform-engineer": _platform_engineer,
    "auditor": _auditor,
}

# The capabilities -------------------------------------------------------------------------


def _follow(names: Names) -> list[iam.PolicyStatement]:
    """See what exists and what runs, with logs and figures but without data."""
    settings = names.settings
    return [
        allow(
            "FollowExecutions",
            # definitions, executions, their steps and parameters: a policy has a largest size
            ["sagemaker:DescribePipeline*", "sagemaker:ListPipeline*"],
            [*_pipelines(settings), *(f"{one}/*" for one in _pipelines(settings))],
        ),
        allow(
            "FollowJobs",
            [
                "sagemaker:DescribeCompilationJob",
                "sagemaker:DescribeProcessingJob",
                "sagemaker:DescribeTrainingJob",
            ],
            [*names.jobs, *names.sagemaker(f"compilation-job/{settings.model_package_group}-*")],
        ),
        allow(
            "ReadRegistry",
            [
                "sagemaker:DescribeModelPackage",
                "sagemaker:DescribeModelPackageGroup",
                "sagemaker:ListModelPackages",
            ],
            names.model_packages,
        ),
        allow(
            "ReadLogs",
            [
                "logs:DescribeLogStreams",
                "logs:FilterLogEvents",
                "logs:GetLogEvents",
                "logs:GetQueryResults",
                "logs:StartQuery",
            ],
            [
                names.arn("logs", "log-group:/aws/sagemaker/*"),
                names.arn("logs", f"log-group:/aws/lambda/{settings.name}-*"),
            ],
        ),
        allow(
            "ReadDashboard",
            ["cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard"],
            [names.arn("cloudwatch", f"alarm:{settings.name}-*"), _dashboard(settings)],
        ),
        allow("ReadBudget", ["budgets:ViewBudget"], _budgets(names)[:1]),
        wildcards.statement("FindInStudio", settings),
        wildcards.statement("ReadMetrics", settings),
    ]


def _pipelines(settings: Settings) -> list[str]:
    """The main one and the drift check."""
    return [settings.pipeline_arn, settings.drift_pipeline_arn]


def _dashboard(settings: Settings) -> str:
    """Dashboards belong to no region."""
    where = f"arn:{settings.partition}:cloudwatch::{settings.account}"
    return f"{where}:dashboard/{settings.dashboard_name}"


def _studio(names: Names) -> list[iam.PolicyStatement]:
    """Open Studio with a profile of this project, which its tag tells."""
    return [
        allow(
            "OpenProfile",
            [
                "sagemaker:CreatePresignedDomainUrl",
                "sagemaker:DescribeDomain",
                "sagemaker:DescribeUserProfile",
            ],
            names.sagemaker("domain/*", "user-profile/*"),
            {
                "StringEquals": {
                    "aws:ResourceTag/project": PROJECT,
                    "aws:ResourceTag/environment": names.settings.environment,
                }
            },
        ),
        wildcards.statement("OpenStudio", names.settings),
    ]


def _start(names: Names) -> list[iam.PolicyStatement]:
    pipelines = _pipelines(names.settings)
    return [
        allow("StartExecutions", ["sagemaker:StartPipelineExecution"], pipelines),
        allow(
            "StopAndRetryExecutions",
            ["sagemaker:RetryPipelineExecution", "sagemaker:StopPipelineExecution"],
            [f"{pipeline}/execution/*" for pipeline in pipelines],
        ),
    ]


def _read(names: Names, purposes: Sequence[str]) -> list[iam.PolicyStatement]:
    buckets = [names.bucket(purpose) for purpose in purposes]
    return [
        allow("ReadData", READ, [f"{bucket}/*" for bucket in buckets]),
        allow("ListData", ["s3:GetBucketLocation", "s3:ListBucket"], buckets),
    ]


def _stacks(names: Names) -> list[iam.PolicyStatement]:
    return [
        allow(
            "ReadStacks",
            [
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStackResources",
                "cloudformation:DescribeStacks",
                "cloudformation:GetTemplate",
            ],
            [names.arn("cloudformation", f"stack/{names.settings.name}-*/*")],
        )
    ]


def _empty(names: Names) -> iam.PolicyStatement:
    """What ``python -m cdk.foundation.emptying`` does before the stacks are removed."""
    settings = names.settings
    buckets = [
        *(names.bucket(purpose) for purpose in settings.buckets),
        f"arn:{settings.partition}:s3:::{settings.access_log_bucket}",
    ]
    return allow(
        "EmptyBuckets",
        [
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            "s3:ListBucketMultipartUploads",
            "s3:ListBucketVersions",
        ],
        [*buckets, *(f"{bucket}/*" for bucket in buckets)],
    )


def _key(names: Names, actions: Sequence[str], *, through: str = "s3") -> iam.PolicyStatement:
    service = f"{through}.{names.settings.region}.amazonaws.com"
    return allow(
        "UseKey",
        actions,
        [names.key_arn],
        {**_by_alias(names), "StringEquals": {"kms:ViaService": service}},
    )


def _by_alias(names: Names) -> dict[str, dict[str, str | list[str]]]:
    return {"ForAnyValue:StringEquals": {"kms:ResourceAliases": names.settings.kms_alias}}


def _any_key(settings: Settings) -> str:
    """Every key of the account and region: a condition on the alias picks the project's."""
    return f"arn:{settings.partition}:kms:{settings.region}:{settings.account}:key/*"


def _budgets(names: Names) -> list[str]:
    settings = names.settings
    budget = f"arn:{settings.partition}:budgets::{settings.account}:budget/{settings.name}-*"
    return [budget, f"{budget}/action/*"]


def _iam(names: Names, resource: str) -> str:
    return f"arn:{names.settings.partition}:iam::{names.settings.account}:{resource}"
