"""What every device is given: an IoT policy, a role behind an alias, a thing type and two groups.

**The policy** is one for all devices. Its variable is the common name of the device's certificate,
which provisioning sets to the thing's name: AWS IoT Core does not resolve the variables of a thing
for a core device of Greengrass, whose nucleus opens more than one connection ("AWS IoT policies for
data plane operations" in the Greengrass developer guide), and a wildcard would let ``kitchen-1``
connect as ``kitchen-10``. Nobody gets a certificate with another device's name but who may call
iot:CreateCertificateFromCsr in the account.

**The groups** stand beside each other and a device is in one of them. A nucleus merges what every
group of a device asks for, and fails a deployment that asks for two versions of one component:
canary devices in a group below the fleet's, or in both, could never run another version than the
fleet.

Leaves out: things and certificates, which ``slm fleet provision`` makes, and deployments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnTag
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from constructs import Construct

from cdk.roles import principals
from cdk.roles.names import Names
from cdk.roles.statements import READ, allow, use_key

DEVICE = "${iot:Certificate.Subject.CommonName}"
"""Stands for the thing's name in the policy of a device."""
OWN_TOPICS = "slm"
"""``slm/<thing>/…``: telemetry up, requests and responses if somebody asks through the cloud."""
DATA_PLANE = (
    "greengrass:GetComponentVersionArtifact",
    "greengrass:GetDeploymentConfiguration",
    "greengrass:ListThingGroupsForCoreDevice",
    "greengrass:ResolveComponentCandidates",
)
"""What a nucleus asks of Greengrass, which answers for the device that asks."""


class Devices(Construct):
    """Policy, role, alias, thing type and groups."""

    def __init__(self, scope: Construct, construct_id: str, *, names: Names) -> None:
        super().__init__(scope, construct_id)
        settings = names.settings
        tags = [CfnTag(key=key, value=value) for key, value in settings.all_tags.items()]
        iot.CfnPolicy(
            self,
            "Policy",
            policy_name=settings.device_policy,
            policy_document={"Version": "2012-10-17", "Statement": policy(names)},
            tags=tags,
        )
        iot.CfnRoleAlias(
            self,
            "RoleAlias",
            role_alias=settings.role_alias,
            role_arn=_role(self, names).role_arn,
            credential_duration_seconds=3600,
            tags=tags,
        )
        iot.CfnThingType(
            self,
            "ThingType",
            thing_type_name=settings.thing_type,
            thing_type_properties=iot.CfnThingType.ThingTypePropertiesProperty(
                thing_type_description=f"A device of {settings.name}"
            ),
            tags=tags,
        )
        for name, group, words in (
            ("Fleet", settings.thing_group, "The devices that get a version after the canary"),
            ("Canary", settings.canary_group, "The devices that get a version first"),
        ):
            iot.CfnThingGroup(
                self,
                name,
                thing_group_name=group,
                thing_group_properties=iot.CfnThingGroup.ThingGroupPropertiesProperty(
                    thing_group_description=words
                ),
                tags=tags,
            )


def policy(names: Names) -> list[dict[str, Any]]:
    """The statements of the devices' IoT policy.

    The topics below ``$aws`` are those of "Minimal AWS IoT policy for core devices" in the
    Greengrass developer guide: jobs and shadows bring deployments, health tells how they went.
    """
    topic, topics = names.arn("iot", "topic"), names.arn("iot", "topicfilter")
    own = f"{OWN_TOPICS}/{DEVICE}/*"
    thing = f"$aws/things/{DEVICE}"
    told = [f"{thing}/jobs/*", f"{thing}/shadow/*"]
    health = [f"{thing}/greengrass/health/json", f"{thing}/greengrassv2/health/json"]
    client = names.arn("iot", f"client/{DEVICE}")
    return [
        # the nucleus calls its further connections <thing>#2 and so on; no thing's name has a #
        _statement("ConnectAsItself", ["iot:Connect"], [client, f"{client}#*"]),
        _statement("OwnTopics", ["iot:Publish", "iot:Receive"], [f"{topic}/{own}"]),
        _statement("OwnTopicFilters", ["iot:Subscribe"], [f"{topics}/{own}"]),
        _statement(
            "Greengrass",
            ["iot:Publish", "iot:Receive"],
            [f"{topic}/{one}" for one in (*told, *health)],
        ),
        _statement("GreengrassFilters", ["iot:Subscribe"], [f"{topics}/{one}" for one in told]),
        _statement(
            "TokenExchange",
            ["iot:AssumeRoleWithCertificate"],
            [names.arn("iot", f"rolealias/{names.settings.role_alias}")],
        ),
        # the data plane knows the device by its certificate, and no resource that could be named
        _statement("Deployments", DATA_PLANE, ["*"]),
    ]


def _statement(sid: str, actions: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }


def _role(scope: Construct, names: Names) -> iam.Role:
    """The token-exchange role: reads components and decrypts them, and nothing else."""
    settings = names.settings
    bucket = names.bucket("deployments")
    return iam.Role(
        scope,
        "Role",
        role_name=settings.token_exchange_role,
        description="What a device may do with credentials: read its components",
        assumed_by=principals.service(
            "credentials.iot",
            {
                "StringEquals": {"aws:SourceAccount": settings.account},
                "ArnLike": {"aws:SourceArn": names.arn("iot", "*")},
            },
        ),
        inline_policies={
            "device": iam.PolicyDocument(
                statements=[
                    allow("ReadComponents", READ, [f"{bucket}/{settings.components_prefix}/*"]),
                    # the classic nucleus looks up the region before it downloads
                    allow("FindBucket", ["s3:GetBucketLocation"], [bucket]),
                    use_key(names, ["kms:Decrypt"], through=["s3"]),
                ]
            )
        },
    )
