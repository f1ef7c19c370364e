"""Who may do what in a delivery: builds, GitHub's workflows, and other accounts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.cdk.delivery import CONNECTION, NAME, ONE_ACCOUNT, TOOLING, Delivery, made
from tests.cdk.policies import Call, Statement, is_allowed, resolve, statements_in
from tests.cdk.synthesized import Synthesized, synthesize

pytestmark = pytest.mark.infra


# Who may do what ------------------------------------------------------------------------

BUILDS = (
    "test", "images", "dev-deploy", "dev-run", "staging-deploy", "staging-run",
    "staging-device-x86", "staging-device-arm", "prod-deploy", "prod-promote",
)  # fmt: skip
TAKES = {
    "dev-deploy": {"deploy dev"},
    "staging-deploy": {"deploy staging"},
    "prod-deploy": {"deploy prod"},
    "dev-run": {"act dev"},
    "staging-run": {"act staging"},
    "staging-device-x86": {"act staging"},
    "staging-device-arm": {"act staging"},
    "prod-promote": {"act staging", "act prod"},
    "github-staging": {"deploy staging", "act staging"},
    "github-prod": {"deploy prod", "act staging", "act prod"},
}
"""What each role may take; the others nothing."""


def takeable(delivery: Delivery) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("dev", "staging", "prod"):
        target = delivery.target(name)
        role = f"cdk-hnb659fds-deploy-role-{target.account}-eu-west-1"
        found[f"deploy {name}"] = f"arn:aws:iam::{target.account}:role/{role}"
        found[f"act {name}"] = target.delivery_role_arn
    return found


@pytest.mark.parametrize("role", [*BUILDS, "github-staging", "github-prod", "pipeline"])
def test_a_role_takes_those_of_its_own_environment_and_no_other(
    delivery: Delivery, role: str
) -> None:
    roles = takeable(delivery)
    allowed = {what for what, arn in roles.items() if delivery.may(role, "sts:AssumeRole", arn)}
    assert allowed == TAKES.get(role, set())
    for foreign in ("arn:aws:iam::111111111111:role/admin", "arn:aws:iam::999999999999:role/x"):
        assert not delivery.may(role, "sts:AssumeRole", foreign)


def test_only_the_image_builds_push_layers_and_only_to_the_two_repositories(
    delivery: Delivery,
) -> None:
    own = f"arn:aws:ecr:eu-west-1:{TOOLING}:repository/slm-edge-dev/training"
    other = f"arn:aws:ecr:eu-west-1:{TOOLING}:repository/somebody-elses"
    pushing = {
        role
        for role in (*BUILDS, "github-staging", "github-prod", "pipeline")
        if delivery.may(role, "ecr:UploadLayerPart", own)
    }
    assert pushing == {"images", "github-staging"}
    assert not delivery.may("images", "ecr:UploadLayerPart", other)
    # a tag on what is there, so that it is kept, is all that a deployment adds
    assert delivery.may("prod-deploy", "ecr:PutImage", own)


def test_a_build_reads_the_source_and_nothing_else_of_the_bucket(delivery: Delivery) -> None:
    bucket = f"arn:aws:s3:::{delivery.settings.pipeline_bucket}"
    for role in BUILDS:
        assert delivery.may(role, "s3:GetObject", f"{bucket}/slm-edge-dev-deliver/Source/abc.zip")
        assert not delivery.may(role, "s3:GetObject", f"{bucket}/executions/abc/TrainModel/x")
        assert not delivery.may(role, "s3:PutObject", f"{bucket}/slm-edge-dev-deliver/Source/a")


def test_codepipeline_starts_these_builds_and_no_others(delivery: Delivery) -> None:
    start = "codebuild:StartBuild"
    project = f"arn:aws:codebuild:eu-west-1:{TOOLING}:project"
    for build in BUILDS:
        assert delivery.may("pipeline", start, f"{project}/{NAME}-{build}")
    assert not delivery.may("pipeline", start, f"{project}/somebody-elses")
    assert delivery.may("pipeline", "codeconnections:UseConnection", CONNECTION)
    assert not delivery.may("pipeline", "codeconnections:UseConnection", CONNECTION[:-1] + "0")
    assert delivery.may("pipeline", "sns:Publish", delivery.settings.alert_topic_arn)


def test_every_role_of_the_delivery_has_its_boundary_and_only_its_service(
    delivery: Delivery,
) -> None:
    roles = delivery.stacks.resources("AWS::IAM::Role", "delivery").values()
    assert len(roles) == len(BUILDS) + 3
    for role in roles:
        name = role["Properties"]["RoleName"]
        boundary = resolve(role["Properties"]["PermissionsBoundary"], delivery.stacks.names)
        assert boundary == f"arn:aws:iam::{TOOLING}:policy/{NAME}-boundary", name
        names = {**delivery.stacks.names, **provider(delivery)}
        trust = statements_in(role["Properties"]["AssumeRolePolicyDocument"], names)
        assert len(trust) == 1
        if "github" in name:
            continue
        service = "codepipeline" if name.endswith("-pipeline") else "codebuild"
        assert trust[0]["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert trust[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": TOOLING}


def test_no_role_of_an_environment_may_take_a_role(delivery: Delivery) -> None:
    """The environment's boundary, under which its jobs run, has no way to a deployment."""
    call = Call("sts:AssumeRole", takeable(delivery)["deploy dev"])
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    assert not is_allowed(call, everything, boundary=delivery.stacks.boundary)


