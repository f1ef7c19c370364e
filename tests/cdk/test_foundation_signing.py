"""The key that signs packages: for one job's signatures, and for everybody's check of them."""

from __future__ import annotations

import pytest

from cdk.foundation.signing import NEVER
from pipeline.names import ROLE_KINDS
from pipeline.sections import PERMISSION_SETS
from tests.cdk.policies import Call, effect_of, is_allowed, statements_in
from tests.cdk.synthesized import Synthesized

ACCOUNT = "111111111111"
ECDSA = {"kms:SigningAlgorithm": "ECDSA_SHA_256"}


def effect(stacks: Synthesized, action: str, role: str, **context: str) -> str | None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    given = {key.replace("__", ":"): value for key, value in context.items()}
    call = Call(action, stacks.signing_key_arn, {**given, "aws:PrincipalArn": arn}, {"AWS": arn})
    policy = stacks.key("SIGN_VERIFY")["KeyPolicy"]
    return effect_of(call, statements_in(policy, stacks.names))


def test_the_key_signs_with_ecdsa_over_p256_and_knows_no_rotation(dev):
    key = dev.key("SIGN_VERIFY")
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    assert "EnableKeyRotation" not in key
    [alias] = [
        one["Properties"]
        for one in dev.resources("AWS::KMS::Alias").values()
        if one["Properties"]["AliasName"] == dev.settings.signing_alias
    ]
    assert alias["TargetKeyId"]["Fn::GetAtt"][0] in dev.resources("AWS::KMS::Key")


def test_what_prod_signs_with_outlives_its_stack(dev, prod):
    for stacks, policy in ((dev, "Delete"), (prod, "Retain")):
        [resource] = [
            one
            for one in stacks.resources("AWS::KMS::Key").values()
            if one["Properties"].get("KeyUsage") == "SIGN_VERIFY"
        ]
        assert resource["DeletionPolicy"] == policy


def test_packaging_signs_with_the_one_algorithm(dev):
    processing = dev.settings.role_name("processing")
    algorithm = {"kms__SigningAlgorithm": "ECDSA_SHA_256"}
    assert effect(dev, "kms:Sign", processing, **algorithm) == "Allow"
    assert effect(dev, "kms:Sign", processing) is None
    other = {"kms__SigningAlgorithm": "ECDSA_SHA_512"}
    assert effect(dev, "kms:Sign", processing, **other) is None


def test_nobody_else_signs_whatever_the_own_policy_says(dev):
    others = [dev.settings.role_name(kind) for kind in ROLE_KINDS if kind != "processing"]
    people = [
        f"aws-reserved/sso.amazonaws.com/AWSReservedSSO_slm-dev-{name}_0123456789abcdef"
        for name in PERMISSION_SETS
    ]
    for role in (*others, *people, "Administrator", dev.settings.token_exchange_role):
        assert effect(dev, "kms:Sign", role, kms__SigningAlgorithm="ECDSA_SHA_256") is None


def test_an_administrator_manages_the_key_and_hands_out_the_public_half(dev):
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:GetPublicKey"):
        assert effect(dev, action, "Administrator") == "Allow"
    for action in ("kms:CreateGrant", *NEVER):
        assert effect(dev, action, "Administrator") is None


@pytest.mark.parametrize("action", ["kms:Sign", "kms:GetPublicKey", "kms:DescribeKey"])
def test_of_the_jobs_only_the_one_that_packages_has_the_key_in_its_policy(dev, action):
    for kind in ROLE_KINDS:
        call = Call(action, dev.signing_key_arn, ECDSA)
        allowed = is_allowed(call, dev.statements(kind), boundary=dev.boundary)
        assert allowed is (kind == "processing"), kind


def test_the_key_that_encrypts_is_not_one_to_sign_with(dev):
    call = Call("kms:Sign", dev.key_arn, ECDSA)
    assert not is_allowed(call, dev.statements("processing"))
    assert not is_allowed(Call("kms:Decrypt", dev.signing_key_arn, {}), dev.statements("training"))
