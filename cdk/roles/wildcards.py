"""Every ``Resource: "*"`` of an identity policy, each with its reason: this is the whole list.

A policy gets such a statement only from ``statement``; tests compare the list with the synthesized
templates, in both directions, and with AWS's own table of which actions know a resource.

Leaves out: key policies, in which ``*`` means the key itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aws_cdk import aws_iam as iam

from pipeline.settings import Settings


@dataclass(frozen=True)
class Wildcard:
    """One statement on every resource."""

    actions: tuple[str, ...]
    reason: str
    effect: iam.Effect = field(default=iam.Effect.ALLOW)
    limited_to_namespaces: bool = False
    """A condition on the metric's namespace stands in for the resource."""


WILDCARDS: Mapping[str, Wildcard] = {
    "LogInToRegistries": Wildcard(
        ("ecr:GetAuthorizationToken",),
        "The token is the caller's, not a repository's; what it opens is the next statement's.",
    ),
    "PublishMetrics": Wildcard(
        ("cloudwatch:PutMetricData",),
        "A metric has no ARN; the condition names the namespaces of jobs and of this project.",
        limited_to_namespaces=True,
    ),
    "DescribeNetwork": Wildcard(
        (
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ),
        "EC2 knows no resource for these; they read, and only exist where jobs run in a VPC.",
    ),
    "FindInStudio": Wildcard(
        (
            "sagemaker:ListDomains",
            "sagemaker:ListModelPackageGroups",
            "sagemaker:ListPipelines",
            "sagemaker:ListProcessingJobs",
            "sagemaker:ListTrainingJobs",
            "sagemaker:Search",
        ),
        "SageMaker knows no resource for its lists, which Studio's pages open with; they show "
        "names, and what a name stands for takes a permission of its own.",
    ),
    "OpenStudio": Wildcard(
        ("sagemaker:ListApps", "sagemaker:ListSpaces", "sagemaker:ListUserProfiles"),
        "SageMaker knows no resource for its lists, through which a person finds the own profile.",
    ),
    "UseFleet": Wildcard(
        (
            "greengrass:CreateDeployment",
            "greengrass:ListCoreDevices",
            "greengrass:ListDeployments",
            "iot:CreateCertificateFromCsr",
            "iot:DescribeEndpoint",
        ),
        "Neither service knows a resource for these: a certificate has no name before it is made, "
        "and a deployment reaches a group only for whom iot:CreateJob allows that group.",
    ),
    "DeployToFleet": Wildcard(
        ("greengrass:CreateDeployment", "greengrass:ListDeployments"),
        "Greengrass knows no resource for these; a deployment reaches a group only for whom "
        "iot:CreateJob allows that group.",
    ),
    "DeliverLogs": Wildcard(
        (
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
        ),
        "Step Functions logs through a delivery, which it makes in the machine's name; CloudWatch "
        "Logs knows no resource for deliveries.",
    ),
    "Trace": Wildcard(
        (
            "xray:GetSamplingRules",
            "xray:GetSamplingTargets",
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        ),
        "X-Ray knows no resource for what is traced; times and names of states, no data.",
    ),
    "ReadMetrics": Wildcard(
        (
            "cloudwatch:GetMetricData",
            "cloudwatch:GetMetricStatistics",
            "cloudwatch:ListDashboards",
            "cloudwatch:ListMetrics",
        ),
        "A metric has no ARN, reading has no condition on the namespace, and a list of dashboards "
        "has no resource.",
    ),
    "ReadTrail": Wildcard(
        ("cloudtrail:LookupEvents", "kms:ListAliases"),
        "Neither knows a resource; an auditor finds with them who called what, and which key "
        "is the project's.",
    ),
    "BudgetIsSpent": Wildcard(
        (
            "sagemaker:CreateAutoMLJob*",
            "sagemaker:CreateCompilationJob",
            "sagemaker:CreateEndpoint",
            "sagemaker:CreateHyperParameterTuningJob",
            "sagemaker:CreateProcessingJob",
            "sagemaker:CreateTrainingJob",
            "sagemaker:CreateTransformJob",
            "sagemaker:RetryPipelineExecution",
            "sagemaker:StartPipelineExecution",
        ),
        "A denial: it is meant to reach every job and every pipeline.",
        effect=iam.Effect.DENY,
    ),
}
"""By statement id."""


def metric_namespaces(settings: Settings) -> list[str]:
    """Where jobs and ``slm push`` may publish metrics."""
    return ["/aws/sagemaker/*", settings.metric_namespace]


def statement(sid: str, settings: Settings) -> iam.PolicyStatement:
    """The listed statement ``sid``."""
    listed = WILDCARDS[sid]
    conditions: dict[str, Any] = {}
    if listed.limited_to_namespaces:
        conditions = {"StringLike": {"cloudwatch:namespace": metric_namespaces(settings)}}
    return iam.PolicyStatement(
        sid=sid,
        effect=listed.effect,
        actions=list(listed.actions),
        resources=["*"],
        conditions=conditions or None,
    )