def test_the_role_in_an_environment_runs_and_reads_there_and_no_more(staging: Synthesized) -> None:
    settings = staging.settings
    statements = staging.statements_of(settings.delivery_role)
    through = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    results = f"arn:aws:s3:::{settings.pipeline_bucket}/executions/abc"
    raw = f"arn:aws:s3:::{settings.raw_bucket}/datasets"

    def may(action: str, resource: str, **context: str) -> bool:
        call = Call(action, resource, {**through, **context})
        return is_allowed(call, statements, boundary=staging.boundary)

    assert may("sagemaker:StartPipelineExecution", settings.pipeline_arn)
    assert may("sagemaker:ListPipelineExecutionSteps", f"{settings.pipeline_arn}/execution/abc")
    assert may("s3:GetObject", f"{results}/PackageComponent/package/package.json")
    assert may("s3:PutObject", f"{raw}/delivery-0123456789abcdef/utterances.jsonl")
    package = settings.model_package_group_arn.replace("-group/", "/") + "/7"
    assert may("sagemaker:UpdateModelPackage", package)
    assert may("kms:GetPublicKey", staging.signing_key_arn)
    assert not may("kms:Sign", staging.signing_key_arn)
    assert not may("s3:GetObject", f"{results}/TrainModel/model.tar.gz")
    assert not may("s3:GetObject", f"{raw}/smart_home/utterances.jsonl")
    assert not may("s3:PutObject", f"{raw}/smart_home/manifest.json")
    assert not may("sagemaker:StartPipelineExecution", settings.pipeline_arn.replace("staging", "prod"))  # fmt: skip  # noqa: E501
    assert not may("sagemaker:CreateTrainingJob", "arn:aws:sagemaker:eu-west-1:222222222222:training-job/pipelines-a")  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("caller", "takes"),
    [
        (f"arn:aws:iam::{TOOLING}:role/{NAME}-staging-run", True),
        (f"arn:aws:iam::{TOOLING}:role/{NAME}-github-staging", True),
        (f"arn:aws:iam::{TOOLING}:role/slm-edge-dev-processing", False),
        (f"arn:aws:iam::{TOOLING}:role/slm-edge-dev-delivery", False),
        (f"arn:aws:iam::{TOOLING}:user/somebody", False),
        (f"arn:aws:iam::444444444444:role/{NAME}-staging-run", False),
    ],
)
def test_only_roles_of_the_delivery_may_take_the_role_in_an_environment(
    staging: Synthesized, caller: str, takes: bool
) -> None:
    role = staging.role(staging.settings.delivery_role)
    trust = statements_in(role["AssumeRolePolicyDocument"], staging.names)
    call = Call("sts:AssumeRole", "", {"aws:PrincipalArn": caller}, {"AWS": caller})
    found = [{**one, "Resource": "*"} for one in trust]
    assert is_allowed(call, found) is takes


def test_a_spent_budget_stops_the_delivery_from_starting_executions(staging: Synthesized) -> None:
    action = staging.only("AWS::Budgets::BudgetsAction")
    roles = action["Definition"]["IamActionDefinition"]["Roles"]
    assert staging.settings.delivery_role in roles


# Accounts -------------------------------------------------------------------------------


def pullers(stacks: Synthesized) -> dict[str, list[Statement]]:
    """Who else may pull, by repository."""
    return {
        one["Properties"]["RepositoryName"]: statements_in(
            one["Properties"]["RepositoryPolicyText"], stacks.names
        )
        for one in stacks.resources("AWS::ECR::Repository").values()
        if "RepositoryPolicyText" in one["Properties"]
    }


def test_other_accounts_jobs_pull_the_images_and_nobody_else(delivery: Delivery) -> None:
    found = pullers(delivery.stacks)
    assert set(found) == {"slm-edge-dev/processing", "slm-edge-dev/training"}
    for statements in found.values():
        everybody = [{**one, "Resource": "*"} for one in statements]
        for account, name, allowed in (
            ("222222222222", "slm-edge-staging-training", True),
            ("333333333333", "slm-edge-prod-processing", True),
            ("333333333333", "somebody", False),
            ("444444444444", "slm-edge-prod-processing", False),
        ):
            arn = f"arn:aws:iam::{account}:role/{name}"
            call = Call("ecr:BatchGetImage", "", {"aws:PrincipalArn": arn}, {"AWS": arn})
            assert is_allowed(call, everybody) is allowed, arn
            push = Call("ecr:PutImage", "", {"aws:PrincipalArn": arn}, {"AWS": arn})
            assert not is_allowed(push, everybody)


