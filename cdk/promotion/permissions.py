"""What the function may do: read here, and change what it promotes to.

Where both are one environment, one role has both. Else the function may only read here, and take
the role of the other environment, which that environment's own stack makes and trusts to this
function alone: no bucket, key or registry is opened to another account.

It may write a version's properties and never its status, so that it can approve nothing; in the
next environment it may register a version only as pending.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from cdk.roles import wildcards
from cdk.roles.names import Names
from cdk.roles.statements import READ, WRITE, allow, use_key
from pipeline.cloud.promotion.copying import FOLDER

PUSHED = "pushed"
_STATUS = "sagemaker:ModelApprovalStatus"


def of_source(names: Names) -> list[iam.PolicyStatement]:
    """Reads the version, its package and its model; writes its history."""
    pipeline, models, deployments = (
        names.bucket(purpose) for purpose in ("pipeline", "models", "deployments")
    )
    components = names.settings.components_prefix
    return [
        *_registry(names),
        allow(
            "ReadPackagesAndModels",
            READ,
            [
                f"{pipeline}/executions/*/PackageComponent/*",
                f"{pipeline}/executions/*/TrainModel/*",
                *(f"{deployments}/{prefix}/*" for prefix in (PUSHED, components)),
                *(f"{models}/{prefix}/*" for prefix in (PUSHED, FOLDER)),
            ],
        ),
        # without it S3 says of an object that is gone that it may not be read
        allow("SeeWhatIsGone", ["s3:ListBucket"], [pipeline, models, deployments]),
        allow("VerifySignature", ["kms:Verify"], [names.signing_key_arn]),
    ]


def of_target(names: Names, *, elsewhere: bool) -> list[iam.PolicyStatement]:
    """Publishes, deploys, and reads what the canary tells."""
    settings = names.settings
    deployments, processed = names.bucket("deployments"), names.bucket("processed")
    prefixes = (settings.components_prefix, settings.promotions_prefix, settings.references_prefix)
    windows = f"{settings.telemetry_prefix}/*"
    return [
        allow("PublishAndRecord", [*READ, *WRITE], [f"{deployments}/{one}/*" for one in prefixes]),
        allow("ReadWindows", READ, [f"{processed}/{windows}"]),
        allow(
            "ListWindows", ["s3:ListBucket"], [processed], {"StringLike": {"s3:prefix": [windows]}}
        ),
        allow("DescribeKey", ["kms:DescribeKey"], [names.key_arn]),
        use_key(names, ["kms:Decrypt", "kms:GenerateDataKey"], through=["s3"]),
        *(_elsewhere(names) if elsewhere else []),
        *_greengrass(names),
    ]


def _registry(names: Names) -> list[iam.PolicyStatement]:
    return [
        allow("ReadVersion", ["sagemaker:DescribeModelPackage"], names.model_packages),
        allow(
            "WriteHistory",
            ["sagemaker:UpdateModelPackage"],
            names.model_packages,
            {"Null": {_STATUS: "true"}},
        ),
    ]


def _elsewhere(names: Names) -> list[iam.PolicyStatement]:
    """What is copied into another environment beside the component."""
    models, deployments = names.bucket("models"), names.bucket("deployments")
    return [
        *_registry(names),
        allow(
            "RegisterCopy",
            ["sagemaker:CreateModelPackage", "sagemaker:ListModelPackages"],
            names.model_packages,
        ),
        iam.PolicyStatement(
            sid="ApproveNothing",
            effect=iam.Effect.DENY,
            actions=["sagemaker:CreateModelPackage"],
            resources=names.model_packages,
            conditions={"StringEquals": {_STATUS: "Approved"}},
        ),
        allow("CopyModels", [*READ, *WRITE], [f"{models}/{FOLDER}/*"]),
        allow("SeeWhatIsGone", ["s3:ListBucket"], [models, deployments]),
        allow("CounterSign", ["kms:Sign"], [names.signing_key_arn]),
    ]


def _greengrass(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    component = names.arn("greengrass", f"components:{settings.component_name}")
    made = [f"{component}:versions:*", names.arn("greengrass", "deployments:*")]
    groups = [
        names.arn("iot", f"thinggroup/{name}")
        for name in (settings.thing_group, settings.canary_group)
    ]
    return [
        wildcards.statement("DeployToFleet", settings),
        allow(
            "PublishComponent",
            ["greengrass:CreateComponentVersion", "greengrass:DescribeComponent"],
            [component, f"{component}:versions:*"],
        ),
        allow("TagWhatItMakes", ["greengrass:TagResource"], [component, *made]),
        allow(
            "FollowDeployments",
            [
                "greengrass:CancelDeployment",
                "greengrass:GetDeployment",
                "greengrass:ListEffectiveDeployments",
            ],
            [names.arn("greengrass", "coreDevices:*"), names.arn("greengrass", "deployments:*")],
        ),
        # Greengrass makes a job, in the name of whoever deploys
        allow(
            "DeployToGroups",
            ["iot:CancelJob", "iot:CreateJob", "iot:DescribeJob", "iot:UpdateJob"],
            [names.arn("iot", "job/*"), *groups],
        ),
        allow("FindDevices", ["iot:DescribeThingGroup", "iot:ListThingsInThingGroup"], groups),
    ]
