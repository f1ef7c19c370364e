"""The pictures and the page of roles: as the templates are, and as they are committed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cdk.drawing import security
from cdk.drawing.__main__ import DOCS, files
from cdk.drawing.access import (
    Principal,
    Statement,
    kind_of,
    level,
    overlap,
    principals,
    targets,
)
from cdk.drawing.account import AccountTemplates, Resource, example_settings, synthesize
from cdk.drawing.graph import belongs, graph_of
from cdk.drawing.reasons import REASONS, key_of, reason_of
from cdk.roles.wildcards import WILDCARDS
from pipeline.settings import Settings

pytestmark = pytest.mark.infra


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> AccountTemplates:
    folder = tmp_path_factory.mktemp("drawn")
    return synthesize(example_settings(folder), folder)


@pytest.fixture(scope="session")
def drawn(account: AccountTemplates) -> dict[str, str]:
    return dict(files(account))


def texts(svg: str) -> str:
    """All that is written in a picture."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - ours
    return "\n".join(unescape(one.text or "") for one in root.iter() if one.tag.endswith("text"))


def access(account: AccountTemplates, who: str, what: str) -> str:
    [principal] = [one for one in principals(account) if one.title == who]
    [target] = [one for one in targets(account) if one.title == what]
    return level(principal, target)


def names_of(account: AccountTemplates, *types: str) -> list[str]:
    return [one.name for one in account.of_type(*types)]


# What is committed ------------------------------------------------------------------------


def test_what_is_committed_is_what_the_templates_say(drawn: dict[str, str]) -> None:
    stale = [
        path for path, text in drawn.items() if (DOCS / path).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run make diagram"


def test_the_command_writes_the_same_bytes_from_the_same_assembly(
    account: AccountTemplates, drawn: dict[str, str], tmp_path: Path
) -> None:
    for stack, template in account.templates.items():
        path = tmp_path / "out" / f"{account.settings.stack_name(stack)}.template.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(template), encoding="utf-8")
    run(["--assembly", str(tmp_path / "out"), "--docs", str(tmp_path / "docs")], check=True)
    written = {path: (tmp_path / "docs" / path).read_text(encoding="utf-8") for path in drawn}
    assert written == drawn


def test_a_folder_without_templates_is_one_sentence(tmp_path: Path) -> None:
    ended = run(["--assembly", str(tmp_path)], check=False)
    assert ended.returncode == 1
    # jsii may warn of an old Node above it
    said = ended.stderr.splitlines()[-1]
    assert re.fullmatch(r"error: .* holds no template of slm-edge-dev: .*\.", said)
    assert "Traceback" not in ended.stderr


def run(arguments: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdk.drawing", *arguments],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        check=check,
    )


# The infrastructure -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::S3::Bucket",
        "AWS::IAM::Role",
        "AWS::Events::Rule",
        "AWS::SSO::PermissionSet",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::ECR::Repository",
        "AWS::SageMaker::Pipeline",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::CodePipeline::Pipeline",
        "AWS::CodeBuild::Project",
    ],
)
def test_the_picture_names_everything_of_a_kind(
    kind: str, account: AccountTemplates, drawn: dict[str, str]
) -> None:
    written = texts(drawn["images/infrastructure.svg"]).splitlines()
    names = names_of(account, kind)
    assert names
    assert set(names) <= set(written)


def test_every_resource_has_a_card_or_belongs_to_one(account: AccountTemplates) -> None:
    shown = {(node.resource.stack, node.resource.id) for node in graph_of(account).nodes}
    hidden = [one for one in account.resources if (one.stack, one.id) not in shown]
    assert all(belongs(one, account) for one in hidden)


def test_of_the_roles_only_those_of_builds_have_no_card_of_their_own(
    account: AccountTemplates,
) -> None:
    builds = set(names_of(account, "AWS::CodeBuild::Project"))
    roles = {one.name for one in account.of_type("AWS::IAM::Role") if belongs(one, account)}
    assert len(builds) == 10
    assert roles == builds


def test_the_delivery_pipeline_is_drawn_stage_by_stage(
    account: AccountTemplates, drawn: dict[str, str]
) -> None:
    [pipeline] = account.of_type("AWS::CodePipeline::Pipeline")
    written = texts(drawn["images/infrastructure.svg"])
    for stage in pipeline.properties["Stages"]:
        assert f"\n{stage['Name']}: " in written
    assert "Staging: Deploy, then Run, then Device-x86 and" in written
    assert "Approve: a person, within 7 days" in written
    assert "only with delivery.connection" in written


