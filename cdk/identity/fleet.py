"""What a platform engineer may do with devices: all that ``slm fleet`` calls, and promotion.

Devices are the project's by their groups, and a certificate by what it is attached to; neither is
in an ARN. What is made (a thing, a certificate) is therefore allowed by kind, and what gives a
device its rights (the policy, the groups) by name: a thing that is put into no group and gets no
policy is an entry in a list.

Leaves out: people's other rights (permissions.py).
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from cdk.roles import wildcards
from cdk.roles.names import Names
from cdk.roles.statements import READ, WRITE, allow


def statements(names: Names) -> list[iam.PolicyStatement]:
    """Devices, components, deployments, the packages, the public key, and promotion."""
    return [*_devices(names), *_deployments(names), *_packages(names), *_promotion(names)]


def _devices(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    things, certificates = names.arn("iot", "thing/*"), names.arn("iot", "cert/*")
    groups = [
        names.arn("iot", f"thinggroup/{name}")
        for name in (settings.thing_group, settings.canary_group)
    ]
    return [
        wildcards.statement("UseFleet", settings),
        allow(
            "ProvisionDevices",
            [
                "iot:AttachThingPrincipal",
                "iot:CreateThing",
                "iot:DeleteCertificate",
                "iot:DeleteThing",
                "iot:DescribeCertificate",
                "iot:DescribeThing",
                "iot:DetachThingPrincipal",
                "iot:ListThingGroupsForThing",
                "iot:ListThingPrincipals",
                "iot:UpdateCertificate",
            ],
            [things, certificates],
        ),
        allow(
            "GiveRightsToDevices",
            ["iot:AttachPolicy", "iot:DetachPolicy"],
            [certificates],
        ),
        allow(
            "GroupDevices",
            [
                "iot:AddThingToThingGroup",
                "iot:DescribeThingGroup",
                "iot:ListThingsInThingGroup",
                "iot:RemoveThingFromThingGroup",
            ],
            [things, *groups],
        ),
    ]


def _deployments(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    component = names.arn("greengrass", f"components:{settings.component_name}")
    cores = names.arn("greengrass", "coreDevices:*")
    return [
        allow(
            "PublishComponents",
            [
                "greengrass:CreateComponentVersion",
                "greengrass:DescribeComponent",
                "greengrass:GetComponent",
                "greengrass:ListComponentVersions",
            ],
            [component, f"{component}:versions:*"],
        ),
        allow(
            "FollowDevices",
            [
                "greengrass:CancelDeployment",
                "greengrass:DeleteCoreDevice",
                "greengrass:GetCoreDevice",
                "greengrass:GetDeployment",
                "greengrass:ListEffectiveDeployments",
                "greengrass:ListInstalledComponents",
            ],
            [cores, names.arn("greengrass", "deployments:*")],
        ),
        # Greengrass makes a job, in the name of whoever deploys
        allow(
            "DeployToGroups",
            ["iot:CancelJob", "iot:CreateJob", "iot:DescribeJob", "iot:UpdateJob"],
            [
                names.arn("iot", "job/*"),
                *(
                    names.arn("iot", f"thinggroup/{name}")
                    for name in (settings.thing_group, settings.canary_group)
                ),
            ],
        ),
    ]


def _packages(names: Names) -> list[iam.PolicyStatement]:
    settings = names.settings
    deployments, files = names.bucket("deployments"), names.bucket("pipeline")
    components = f"{deployments}/{settings.components_prefix}/*"
    made = "executions/*/PackageComponent/*"
    return [
        allow("PublishPackages", [*READ, *WRITE], [components]),
        allow("ReadPackages", READ, [f"{files}/{made}"]),
        allow("FindPackages", ["s3:ListBucket"], [files], {"StringLike": {"s3:prefix": [made]}}),
        allow("FindComponents", ["s3:ListBucket"], [deployments]),
        allow(
            "EncryptPackages",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            [names.key_arn],
            {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": settings.kms_alias},
                "StringEquals": {"kms:ViaService": f"s3.{settings.region}.amazonaws.com"},
            },
        ),
        allow(
            "FindKey",
            ["kms:DescribeKey"],
            [names.key_arn],
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": settings.kms_alias}},
        ),
        allow(
            "ReadPublicKey",
            ["kms:DescribeKey", "kms:GetPublicKey"],
            [names.key_arn],  # every key, of which the condition picks the one
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": settings.signing_alias}},
        ),
    ]


def _promotion(names: Names) -> list[iam.PolicyStatement]:
    """Starts the machine that promotes, which alone reads models and deploys what it verified."""
    settings = names.settings
    records = f"{names.bucket('deployments')}/{settings.promotions_prefix}/*"
    return [
        allow("StartPromotion", ["states:StartExecution"], [settings.promotion_machine_arn]),
        allow("ReadPromotions", READ, [records]),
    ]
