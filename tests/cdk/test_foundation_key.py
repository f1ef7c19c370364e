"""The key that encrypts: one, rotated, managed by the account, used by those that it names."""

from __future__ import annotations

import pytest

from cdk.identity.names import permission_set_name
from pipeline.names import ROLE_KINDS
from pipeline.sections import PERMISSION_SETS
from tests.cdk.policies import Call, effect_of, statements_in
from tests.cdk.synthesized import Synthesized

ACCOUNT = "111111111111"
OURS = {"aws:SourceAccount": ACCOUNT}
THEIRS = {"aws:SourceAccount": "222222222222"}
BUDGET = {"aws:SourceArn": f"arn:aws:budgets::{ACCOUNT}:budget/slm-edge-dev-monthly"}


def effect(stacks: Synthesized, action: str, principal: dict[str, str], **context: str):
    policy = stacks.key()["KeyPolicy"]
    if "AWS" in principal:
        context = {**context, "aws:PrincipalArn": principal["AWS"]}
    call = Call(action, stacks.key_arn, context, principal)
    return effect_of(call, statements_in(policy, stacks.names))


def role(path: str, account: str = ACCOUNT) -> dict[str, str]:
    return {"AWS": f"arn:aws:iam::{account}:role/{path}"}


def aliases(stacks: Synthesized) -> set[str]:
    found = stacks.resources("AWS::KMS::Alias").values()
    return {one["Properties"]["AliasName"] for one in found}


def test_there_is_one_key_that_encrypts_and_it_rotates(dev):
    assert dev.key()["EnableKeyRotation"] is True
    assert aliases(dev) == {dev.settings.kms_alias, dev.settings.signing_alias}


def test_the_alias_is_the_projects_also_where_settings_name_the_key_by_its_id(synthesized):
    named = synthesized("dev", kms_key="key/1234abcd-12ab-34cd-56ef-1234567890ab")
    assert "alias/slm-edge-dev" in aliases(named)


def test_a_deletion_of_the_key_waits_a_week_in_dev_and_a_month_in_prod(dev, prod):
    for use in ("ENCRYPT_DECRYPT", "SIGN_VERIFY"):
        assert dev.key(use)["PendingWindowInDays"] == 7
        assert prod.key(use)["PendingWindowInDays"] == 30


def test_an_administrator_of_the_account_manages_the_key_without_using_it(dev):
    administrator = role("Administrator")
    assert effect(dev, "kms:PutKeyPolicy", administrator) == "Allow"
    assert effect(dev, "kms:ScheduleKeyDeletion", administrator) == "Allow"
    for action in ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant"):
        assert effect(dev, action, administrator) is None


@pytest.mark.parametrize("kind", ROLE_KINDS)
def test_a_service_role_may_use_the_key(dev, kind):
    assert effect(dev, "kms:Decrypt", role(dev.settings.role_name(kind))) == "Allow"


@pytest.mark.parametrize("permission_set", PERMISSION_SETS)
def test_a_session_of_a_permission_set_may_use_the_key_if_its_policy_says_so(dev, permission_set):
    name = permission_set_name(dev.settings, permission_set)
    session = role(
        f"aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_{name}_0123456789abcdef"
    )
    assert effect(dev, "kms:Decrypt", session) == "Allow"


def test_cloudformation_may_use_the_key_for_what_it_makes(dev):
    name = f"cdk-hnb659fds-cfn-exec-role-{ACCOUNT}-eu-west-1"
    assert effect(dev, "kms:GenerateDataKey", role(name)) == "Allow"


def test_nobody_elses_role_may_use_the_key(dev):
    assert effect(dev, "kms:Decrypt", role("another-project")) is None
    assert effect(dev, "kms:Decrypt", role("slm-edge-dev-training", "222222222222")) is None
    prod = "aws-reserved/sso.amazonaws.com/AWSReservedSSO_slm-prod-auditor_0123456789abcdef"
    assert effect(dev, "kms:Decrypt", role(prod)) is None


def test_a_grant_is_made_for_a_service_only(dev):
    training = role(dev.settings.role_name("training"))
    grant = "kms:CreateGrant"
    assert effect(dev, grant, training, **{"kms:GrantIsForAWSResource": "true"}) == "Allow"
    assert effect(dev, grant, training) is None


@pytest.mark.parametrize("service", ["budgets", "cloudwatch"])
@pytest.mark.parametrize("action", ["kms:Decrypt", "kms:GenerateDataKey"])
def test_a_service_that_publishes_uses_the_key_for_this_account_only(dev, service, action):
    principal = {"Service": f"{service}.amazonaws.com"}
    source = BUDGET if service == "budgets" else {}
    assert effect(dev, action, principal, **OURS, **source) == "Allow"
    assert effect(dev, action, principal, **THEIRS, **source) is None
    assert effect(dev, action, principal, **source) is None
    assert effect(dev, "kms:Encrypt", principal, **OURS, **source) is None


@pytest.mark.parametrize("action", ["kms:Decrypt", "kms:GenerateDataKey"])
def test_eventbridge_which_names_no_source_uses_the_key_all_the_same(dev, action):
    principal = {"Service": "events.amazonaws.com"}
    assert effect(dev, action, principal) == "Allow"
    assert effect(dev, "kms:Encrypt", principal) is None


def test_budgets_uses_the_key_for_this_accounts_budgets_only(dev):
    principal = {"Service": "budgets.amazonaws.com"}
    other = {"aws:SourceArn": "arn:aws:budgets::222222222222:budget/x"}
    assert effect(dev, "kms:Decrypt", principal, **OURS, **other) is None


def test_logs_uses_the_key_for_this_projects_log_groups_only(dev):
    principal = {"Service": "logs.eu-west-1.amazonaws.com"}

    def of(account: str, group: str):
        arn = f"arn:aws:logs:eu-west-1:{account}:log-group:{group}"
        return effect(dev, "kms:Encrypt", principal, **{"kms:EncryptionContext:aws:logs:arn": arn})

    assert of(ACCOUNT, "/aws/lambda/slm-edge-dev-retraining") == "Allow"
    assert of(ACCOUNT, "/aws/lambda/another") is None
    assert of("222222222222", "/aws/lambda/slm-edge-dev-retraining") is None


def test_a_service_that_is_not_named_may_not_use_the_key(dev):
    assert effect(dev, "kms:Decrypt", {"Service": "lambda.amazonaws.com"}, **OURS) is None