def test_a_build_says_which_roles_it_takes(account: AccountTemplates) -> None:
    said = {
        node.title: node.lines[-1]
        for node in graph_of(account).nodes
        if node.resource.type == "AWS::CodeBuild::Project"
    }
    own, bootstrap = "its role, called alike, takes", "the bootstrap's of account"
    assert said["Build test"] == f"{own} no other"
    assert said["Build prod-deploy"] == f"{own} {bootstrap} 333333333333"
    assert said["Build prod-promote"] == f"{own} slm-edge-staging-delivery, slm-edge-prod-delivery"


def test_a_release_tells_of_its_approval_and_of_its_failure(account: AccountTemplates) -> None:
    assert edges(account, stack="delivery") == {
        ("Pipeline", "tells", "Topic"),
        ("Pipeline", "tells", "Rule"),
        ("Rule", "tells", "Topic"),
    }


def test_the_page_says_who_may_assume_a_role_that_no_service_does(drawn: dict[str, str]) -> None:
    page = drawn["roles.md"]
    assert "assumed by GitHub's environment prod, only where `delivery.github` is set." in page
    assert "assumed by `slm-edge-dev-delivery-*`, only where `delivery.connection` is set" in page
    assert "so are 222222222222 and 333333333333" in page


def test_a_resource_of_a_new_type_gets_a_card(account: AccountTemplates) -> None:
    roles = account.templates["roles"]
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {}}
    more = {**roles, "Resources": {**roles["Resources"], "Lookup": table}}
    changed = AccountTemplates(account.settings, {**account.templates, "roles": more})
    svg = files(changed)["images/infrastructure.svg"]
    assert "Lookup" in texts(svg)
    assert "DynamoDB Table" in texts(svg)


def edges(account: AccountTemplates, stack: str = "") -> set[tuple[str, str, str]]:
    """What leads where, by type; only from resources of ``stack`` where one is given."""
    kinds = {one.arn: one.type.rpartition("::")[2] for one in account.resources}
    within = {one.arn for one in account.resources if one.stack == stack or not stack}
    found = (edge for edge in graph_of(account).edges if edge.source in within)
    return {(kinds[e.source], e.kind, kinds[e.target]) for e in found}


def test_new_data_leads_to_the_pipeline(account: AccountTemplates) -> None:
    assert {
        ("Bucket", "starts", "Rule"),
        ("Rule", "starts", "Function"),
        ("Function", "starts", "ScheduleGroup"),
        ("ScheduleGroup", "starts", "Pipeline"),
        ("Schedule", "starts", "Pipeline"),
    } <= edges(account)


def test_failures_and_money_lead_to_the_alert_topic(account: AccountTemplates) -> None:
    assert {
        ("Pipeline", "tells", "Rule"),
        ("Rule", "tells", "Topic"),
        ("Queue", "tells", "Alarm"),
        ("Alarm", "tells", "Topic"),
        ("Budget", "tells", "Topic"),
        ("Budget", "starts", "BudgetsAction"),
        ("BudgetsAction", "starts", "ManagedPolicy"),
        ("Rule", "fails", "Queue"),
        ("Function", "fails", "Queue"),
        ("Schedule", "fails", "Queue"),
    } <= edges(account)


def test_an_arrow_goes_when_its_cause_goes(account: AccountTemplates) -> None:
    templates = json.loads(json.dumps(account.templates))
    for template in templates.values():
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::CloudWatch::Alarm":
                del resource["Properties"]["AlarmActions"]
    changed = AccountTemplates(account.settings, templates)
    assert ("Alarm", "tells", "Topic") in edges(account)
    assert ("Alarm", "tells", "Topic") not in edges(changed)


def test_the_picture_says_which_job_has_which_role(drawn: dict[str, str]) -> None:
    written = texts(drawn["images/infrastructure.svg"])
    assert "TrainModel as training" in written
    assert "RegisterModel, CompileModel as registration" in written


def test_no_hash_of_code_is_drawn(drawn: dict[str, str]) -> None:
    """A changed step changes an image's hash, which must not change a picture."""
    assert not [path for path, text in drawn.items() if re.search(r"[0-9a-f]{32}", text)]


# Who may do what --------------------------------------------------------------------------


def test_the_security_picture_names_every_principal_and_target(
    account: AccountTemplates, drawn: dict[str, str]
) -> None:
    written = {line.removesuffix(" *") for line in texts(drawn["images/security.svg"]).split("\n")}
    assert {one.title for one in security.drawn(account)} <= written
    assert {one.title for one in targets(account)} <= written