def test_in_one_account_no_other_account_is_given_anything(tmp_path: Path) -> None:
    one = made(tmp_path, ONE_ACCOUNT)
    assert pullers(one.stacks) == {}
    text = json.dumps(one.stacks.templates)
    assert not re.search(r"222222222222|333333333333", text)
    roles = takeable(one)
    assert roles["act prod"] == f"arn:aws:iam::{TOOLING}:role/slm-edge-prod-delivery"
    assert one.may("prod-promote", "sts:AssumeRole", roles["act prod"])
    assert not one.may("dev-run", "sts:AssumeRole", roles["act prod"])


def test_images_that_an_environment_runs_are_kept_apart_from_the_others(
    delivery: Delivery,
) -> None:
    for one in delivery.stacks.resources("AWS::ECR::Repository").values():
        text = one["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"]
        rules = {
            json.dumps(rule["selection"].get("tagPatternList")): rule["rulePriority"]
            for rule in json.loads(text)["rules"]
            if rule["selection"]["tagStatus"] != "untagged"
        }
        assert rules['["in-*"]'] < rules["null"]


def test_an_environment_that_is_delivered_to_has_no_delivery_stack(staging: Synthesized) -> None:
    assert "delivery" not in staging.templates
    assert staging.role("slm-edge-staging-delivery")


def test_without_settings_nothing_is_delivered(tmp_path: Path) -> None:
    stacks = synthesize(Settings.load("dev"), tmp_path)
    names = [one["Properties"].get("RoleName") for one in stacks.resources("AWS::IAM::Role").values()]  # fmt: skip  # noqa: E501
    assert "slm-edge-dev-delivery" not in names
    assert "delivery" not in stacks.templates


# GitHub ---------------------------------------------------------------------------------

ISSUER = "token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("role", "subject", "takes"),
    [
        ("github-staging", "repo:example/slm-edge:environment:staging", True),
        ("github-prod", "repo:example/slm-edge:environment:prod", True),
        ("github-prod", "repo:example/slm-edge:environment:staging", False),
        ("github-staging", "repo:example/slm-edge:pull_request", False),
        ("github-staging", "repo:example/slm-edge:ref:refs/heads/main", False),
        ("github-staging", "repo:somebody/slm-edge:environment:staging", False),
        ("github-staging", "repo:example/slm-edge2:environment:staging", False),
    ],
)
def test_a_workflow_gets_in_by_its_repository_and_environment_alone(
    delivery: Delivery, role: str, subject: str, takes: bool
) -> None:
    found = delivery.stacks.role(f"{NAME}-{role}")
    names = {**delivery.stacks.names, **provider(delivery)}
    trust = statements_in(found["AssumeRolePolicyDocument"], names)
    everybody = [{k: v for k, v in one.items() if k != "Principal"} for one in trust]
    everybody = [{**one, "Resource": "*"} for one in everybody]
    context = {f"{ISSUER}:sub": subject, f"{ISSUER}:aud": "sts.amazonaws.com"}
    action = "sts:AssumeRoleWithWebIdentity"
    assert is_allowed(Call(action, "", context), everybody) is takes
    context[f"{ISSUER}:aud"] = "somebody"
    assert not is_allowed(Call(action, "", context), everybody)


def provider(delivery: Delivery) -> dict[str, str]:
    [(logical_id, one)] = delivery.stacks.resources("AWS::IAM::OIDCProvider").items()
    assert one["Properties"]["Url"] == f"https://{ISSUER}"
    assert one["Properties"]["ClientIdList"] == ["sts.amazonaws.com"]
    return {f"{logical_id}.Arn": f"arn:aws:iam::{TOOLING}:oidc-provider/{ISSUER}"}


def test_a_provider_that_the_account_has_is_used_and_without_github_there_is_none(
    tmp_path: Path,
) -> None:
    arn = f"arn:aws:iam::{TOOLING}:oidc-provider/{ISSUER}"
    used = made(tmp_path, ONE_ACCOUNT, f'github_provider = "{arn}"')
    assert not used.stacks.resources("AWS::IAM::OIDCProvider")
    assert arn in json.dumps(used.stacks.templates["delivery"])
    file = tmp_path / "dev.toml"
    file.write_text(file.read_text().replace('github = "example/slm-edge"', "").replace(arn, ""))
    without = synthesize(Settings.read(file), tmp_path / "without", whole=True)
    assert "oidc" not in json.dumps(without.templates["delivery"]).lower()
