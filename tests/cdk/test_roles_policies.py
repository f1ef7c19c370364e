"""What holds for every identity policy of every template, boundary and permission sets included."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_cdk import Environment
from aws_cdk import aws_iam as iam

from cdk.app import new_app
from cdk.foundation.stack import FoundationStack
from cdk.roles.stack import RolesStack
from cdk.roles.wildcards import WILDCARDS
from pipeline.names import ROLE_KINDS
from pipeline.settings import Settings
from tests.cdk.policies import (
    Call,
    Statement,
    effect_of,
    is_allowed,
    listed,
    resolve,
    statements_in,
)
from tests.cdk.synthesized import Synthesized

ACCOUNT = "111111111111"
ROLE = "AWS::IAM::Role"
SAGEMAKER = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}"
NETWORK = {"subnets": ["subnet-0a"], "security_groups": ["sg-0b"]}
NO_METRIC = ["dataset"]
"""The table has one resource for CloudWatch's metric actions, and that is not a metric."""
OF_THE_FIRST_VERSION = {"greengrass:CreateDeployment", "greengrass:ListDeployments"}
"""The table has Greengrass's two versions in one, and these know a resource in the first only."""


@pytest.fixture(scope="module")
def everything(synthesized) -> Synthesized:
    """Dev with all that adds statements: permission sets, a network, Studio, the training stack."""
    studio = {"enabled": True, "vpc": "vpc-0a", "subnets": ["subnet-0a"]}
    instance = {"instance_arn": "arn:aws:sso:::instance/ssoins-1234567890abcdef"}
    return synthesized("dev", whole=True, identity=instance, network=NETWORK, studio=studio)


@pytest.fixture(scope="module")
def aws() -> dict[str, dict[str, Any]]:
    """AWS's table of actions and the resources that each knows, as cfn-lint ships it."""
    table = importlib.resources.files("cfnlint") / "data/AdditionalSpecs/Policies.json"
    return {
        f"{service}:{action}": details
        for service, found in json.loads(table.read_text(encoding="utf-8")).items()
        for action, details in found["Actions"].items()
    }


