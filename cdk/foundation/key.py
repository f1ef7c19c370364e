"""The one customer-managed key, and who may use it.

One key, because a key costs $1 a month of a $10 budget. Its policy keeps two duties apart: the
account administers the key, but only the principals named here use it, and of those only the ones
whose IAM policy says so too. An administrator of the account is therefore not a reader of its data;
who must read in an emergency changes this policy first, which CloudTrail records.

Leaves out: the IAM side of each grant (cdk/roles, cdk/identity).
"""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from cdk.identity.names import permission_set_name
from cdk.roles import principals
from pipeline.settings import Settings

ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:Describe*",
    "kms:Disable*",
    "kms:Enable*",
    "kms:Get*",
    "kms:List*",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:Update*",
)
"""All that concerns the key; neither encrypting and decrypting nor granting that to others."""
USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
PUBLISHERS = ("budgets", "cloudwatch", "events")
"""Services that publish to the encrypted alert topic, or put failed events into the encrypted
dead-letter queue, in their own name."""


class EncryptionKey(Construct):
    """The key with its alias, rotated every year.

    Removed with its stack only where data is not retained, and then after the shortest delay that
    KMS knows: until it has passed, a deletion by mistake can be cancelled.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        retained = settings.retain_data
        key = kms.Key(
            self,
            "Key",
            alias=settings.kms_alias,
            description=f"Everything that {settings.name} stores",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
            pending_window=Duration.days(30 if retained else 7),
            policy=iam.PolicyDocument(statements=_statements(settings)),
        )
        self.key = cast("kms.IKey", key)


def users_of(settings: Settings) -> list[str]:
    """ARN patterns of the principals that may use the key."""
    role = f"arn:{settings.partition}:iam::{settings.account}:role"
    people = permission_set_name(settings, "*")
    return [
        # the service roles, and those that CDK names after our stacks
        f"{role}/{settings.name}-*",
        # permission sets: Identity Center makes their roles and appends a suffix of its own
        f"{role}/aws-reserved/sso.amazonaws.com/*AWSReservedSSO_{people}",
        # CloudFormation, which makes the encrypted topic, queue, repositories and function
        f"{role}/cdk-hnb659fds-cfn-exec-role-{settings.account}-{settings.region}",
    ]


def _statements(settings: Settings) -> list[iam.PolicyStatement]:
    account = principals.account(settings.account)
    users = {"ArnLike": {"aws:PrincipalArn": users_of(settings)}}
    return [
        _statement("AccountAdministersWithoutUsing", account, ADMINISTRATION),
        _statement("NamedPrincipalsUse", account, USE, users),
        _statement(
            "NamedPrincipalsGrantToServices",
            account,
            ("kms:CreateGrant",),
            # for a job's volume or an image repository, which the service encrypts by itself
            {**users, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
        *(_publisher(settings, service) for service in PUBLISHERS),
        _statement(
            "LogsEncryptOurLogGroups",
            principals.service(f"logs.{settings.region}"),
            (
                "kms:Decrypt",
                "kms:Describe*",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            ),
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": (
                        f"arn:{settings.partition}:logs:{settings.region}:{settings.account}:"
                        f"log-group:*{settings.name}*"
                    )
                }
            },
        ),
    ]


def source_conditions(settings: Settings, service: str) -> dict[str, Any]:
    """What limits a publishing service to this account.

    Nothing for EventBridge: it names no source when it publishes to an encrypted topic ("Managing
    Amazon SNS encryption keys" in the SNS developer guide), so a condition would keep every alert
    from arriving.
    """
    if service == "events":
        return {}
    return {"StringEquals": {"aws:SourceAccount": settings.account}}


def _publisher(settings: Settings, service: str) -> iam.PolicyStatement:
    conditions = source_conditions(settings, service)
    if service == "budgets":
        conditions["ArnLike"] = {
            "aws:SourceArn": f"arn:{settings.partition}:budgets::{settings.account}:*"
        }
    return _statement(
        f"{service.capitalize()}Publishes",
        principals.service(service),
        ("kms:Decrypt", "kms:GenerateDataKey*"),
        conditions,
    )


def _statement(
    sid: str,
    principal: iam.IPrincipal,
    actions: tuple[str, ...],
    conditions: dict[str, Any] | None = None,
) -> iam.PolicyStatement:
    """A statement on this key, which ``*`` means in a key policy."""
    return iam.PolicyStatement(
        sid=sid,
        principals=[principal],
        actions=list(actions),
        resources=["*"],
        conditions=conditions,
    )
