"""The asymmetric key that signs what devices install, and who may sign with it.

A second key beside the one that encrypts, because a symmetric key cannot sign: $1 a month, and
$0.15 for 10,000 signatures, of which a package takes one. Its private half never leaves KMS. The
account administers it, but the role of the job that packages is the only one that signs: whoever
changes that changes this policy first, which CloudTrail records. A device trusts the public half
that it was provisioned with, so the key is never rotated by itself: a new key is a new file in the
``trusted`` folder of every device, before anything is signed with it.

Leaves out: the IAM side of the grant (cdk/roles, cdk/identity), and signing (steps/package).
"""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from cdk.foundation.key import ADMINISTRATION
from cdk.roles import principals
from pipeline.settings import Settings

NEVER = ("kms:RotateKeyOnDemand",)
"""Administration that an asymmetric key does not know."""


class SigningKey(Construct):
    """The key with its alias, for ECDSA over P-256 with SHA-256.

    Retained where data is retained: without it no version could ever be signed again for devices
    that are in the field.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        retained = settings.retain_data
        key = kms.Key(
            self,
            "Key",
            alias=settings.signing_alias,
            description=f"Signs what devices of {settings.name} install",
            key_spec=kms.KeySpec.ECC_NIST_P256,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
            pending_window=Duration.days(30 if retained else 7),
            policy=iam.PolicyDocument(statements=_statements(settings)),
        )
        self.key = cast("kms.IKey", key)


def _statements(settings: Settings) -> list[iam.PolicyStatement]:
    packaging = {"aws:PrincipalArn": settings.role_arn("processing")}
    algorithm = {"kms:SigningAlgorithm": settings.edge.signing_algorithm}
    return [
        _statement(
            # with kms:Get*, which the public key is a part of: anybody may check a signature
            "AccountAdministersWithoutSigning",
            settings,
            [action for action in ADMINISTRATION if action not in NEVER],
        ),
        _statement(
            "PackagingSigns",
            settings,
            ["kms:Sign"],
            {"ArnEquals": packaging, "StringEquals": algorithm},
        ),
    ]


def _statement(
    sid: str, settings: Settings, actions: list[str], conditions: dict[str, Any] | None = None
) -> iam.PolicyStatement:
    """A statement on this key, which ``*`` means in a key policy."""
    return iam.PolicyStatement(
        sid=sid,
        principals=[principals.account(settings.account)],
        actions=actions,
        resources=["*"],
        conditions=conditions,
    )
