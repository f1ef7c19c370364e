"""The most that a role of promotion can ever do, whoever widens its own policy.

Its buckets and keys, the project's versions, components, deployments to its two groups, its own
function, machine and logs. Deleting is not in it, and neither are jobs, people and other roles but
the one in the environment that it promotes to.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from cdk.roles import wildcards
from cdk.roles.names import Names
from cdk.roles.statements import allow
from pipeline.settings import Settings


def of_boundary(names: Names, target: Settings) -> list[iam.PolicyStatement]:
    """The statements; IAM allows 6,144 characters."""
    settings = names.settings
    buckets = [names.bucket(one) for one in ("pipeline", "models", "deployments", "processed")]
    groups = [
        names.arn("iot", f"thinggroup/{name}")
        for name in (settings.thing_group, settings.canary_group)
    ]
    elsewhere = target.environment != settings.environment
    return [
        allow(
            "Data",
            [
                "s3:AbortMultipartUpload",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            [*buckets, *(f"{bucket}/*" for bucket in buckets)],
        ),
        allow("Key", ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], [names.key_arn]),
        allow("Signing", ["kms:Sign", "kms:Verify"], [names.signing_key_arn]),
        allow(
            "Versions",
            [f"sagemaker:{verb}ModelPackage" for verb in ("Create", "Describe", "Update")]
            + ["sagemaker:ListModelPackages"],
            names.model_packages,
        ),
        allow(
            "Components",
            [
                "greengrass:CancelDeployment",
                "greengrass:CreateComponentVersion",
                "greengrass:DescribeComponent",
                "greengrass:GetDeployment",
                "greengrass:ListEffectiveDeployments",
                "greengrass:TagResource",
            ],
            [
                names.arn("greengrass", f"components:{settings.component_name}"),
                names.arn("greengrass", f"components:{settings.component_name}:versions:*"),
                names.arn("greengrass", "coreDevices:*"),
                names.arn("greengrass", "deployments:*"),
            ],
        ),
        allow(
            "Devices",
            [
                "iot:CancelJob",
                "iot:CreateJob",
                "iot:DescribeJob",
                "iot:DescribeThingGroup",
                "iot:ListThingsInThingGroup",
                "iot:UpdateJob",
            ],
            [names.arn("iot", "job/*"), *groups],
        ),
        wildcards.statement("DeployToFleet", settings),
        allow(
            "Machine",
            ["lambda:InvokeFunction", "states:StartExecution"],
            [
                names.arn("lambda", f"function:{settings.promotion_function}"),
                settings.promotion_machine_arn,
            ],
        ),
        allow(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [names.arn("logs", f"log-group:/aws/lambda/{settings.promotion_function}*")],
        ),
        wildcards.statement("DeliverLogs", settings),
        wildcards.statement("Trace", settings),
        *([allow("Target", ["sts:AssumeRole"], [target.promoted_role_arn])] if elsewhere else []),
    ]
