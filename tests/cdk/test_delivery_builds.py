"""What the builds of a delivery do, and that the rules have nothing to say about its stacks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cdk import nag
from cdk.app import add_stacks, new_app
from cdk.context import Request
from pipeline.cli.app import app as slm
from pipeline.cloud.delivery.deploying import BY_HAND, command
from tests.cdk.delivery import NAME, TOOLING, Delivery
from tests.cdk.policies import Call, is_allowed, listed, resolve
from tests.cdk.synthesized import CDK_JSON, Synthesized

pytestmark = pytest.mark.infra
BUILDSPECS = Path(__file__).resolve().parents[2] / "cdk/delivery/buildspecs"


# What the builds do ---------------------------------------------------------------------


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


# The rules ------------------------------------------------------------------------------


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
