"""The delivery pipeline: its stages, what is handed from one to the next, and who may do what."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from moto.events.models import EventPattern

from cdk import nag
from cdk.app import add_stacks, new_app
from cdk.context import Request
from cdk.delivery.pipeline import DOCUMENTS
from pipeline.cli.app import app as slm
from pipeline.cloud.delivery.deploying import BY_HAND, command
from pipeline.settings import Settings
from tests.cdk.delivery import CONNECTION, ONE_ACCOUNT, THREE_ACCOUNTS, write_environments
from tests.cdk.policies import Call, Statement, is_allowed, listed, resolve, statements_in
from tests.cdk.synthesized import CDK_JSON, Synthesized, synthesize

pytestmark = pytest.mark.infra

TOOLING = "111111111111"
NAME = "slm-edge-dev-delivery"
BUILDSPECS = Path(__file__).resolve().parents[2] / "cdk/delivery/buildspecs"


@dataclass(frozen=True)
class Delivery:
    """The settings of all environments, and the tooling environment's templates."""

    folder: Path
    settings: Settings
    stacks: Synthesized

    def target(self, name: str) -> Settings:
        return Settings.read(self.folder / f"{name}.toml")

    @cached_property
    def pipeline(self) -> Mapping[str, Any]:
        return resolve(self.stacks.only("AWS::CodePipeline::Pipeline"), self._names)

    @property
    def stages(self) -> dict[str, list[Mapping[str, Any]]]:
        return {stage["Name"]: stage["Actions"] for stage in self.pipeline["Stages"]}

    @cached_property
    def projects(self) -> dict[str, Mapping[str, Any]]:
        found = self.stacks.resources("AWS::CodeBuild::Project", "delivery").values()
        return {one["Properties"]["Name"]: one["Properties"] for one in found}

    @cached_property
    def _names(self) -> dict[str, str]:
        own = self.stacks.resources("AWS::CodeBuild::Project", "delivery")
        return {
            **self.stacks.names,
            **{logical_id: one["Properties"]["Name"] for logical_id, one in own.items()},
        }

    def given(self, action: Mapping[str, Any]) -> dict[str, str]:
        """What an action hands to its build, with what the project adds."""
        found = json.loads(action["Configuration"].get("EnvironmentVariables", "[]"))
        project = self.projects[action["Configuration"]["ProjectName"]]
        found = [
            {"name": one["Name"], "value": one["Value"]}
            for one in project["Environment"].get("EnvironmentVariables", [])
        ] + found
        return {one["name"]: one["value"] for one in found}

    def builds(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Stage and action of every build, in order."""
        return [
            (stage, action)
            for stage, actions in self.stages.items()
            for action in sorted(actions, key=lambda one: one["RunOrder"])
            if action["ActionTypeId"]["Provider"] == "CodeBuild"
        ]

    def role(self, name: str) -> list[Statement]:
        return self.stacks.statements_of(f"{NAME}-{name}")

    @cached_property
    def boundary(self) -> list[Statement]:
        return self.stacks.managed_policy(f"{NAME}-boundary")

    def may(self, role: str, action: str, resource: str, **context: str) -> bool:
        call = Call(action, resource, context)
        return is_allowed(call, self.role(role), boundary=self.boundary)


def made(folder: Path, accounts: Mapping[str, str], more: str = "") -> Delivery:
    settings = write_environments(folder, accounts, more)
    return Delivery(folder, settings, synthesize(settings, folder / "out", whole=True))


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """Three accounts."""
    return made(tmp_path_factory.mktemp("delivery"), THREE_ACCOUNTS)


@pytest.fixture(scope="module")
def staging(delivery: Delivery) -> Synthesized:
    """Staging's own stacks, in its own account."""
    settings = delivery.target("staging")
    return synthesize(settings, delivery.folder / "staging-out")


# The stages -------------------------------------------------------------------------------


def test_a_commit_passes_tests_images_dev_staging_and_an_approval_before_prod(
    delivery: Delivery,
) -> None:
    found = {
        stage: [action["Name"] for action in sorted(actions, key=lambda one: one["RunOrder"])]
        for stage, actions in delivery.stages.items()
    }
    assert found == {
        "Source": ["Fetch"],
        "Test": ["Test"],
        "Images": ["Build"],
        "Dev": ["Deploy", "Run"],
        "Staging": ["Deploy", "Run", "Device-x86", "Device-arm"],
        "Approve": ["Approve"],
        "Prod": ["Deploy", "Promote"],
    }
    assert list(found) == ["Source", "Test", "Images", "Dev", "Staging", "Approve", "Prod"]
    orders = [action["RunOrder"] for action in delivery.stages["Staging"]]
    assert orders == [1, 2, 3, 3]


def test_releases_queue_up_and_a_person_can_name_another_dataset(delivery: Delivery) -> None:
    assert delivery.pipeline["PipelineType"] == "V2"
    assert delivery.pipeline["ExecutionMode"] == "QUEUED"
    [variable] = delivery.pipeline["Variables"]
    assert (variable["Name"], variable["DefaultValue"]) == ("Dataset", "default")
    run = delivery.given(delivery.stages["Staging"][1])
    assert run["SLM_DATASET"] == "#{variables.Dataset}"


def test_only_the_images_stage_builds_and_every_deployment_gets_the_same_digests(
    delivery: Delivery,
) -> None:
    privileged = [
        name for name, one in delivery.projects.items() if one["Environment"]["PrivilegedMode"]
    ]
    assert privileged == [f"{NAME}-images"]
    deployments = [a for _, a in delivery.builds() if a["Name"] == "Deploy"]
    digests = [
        {k: v for k, v in delivery.given(one).items() if k.endswith("_IMAGE")}
        for one in deployments
    ]
    assert (
        digests
        == [
            {
                "SLM_PROCESSING_IMAGE": "#{Images.PROCESSING_IMAGE}",
                "SLM_TRAINING_IMAGE": "#{Images.TRAINING_IMAGE}",
            }
        ]
        * 3
    )


def test_every_build_of_a_release_is_told_the_same_commit(delivery: Delivery) -> None:
    commits = {
        value
        for _, action in delivery.builds()
        for name, value in delivery.given(action).items()
        if name == "SLM_COMMIT"
    }
    assert commits == {"#{Source.CommitId}"}


def test_devices_and_promotion_get_the_package_that_the_run_in_staging_made(
    delivery: Delivery,
) -> None:
    for name in ("Device-x86", "Device-arm", "Promote"):
        [action] = [one for _, one in delivery.builds() if one["Name"] == name]
        given = delivery.given(action)
        assert given["SLM_MODEL_PACKAGE"] == "#{Staged.MODEL_PACKAGE}"
        assert given["SLM_PACKAGE_SHA256"] == "#{Staged.PACKAGE_SHA256}"
    assert given["SLM_ENV"].endswith("/staging.toml")
    assert given["SLM_TO"].endswith("/prod.toml")


def test_whoever_approves_is_told_and_sees_figures_and_the_report(delivery: Delivery) -> None:
    [approval] = delivery.stages["Approve"]
    assert approval["ActionTypeId"] == {
        "Category": "Approval", "Owner": "AWS", "Provider": "Manual", "Version": "1",
    }  # fmt: skip
    assert approval["Configuration"] == {
        "NotificationArn": delivery.settings.alert_topic_arn,
        "CustomData": "#{Staged.FIGURES}",
        "ExternalEntityLink": "#{Staged.REPORT}",
    }
    assert approval["TimeoutInMinutes"] == 7 * 24 * 60


# What starts it ---------------------------------------------------------------------------


def matches(pattern: str, path: str) -> bool:
    """``*`` within a folder, ``**`` across folders ("Working with glob patterns in syntax")."""
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    forms = {"**/": "(?:.*/)", "**": ".*", "*": "[^/]*"}
    return re.fullmatch("".join(forms.get(one, re.escape(one)) for one in parts), path) is not None


def starts(delivery: Delivery, branch: str, *changed: str) -> bool:
    """Whether a push to a branch that changed these files starts the pipeline."""
    [trigger] = delivery.pipeline["Triggers"]
    [push] = trigger["GitConfiguration"]["Push"]
    assert trigger["GitConfiguration"]["SourceActionName"] == "Fetch"
    excluded = push["FilePaths"]["Excludes"]
    assert len(excluded) <= 8
    assert "Includes" not in push["FilePaths"]
    of_branch = branch in push["Branches"]["Includes"]
    return of_branch and any(not any(matches(p, path) for p in excluded) for path in changed)


@pytest.mark.parametrize(
    ("branch", "changed", "expected"),
    [
        ("main", ["steps/train/job.py"], True),
        ("main", ["pipeline/environments/prod.toml"], True),
        ("main", ["data/smart_home/utterances.jsonl"], True),
        ("main", ["docs/delivery.md", "steps/train/job.py"], True),
        ("main", ["docs/delivery.md"], False),
        ("main", ["docs/images/infrastructure.svg", "README.md"], False),
        ("main", ["data/smart_home/README.md", "LICENSE"], False),
        ("main", [".github/workflows/test.yml"], False),
        ("feature", ["steps/train/job.py"], False),
    ],
)
def test_a_push_to_the_branch_starts_a_release_unless_it_changes_documents_alone(
    delivery: Delivery, branch: str, changed: list[str], expected: bool
) -> None:
    assert starts(delivery, branch, *changed) is expected


def test_no_file_that_an_image_or_a_stack_is_made_of_counts_as_a_document(repository: Path) -> None:
    listing = ["git", "ls-files", "cdk", "pipeline", "steps", "edge", "containers", "data"]
    done = subprocess.run(listing, cwd=repository, capture_output=True, text=True, check=False)
    paths = [path for path in done.stdout.splitlines() if not path.endswith((".md", "LICENSE"))]
    if done.returncode or not paths:
        pytest.skip("not a checkout")
    assert [path for path in paths if any(matches(one, path) for one in DOCUMENTS)] == []


def test_the_source_comes_through_the_connection_and_nothing_polls(delivery: Delivery) -> None:
    [fetch] = delivery.stages["Source"]
    assert fetch["Configuration"] == {
        "ConnectionArn": CONNECTION,
        "FullRepositoryId": "example/slm-edge",
        "BranchName": "main",
        "DetectChanges": False,
    }


def test_the_stack_says_that_a_connection_has_to_be_confirmed(delivery: Delivery) -> None:
    output = delivery.stacks.templates["delivery"]["Outputs"]["Connection"]
    assert "Nothing starts before a person has confirmed the connection" in output["Description"]
    assert "slm check --env dev" in output["Value"]


# What the builds do -----------------------------------------------------------------------


def buildspec(project: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(project["Source"]["BuildSpec"])
    assert path.parent == Path("cdk/delivery/buildspecs")
    return yaml.safe_load((BUILDSPECS / path.name).read_text(encoding="utf-8"))


def commands(spec: Mapping[str, Any]) -> list[str]:
    return [line for phase in spec["phases"].values() for line in phase.get("commands", [])]


def test_every_buildspec_is_used_and_every_project_runs(delivery: Delivery) -> None:
    used = {Path(one["Source"]["BuildSpec"]).name for one in delivery.projects.values()}
    assert used == {path.name for path in BUILDSPECS.glob("*.yml")}
    run = {action["Configuration"]["ProjectName"] for _, action in delivery.builds()}
    assert run == set(delivery.projects)


def test_the_readmes_test_command_is_the_one_that_a_release_is_tested_with(
    delivery: Delivery, repository: Path
) -> None:
    assert commands(buildspec(delivery.projects[f"{NAME}-test"])) == [
        "make check", "make test", "make synth",
    ]  # fmt: skip
    assert "\nmake test " in (repository / "README.md").read_text()


def test_every_command_of_a_buildspec_is_known_and_has_all_that_it_needs(
    delivery: Delivery, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that a command requires come from the variables that the pipeline hands it."""
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    for _, action in delivery.builds():
        spec = buildspec(delivery.projects[action["Configuration"]["ProjectName"]])
        for line in commands(spec):
            words = shlex.split(line)
            if words[0] == "make":
                assert set(words[1:]) <= targets, line
            elif words[0] == ".":
                assert words[1:] == ["build/delivery/variables.sh"]
            else:
                assert words[:2] == [".venv/bin/slm", "deliver"], line
                with monkeypatch.context() as patch:
                    for name, value in delivery.given(action).items():
                        patch.setenv(name, value)
                    parse(words[2:])


def parse(words: list[str]) -> None:
    """Parse a ``slm deliver`` command without running it."""
    group: Any = typer.main.get_command(slm)
    deliver = group.get_command(None, "deliver")
    found = deliver.get_command(None, words[0])
    assert found is not None, words
    found.make_context(words[0], words[1:])


def test_what_is_referred_to_is_exported_by_the_build_of_that_name(delivery: Delivery) -> None:
    exported = {"Source": {"CommitId"}, "variables": {"Dataset"}}
    for _, action in delivery.builds():
        if "Namespace" in action:
            spec = buildspec(delivery.projects[action["Configuration"]["ProjectName"]])
            exported[action["Namespace"]] = set(spec["env"]["exported-variables"])
    text = json.dumps(delivery.pipeline["Stages"])
    referred = set(re.findall(r"#\{(\w+)\.(\w+)\}", text))
    assert len(referred) >= 8
    assert [(n, v) for n, v in referred if v not in exported.get(n, set())] == []


def test_builds_are_encrypted_log_to_one_group_and_end(delivery: Delivery) -> None:
    [group] = delivery.stacks.resources("AWS::Logs::LogGroup", "delivery").values()
    assert group["Properties"]["LogGroupName"] == f"/aws/codebuild/{NAME}"
    assert group["Properties"]["RetentionInDays"] == 90
    assert (
        resolve(group["Properties"]["KmsKeyId"], delivery.stacks.names) == delivery.stacks.key_arn
    )
    for project in delivery.projects.values():
        assert resolve(project["EncryptionKey"], delivery.stacks.names) == delivery.stacks.key_arn
        logs = resolve(project["LogsConfig"], delivery.stacks.names)["CloudWatchLogs"]
        assert (logs["GroupName"], logs["Status"]) == (f"/aws/codebuild/{NAME}", "ENABLED")
        assert project["TimeoutInMinutes"] <= 480


def test_artifacts_lie_in_the_bucket_that_is_there_under_the_one_key(delivery: Delivery) -> None:
    store = delivery.pipeline["ArtifactStore"]
    assert store["Location"] == delivery.settings.pipeline_bucket
    assert store["EncryptionKey"] == {"Id": delivery.stacks.key_arn, "Type": "KMS"}
    assert not delivery.stacks.resources("AWS::S3::Bucket", "delivery")
    assert not delivery.stacks.resources("AWS::KMS::Key", "delivery")


def test_the_bucket_takes_what_codepipeline_uploads(delivery: Delivery) -> None:
    key = f"{delivery.settings.pipeline_bucket}/{delivery.settings.delivery_prefix}/Source/a.zip"
    context = {
        "aws:SecureTransport": "true",
        "s3:TlsVersion": "1.3",
        "s3:x-amz-server-side-encryption": "aws:kms",
        "s3:x-amz-server-side-encryption-aws-kms-key-id": delivery.stacks.key_arn,
    }
    call = Call("s3:PutObject", f"arn:aws:s3:::{key}", context, {"AWS": f"arn:aws:iam::{TOOLING}:role/x"})  # fmt: skip  # noqa: E501
    policy = delivery.stacks.bucket_policy(delivery.settings.pipeline_bucket)
    assert is_allowed(
        call, delivery.role("pipeline"), boundary=delivery.boundary, resource_policy=policy
    )


# Who may do what --------------------------------------------------------------------------

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


# Accounts ---------------------------------------------------------------------------------


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


# GitHub -----------------------------------------------------------------------------------

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


# Failures ---------------------------------------------------------------------------------


def event(state: str, pipeline: str = NAME, kind: str = "Pipeline") -> dict[str, Any]:
    """Of "CodePipeline event types" in the AWS CodePipeline user guide."""
    return {
        "version": "0",
        "id": "01234567-0123-0123-0123-012345678901",
        "detail-type": f"CodePipeline {kind} Execution State Change",
        "source": "aws.codepipeline",
        "account": TOOLING,
        "time": "2026-11-24T10:00:00Z",
        "region": "eu-west-1",
        "resources": [f"arn:aws:codepipeline:eu-west-1:{TOOLING}:{pipeline}"],
        "detail": {
            "pipeline": pipeline,
            "execution-id": "12345678-1234-5678-abcd-12345678abcd",
            "state": state,
            "version": 3.0,
        },
    }


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        (event("FAILED"), True),
        (event("SUCCEEDED"), False),
        (event("STARTED"), False),
        (event("SUPERSEDED"), False),
        (event("FAILED", "somebody-elses"), False),
        (event("FAILED", "slm-edge-dev"), False),
        (event("FAILED", kind="Stage"), False),
        ({**event("FAILED"), "source": "somebody"}, False),
    ],
)
def test_only_a_release_of_this_pipeline_that_failed_is_told(
    delivery: Delivery, happened: dict[str, Any], told: bool
) -> None:
    [rule] = delivery.stacks.resources("AWS::Events::Rule", "delivery").values()
    pattern = json.dumps(rule["Properties"]["EventPattern"])
    assert EventPattern.load(pattern).matches_event(happened) is told


def test_a_failure_reaches_the_alert_topic_with_the_place_that_says_why(delivery: Delivery) -> None:
    [rule] = delivery.stacks.resources("AWS::Events::Rule", "delivery").values()
    [target] = resolve(rule["Properties"]["Targets"], delivery.stacks.names)
    assert target["Arn"] == delivery.settings.alert_topic_arn
    text = target["InputTransformer"]["InputTemplate"]
    assert f"pipelines/{NAME}/executions/<detail-execution-id>/timeline" in text
    assert set(re.findall(r"<([\w-]+)>", text)) == set(target["InputTransformer"]["InputPathsMap"])


# The rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "staging"])
def test_nag_has_an_answer_to_every_finding_and_no_answer_is_left_over(
    delivery: Delivery, name: str
) -> None:
    settings = delivery.target(name)
    app = new_app(delivery.folder / f"nag-{name}")
    add_stacks(app, Request(settings, "build"))
    entries = nag.acknowledged(settings)
    findings = nag.findings(app)
    unanswered = [
        (path, finding)
        for path, finding in findings
        if not any(one.is_about(path, finding) for one in entries)
        if "elivery" in path or "/GitHub/" in path
    ]
    assert unanswered == []
    ours = [
        one for one in entries if "delivery" in one.reason or "caller's and knows" in one.reason
    ]
    assert len(ours) == (3 if name == "dev" else 1)
    for entry in ours:
        assert any(entry.is_about(path, finding) for path, finding in findings), entry


def test_cfn_lint_has_nothing_to_say(delivery: Delivery, staging: Synthesized) -> None:
    templates = [
        *(delivery.folder / "out").glob("*-delivery.template.json"),
        *(delivery.folder / "out").glob("*-training.template.json"),
        *(delivery.folder / "staging-out").glob("*-roles.template.json"),
    ]
    assert len(templates) == 3
    lint = [Path(sys.executable).with_name("cfn-lint"), "--regions", "eu-west-1", "--", *templates]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_synthesis_writes_the_same_bytes_again(delivery: Delivery, repository: Path) -> None:
    """In a process of its own, with another order of sets."""
    context = json.loads(CDK_JSON.read_text())["context"]
    context["settings"] = str(delivery.folder / "dev.toml")
    out = delivery.folder / "again"
    done = subprocess.run(
        [sys.executable, "-m", "cdk.app"],
        cwd=repository,
        env={
            **os.environ,
            "PYTHONHASHSEED": "7",
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": json.dumps(context),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in (delivery.folder / "out").glob("*.template.json"):
        ours, again = (json.loads(one.read_text()) for one in (path, out / path.name))
        assert _without_answers(ours) == _without_answers(again), path.name


def _without_answers(template: dict[str, Any]) -> dict[str, Any]:
    """nag's own metadata, which only the command attaches, left out."""
    for resource in template["Resources"].values():
        resource.pop("Metadata", None)
    return template


def test_delivery_deploys_every_stack_but_those_that_a_person_deploys(
    delivery: Delivery, repository: Path
) -> None:
    """Which stacks the pattern means is asked of the command itself."""
    words = command(delivery.settings, delivery.folder / "dev.toml")
    pattern = words[2]
    assert BY_HAND == ("delivery", "identity")
    done = subprocess.run(
        [words[0], "list", pattern, "--app", str(delivery.folder / "out")],
        cwd=repository,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = set(delivery.stacks.templates) - {"delivery"}
    assert set(done.stdout.split()) == {delivery.settings.stack_name(part) for part in parts}
    assert listed(words).count("images=prebuilt") == 1