def starred(stacks: Synthesized) -> dict[str, list[tuple[str, Any]]]:
    """Statements on every resource, by their id, with where they stand."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for where, statement in stacks.identity_policies():
        if "*" in listed(statement.get("Resource", [])):
            found.setdefault(statement.get("Sid", where), []).append((where, statement))
    return found


def test_every_statement_on_every_resource_is_in_the_list_and_says_no_more(everything):
    for sid, places in starred(everything).items():
        for where, statement in places:
            assert sid in WILDCARDS, f"{where}: {statement}"
            assert set(listed(statement["Action"])) == set(WILDCARDS[sid].actions), where
            assert statement["Effect"] == WILDCARDS[sid].effect.value.capitalize()
            assert listed(statement["Resource"]) == ["*"]


def test_everything_in_the_list_is_used_and_has_a_reason(everything):
    assert set(WILDCARDS) == set(starred(everything))
    for listed_one in WILDCARDS.values():
        assert len(listed_one.reason.split()) >= 8
        assert listed_one.reason.endswith(".")


def test_aws_knows_no_resource_for_what_is_allowed_on_every_resource(everything, aws):
    for sid, listed_one in WILDCARDS.items():
        if listed_one.effect.value == "DENY":
            continue
        for action in {*listed_one.actions} - OF_THE_FIRST_VERSION:
            assert aws[action.lower()].get("Resources") in (None, NO_METRIC), (sid, action)


def test_metrics_are_published_in_the_namespaces_of_jobs_and_of_the_project_only(everything):
    for _, statement in starred(everything)["PublishMetrics"]:
        assert statement["Condition"] == {
            "StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "slm-edge/dev"]}
        }


def test_no_policy_allows_all_actions_of_everything_or_of_a_service(everything):
    for where, statement in everything.identity_policies():
        assert "NotAction" not in statement, where
        assert "NotResource" not in statement, where
        for action in listed(statement["Action"]):
            assert action.partition(":")[2] not in ("", "*"), (where, action)


def test_every_action_that_a_policy_names_exists(everything, aws):
    for where, statement in everything.identity_policies():
        for action in listed(statement["Action"]):
            if "*" in action:
                prefix = action.lower().partition("*")[0]
                assert any(name.startswith(prefix) for name in aws), (where, action)
            else:
                assert action.lower() in aws, (where, action)


def test_no_role_has_a_policy_that_aws_manages(everything):
    text = json.dumps(everything.templates)
    assert ":iam::aws:policy" not in text
    assert "FullAccess" not in text
    for role in everything.resources("AWS::IAM::Role").values():
        assert not role["Properties"].get("ManagedPolicyArns")


def test_a_role_has_the_boundary_whichever_stack_makes_it(everything):
    roles = everything.resources("AWS::IAM::Role")
    assert len(roles) >= 6
    for logical_id, role in roles.items():
        boundary = role["Properties"].get("PermissionsBoundary")
        assert boundary is not None, logical_id
        text = json.dumps(boundary)
        assert everything.settings.boundary_name in text or "Boundary" in text


def test_the_boundary_fits_into_a_managed_policy(everything):
    """6,144 characters without white space, says IAM; with the longest names that there are."""
    [policy] = [
        one["Properties"]["PolicyDocument"]
        for one in everything.resources("AWS::IAM::ManagedPolicy").values()
        if one["Properties"]["ManagedPolicyName"] == everything.settings.boundary_name
    ]
    resolved = {**policy, "Statement": statements_in(policy, everything.names)}
    assert len(json.dumps(resolved, separators=(",", ":"))) <= 6144 - 300  # staging, ap-southeast-2


def test_a_roles_own_policy_fits_into_a_role(everything):
    """10,240 characters of inline policies, says IAM."""
    for kind in ROLE_KINDS:
        text = json.dumps(everything.statements(kind), separators=(",", ":"))
        assert len(text) <= 10_240 - 500


def test_the_boundary_holds_back_what_a_widened_policy_would_allow(dev):
    widened = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    context = {"iam:PassedToService": "sagemaker.amazonaws.com", "cloudwatch:namespace": "x"}
    training = f"arn:aws:iam::{ACCOUNT}:role/slm-edge-dev-training"
    for action, resource in [
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x"),
        ("iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/x"),
        ("iam:PutRolePolicy", training),
        ("iam:DeleteRolePermissionsBoundary", training),
        ("iam:AttachRolePolicy", training),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Administrator"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/Administrator"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/a"),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::{dev.settings.raw_bucket}"),
        ("s3:DeleteObjectVersion", f"arn:aws:s3:::{dev.settings.raw_bucket}/a"),
        ("kms:Decrypt", dev.key_arn.replace("1234abcd", "deadbeef")),
        ("kms:ScheduleKeyDeletion", dev.key_arn),
        (
            "sagemaker:DeleteModelPackage",
            f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package/x/1",
        ),
        ("sagemaker:CreateTrainingJob", f"{SAGEMAKER}:training-job/x"),
        ("cloudwatch:PutMetricData", "*"),
        ("ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"),
        ("organizations:LeaveOrganization", "*"),
    ]:
        call = Call(action, resource, context)
        assert not is_allowed(call, widened, boundary=dev.boundary), action


def test_the_boundary_cuts_nothing_that_a_role_needs(everything):
    """Of every stack's roles, each with the boundary that it has: promotion's have their own."""
    roles = [one["Properties"] for one in everything.resources(ROLE).values()]
    assert len(roles) == 16
    for role in roles:
        arn = resolve(role["PermissionsBoundary"], everything.names)
        boundary = everything.managed_policy(arn.rpartition("/")[2])
        for statement in everything.statements_of(role["RoleName"]):
            for call in calls_allowed_by(statement):
                assert effect_of(call, boundary) == "Allow", (role["RoleName"], call)


def calls_allowed_by(statement: Statement) -> Iterator[Call]:
    """A call for each pair of action and resource, with conditions that hold."""
    context = {
        key: listed(expected)[0].replace("*", "x")
        for keys in statement.get("Condition", {}).values()
        for key, expected in keys.items()
    }
    for action in listed(statement["Action"]):
        for resource in listed(statement["Resource"]):
            yield Call(action, resource.replace("*", "x"), context)


@pytest.mark.parametrize("kind", ROLE_KINDS)
def test_a_service_assumes_a_role_for_something_in_this_account_only(dev, kind):
    service = "scheduler" if kind == "retraining" else "sagemaker"
    trust = dev.role(dev.settings.role_name(kind))["AssumeRolePolicyDocument"]
    statements = statements_in(trust, dev.names)

    resource = "schedule-group/slm-edge-dev" if service == "scheduler" else "pipeline/slm/x"
    ours = f"arn:aws:{service}:eu-west-1:{ACCOUNT}:{resource}"

    def assumed(principal: str, account: str, source: str):
        context = {"aws:SourceAccount": account, "aws:SourceArn": source}
        caller = {"Service": f"{principal}.amazonaws.com"}
        return effect_of(Call("sts:AssumeRole", "*", context, caller), statements)

    assert assumed(service, ACCOUNT, ours) == "Allow"
    assert assumed(service, "222222222222", ours) is None
    assert assumed(service, ACCOUNT, ours.replace(ACCOUNT, "222222222222")) is None
    assert assumed("ec2", ACCOUNT, ours) is None
    assert assumed("lambda", ACCOUNT, ours) is None


def test_schedules_of_another_group_cannot_start_the_pipeline(dev):
    trust = dev.role(dev.settings.role_name("retraining"))["AssumeRolePolicyDocument"]
    other = f"arn:aws:scheduler:eu-west-1:{ACCOUNT}:schedule-group/default"
    context = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": other}
    call = Call("sts:AssumeRole", "*", context, {"Service": "scheduler.amazonaws.com"})
    assert effect_of(call, statements_in(trust, dev.names)) is None


def test_roles_and_boundary_have_the_names_that_the_settings_say(dev):
    names = {one["Properties"]["RoleName"] for one in dev.resources("AWS::IAM::Role").values()}
    assert {dev.settings.role_name(kind) for kind in ROLE_KINDS} <= names
    assert dev.boundary


def test_the_roles_that_are_handed_out_cannot_be_widened_by_a_grant(tmp_path):
    settings = Settings.load("dev")
    app = new_app(tmp_path)
    env = Environment(account=settings.account, region=settings.region)
    foundation = FoundationStack(app, "foundation", settings=settings, env=env)
    stack = RolesStack(app, "roles", settings=settings, foundation=foundation, env=env)
    grant = iam.PolicyStatement(actions=["s3:DeleteObject"], resources=["arn:aws:s3:::a/*"])
    stack.roles["training"].add_to_principal_policy(grant)
    app.synth()
    assert "s3:DeleteObject" not in (tmp_path / "roles.template.json").read_text(encoding="utf-8")


def test_no_template_has_an_iam_user_group_or_access_key(everything):
    kinds = {
        resource["Type"]
        for template in everything.templates.values()
        for resource in template["Resources"].values()
    }
    parts = {"foundation", "roles", "training", "edge", "promotion", "monitoring", "identity"}
    assert set(everything.templates) == parts
    assert not kinds & {
        "AWS::IAM::User",
        "AWS::IAM::Group",
        "AWS::IAM::AccessKey",
        "AWS::IAM::UserPolicy",
        "AWS::IAM::GroupPolicy",
        "AWS::IAM::UserToGroupAddition",
    }
