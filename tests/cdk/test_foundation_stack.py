"""What holds for the stacks as such: names, tags, protection, and a linter that finds nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cdk.conftest import GROUP, INSTANCE
from tests.cdk.synthesized import Synthesized

TAGGED = (
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::IAM::Role",
    "AWS::SSO::PermissionSet",
    "AWS::IoT::Policy",
    "AWS::IoT::RoleAlias",
    "AWS::IoT::ThingGroup",
    "AWS::IoT::ThingType",
    "AWS::IoT::TopicRule",
)


def stack_in_assembly(stacks: Synthesized, part: str) -> dict:
    manifest = json.loads((stacks.folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest["artifacts"][stacks.settings.stack_name(part)]


@pytest.mark.parametrize("part", ["foundation", "roles", "identity"])
def test_a_stack_says_which_account_and_region_it_is_for(dev, part):
    environment = stack_in_assembly(dev, part)["environment"]
    assert environment == f"aws://{dev.settings.account}/{dev.settings.region}"


@pytest.mark.parametrize("part", ["foundation", "roles", "edge"])
def test_a_stack_of_prod_is_protected_from_deletion_and_one_of_dev_is_not(dev, prod, part):
    for stacks, protected in ((dev, False), (prod, True)):
        properties = stack_in_assembly(stacks, part)["properties"]
        assert properties.get("terminationProtection", False) is protected


@pytest.mark.parametrize("part", ["foundation", "roles", "edge", "identity"])
def test_a_stack_says_what_it_holds(dev, part):
    assert dev.templates[part]["Description"].startswith("slm-edge-dev: ")


@pytest.mark.parametrize("kind", TAGGED)
def test_what_can_be_tagged_says_whose_it_is(synthesized, kind):
    tags = {"owner": "speech", "cost-center": "42"}
    stacks = synthesized("dev", tags=tags, identity={"instance_arn": INSTANCE})
    expected = {"project": "slm-edge", "environment": "dev", **tags}
    resources = stacks.resources(kind)
    assert resources
    for logical_id, resource in resources.items():
        found = {tag["Key"]: tag["Value"] for tag in resource["Properties"].get("Tags", [])}
        assert expected.items() <= found.items(), logical_id


def test_names_that_others_know_are_plain_text_in_the_templates(dev):
    settings = dev.settings
    text = json.dumps(dev.templates)
    for name in (
        *settings.buckets.values(),
        settings.access_log_bucket,
        settings.kms_alias,
        settings.alert_topic_name,
        settings.boundary_name,
    ):
        assert f'"{name}"' in text, name


def test_environments_do_not_share_a_name(dev, prod):
    def names(stacks: Synthesized) -> set[str]:
        keys = ("BucketName", "RoleName", "ManagedPolicyName", "TopicName", "AliasName")
        return {
            resource["Properties"][key]
            for template in stacks.templates.values()
            for resource in template["Resources"].values()
            for key in keys
            if key in resource.get("Properties", {})
        }

    assert names(dev)
    assert not names(dev) & names(prod)


def test_the_foundation_is_told_of_no_other_stack(dev):
    """It is deployed first: nothing in it may wait for what comes later."""
    text = json.dumps(dev.templates["foundation"])
    assert "Fn::ImportValue" not in text
    assert "Fn::GetStackOutput" not in text


def test_cfn_lint_finds_nothing(synthesized, tmp_path: Path):
    people = {
        "instance_arn": INSTANCE,
        "assignments": [{"permission_set": "auditor", "principal_id": GROUP}],
    }
    network = {"subnets": ["subnet-0a"], "security_groups": ["sg-0b"]}
    stacks = synthesized("dev", identity=people, network=network)
    templates = sorted(str(path) for path in stacks.folder.glob("*.template.json"))
    assert len(templates) == 6
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), *templates],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
