"""The role through which the tooling environment works in this one, besides deploying stacks.

It runs the pipeline and follows it, reads what an execution left, and decides on versions. One for
every environment, the tooling environment's own included, so that the stage of one environment
reaches no other; only the roles of the tooling environment's delivery may take it.

Leaves out: those roles (cdk/delivery), and deploying stacks, for which the CDK's bootstrap made
roles.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk.roles import principals
from cdk.roles.names import Names
from cdk.roles.statements import READ, WRITE, allow, use_key
from pipeline.settings import Settings

RESULTS = ("executions/*/EvaluateModel/*", "executions/*/PackageComponent/*")
"""What is shown before an approval, and what a device installs."""
SMOKE_PREFIX = "delivery-"
"""How the datasets are called that delivery uploads; see pipeline/cloud/delivery/running.py."""


def make_delivery_role(
    scope: Construct, construct_id: str, *, names: Names, tooling: Settings
) -> iam.Role:
    """The role ``settings.delivery_role``, for the delivery of ``tooling``."""
    settings = names.settings
    return iam.Role(
        scope,
        construct_id,
        role_name=settings.delivery_role,
        description=f"What the delivery of {tooling.name} does here besides deploying stacks",
        assumed_by=principals.roles_of(
            tooling.account, f"{tooling.delivery_pipeline}-*", tooling.partition
        ),
        inline_policies={"delivery": iam.PolicyDocument(statements=statements(names))},
    )


def statements(names: Names) -> list[iam.PolicyStatement]:
    """The whole policy of the role."""
    settings = names.settings
    smoke = f"{settings.datasets_prefix}/{SMOKE_PREFIX}*"
    return [
        allow(
            "RunPipeline",
            [
                "sagemaker:DescribePipeline",
                "sagemaker:DescribePipelineDefinitionForExecution",
                "sagemaker:DescribePipelineExecution",
                "sagemaker:ListPipelineExecutionSteps",
                "sagemaker:ListPipelineExecutions",
                "sagemaker:StartPipelineExecution",
            ],
            [settings.pipeline_arn, f"{settings.pipeline_arn}/execution/*"],
        ),
        allow(
            "ReadLogsOfJobs",
            ["logs:DescribeLogStreams", "logs:GetLogEvents"],
            [names.arn("logs", "log-group:/aws/sagemaker/*")],
        ),
        allow("ReadResults", READ, [f"{names.bucket('pipeline')}/{key}" for key in RESULTS]),
        allow(
            "ListResults",
            ["s3:ListBucket"],
            [names.bucket("pipeline")],
            {"StringLike": {"s3:prefix": list(RESULTS)}},
        ),
        # looked at before it is uploaded: what is there stays
        allow("UploadSmokeData", [*READ, *WRITE], [f"{names.bucket('raw')}/{smoke}"]),
        allow("FindRawBucket", ["s3:ListBucket"], [names.bucket("raw")]),
        allow(
            "DecideOnVersions",
            [
                "sagemaker:DescribeModelPackage",
                "sagemaker:ListModelPackages",
                "sagemaker:UpdateModelPackage",
            ],
            names.model_packages,
        ),
        allow(
            "FollowPromotions",
            READ,
            [f"{names.bucket('deployments')}/{settings.promotions_prefix}/*"],
        ),
        allow(
            "FindPromotions",
            ["s3:ListBucket"],
            [names.bucket("deployments")],
            {"StringLike": {"s3:prefix": f"{settings.promotions_prefix}/*"}},
        ),
        use_key(names, ["kms:Decrypt", "kms:GenerateDataKey"], through=["s3"]),
        allow("DescribeKey", ["kms:DescribeKey"], [names.key_arn]),
        allow("CheckSignatures", ["kms:DescribeKey", "kms:GetPublicKey"], [names.signing_key_arn]),
    ]