@pytest.mark.parametrize(
    ("who", "what", "letters"),
    [
        ("data-scientist", "bucket raw", "R"),
        ("data-scientist", "bucket deployments", ""),
        ("data-scientist", "pipeline", "RW"),
        ("ml-engineer", "bucket raw", "RW"),
        ("ml-engineer", "model registry", "RW"),
        ("ml-engineer", "delivery pipeline", "RW"),
        ("data-scientist", "delivery pipeline", ""),
        ("platform-engineer", "bucket raw", "D"),
        ("auditor", "bucket raw", "S"),
        ("auditor", "bucket access logs", "R"),
        ("auditor", "encryption key", "S"),
        ("processing", "bucket raw", "R"),
        ("training", "bucket raw", ""),
        ("training", "bucket pipeline", "RW"),
        ("registration", "model registry", "RW"),
        ("retraining", "pipeline", "W"),
        ("budget", "bucket raw", ""),
        ("boundary", "bucket access logs", ""),
    ],
)
def test_a_cell_is_what_the_policy_says(
    who: str, what: str, letters: str, account: AccountTemplates
) -> None:
    assert access(account, who, what) == letters


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a*c", "abc", True),
        ("a*", "*c", True),
        ("ab*", "ac*", False),
        ("a*b*", "*b", True),
        ("", "*", True),
        ("a", "", False),
    ],
)
def test_two_patterns_overlap_when_a_text_matches_both(
    one: str, other: str, expected: bool
) -> None:
    assert overlap(one, other) is expected


def test_a_listing_is_no_reading_and_an_aborted_upload_no_writing() -> None:
    assert [kind_of(action) for action in ("s3:ListBucket", "s3:AbortMultipartUpload")] == ["S", ""]


def test_the_security_picture_leaves_out_the_roles_of_the_delivery_alone_and_says_so(
    account: AccountTemplates, drawn: dict[str, str]
) -> None:
    columns = [one.resource.arn for one in security.drawn(account)]
    left_out = [one for one in principals(account) if one.resource.arn not in columns]
    assert {one.resource.stack for one in left_out} == {"delivery"}
    assert "Not drawn: the 13 roles of the delivery stack" in texts(drawn["images/security.svg"])


def test_a_denial_gives_nothing(account: AccountTemplates) -> None:
    target = next(one for one in targets(account) if one.title == "bucket raw")
    role = account.of_type("AWS::IAM::Role")[0]
    denied = Statement("", "Deny", ("s3:GetObject",), ("*", target.patterns[1]), {})
    assert level(Principal("nobody", "service", role, (denied,)), target) == ""


def test_no_iam_user_is_said_only_where_there_is_none(account: AccountTemplates) -> None:
    svg = files(account)["images/security.svg"]
    assert "IAM users, groups and access keys: none." in texts(svg)
    roles: Any = account.templates["roles"]
    user = {"Type": "AWS::IAM::User", "Properties": {}}
    more = {**roles, "Resources": {**roles["Resources"], "Someone": user}}
    changed = AccountTemplates(account.settings, {**account.templates, "roles": more})
    assert "IAM users, groups and access keys: 1." in texts(files(changed)["images/security.svg"])


# The page of roles ------------------------------------------------------------------------


def test_the_page_has_a_table_for_every_role_and_permission_set(
    account: AccountTemplates, drawn: dict[str, str]
) -> None:
    page = drawn["roles.md"]
    for one in principals(account):
        if one.kind != "boundary":
            assert f"### {one.title}\n" in page
            assert f"`{one.resource.name}`" in page


def test_the_page_names_every_action_of_every_statement(
    account: AccountTemplates, drawn: dict[str, str]
) -> None:
    for one in principals(account):
        for statement in one.statements:
            for action in statement.actions:
                assert f"`{action}`" in drawn["roles.md"]


def test_every_statement_has_a_reason_and_every_reason_a_statement(
    account: AccountTemplates,
) -> None:
    statements = [one for who in principals(account) for one in who.statements]
    assert all(reason_of(one) for one in statements)
    assert set(REASONS) <= {key_of(one) for one in statements}


def test_the_page_lists_every_wildcard_with_its_reason(drawn: dict[str, str]) -> None:
    _, _, listed = drawn["roles.md"].partition("## Statements on every resource")
    for sid, wildcard in WILDCARDS.items():
        assert f"| {sid} |" in listed
        assert wildcard.reason.split(";")[0] in listed


def test_the_placeholder_is_called_one(drawn: dict[str, str]) -> None:
    assert "Account 111111111111 is a placeholder" in drawn["roles.md"]
    for picture in ("images/infrastructure.svg", "images/security.svg"):
        assert "account 111111111111 (a placeholder)" in texts(drawn[picture])


def test_a_name_that_two_stacks_use_is_each_stacks_own() -> None:
    def template(bucket: str) -> dict[str, Any]:
        properties = {"BucketName": bucket, "Copy": {"Ref": "Data"}}
        return {"Resources": {"Data": {"Type": "AWS::S3::Bucket", "Properties": properties}}}

    account = AccountTemplates(
        Settings.load("dev"), {"one": template("bucket-one"), "two": template("bucket-two")}
    )
    found: list[Resource] = list(account.resources)
    assert [one.properties["Copy"] for one in found] == ["bucket-one", "bucket-two"]
