"""cdk-nag: no finding is unanswered, no answer is left over, and a new finding stops synthesis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aws_cdk import App
from aws_cdk import aws_iam as iam

from cdk import nag
from cdk.app import add_stacks, main, new_app
from cdk.context import Request
from pipeline.settings import Settings
from tests.cdk.conftest import INSTANCE, changed

pytestmark = pytest.mark.infra

EVERYTHING = {
    "base_model_uri": "s3://models-of-ours/minilm/",
    "identity": {"instance_arn": INSTANCE},
    "studio": {"enabled": True, "vpc": "vpc-0a1b2c3d", "subnets": ["subnet-0a1b2c3d"]},
    "network": {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"]},
    "retraining": {"schedule": "rate(7 days)"},
}
SETTINGS = {
    "dev": Settings.load("dev"),
    "staging": Settings.load("staging"),
    "prod": Settings.load("prod"),
    "everything": changed("dev", EVERYTHING),
}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, App]:
    """The app of each environment, not synthesized yet."""
    made: dict[str, App] = {}
    for name, settings in SETTINGS.items():
        made[name] = new_app(tmp_path_factory.mktemp(name))
        add_stacks(made[name], Request(settings, "build"))
    return made


@pytest.mark.parametrize("name", SETTINGS)
def test_every_finding_is_answered_for(apps: dict[str, App], name: str) -> None:
    entries = nag.acknowledged(SETTINGS[name])
    unanswered = [
        (path, finding)
        for path, finding in nag.findings(apps[name])
        if not any(entry.is_about(path, finding) for entry in entries)
    ]
    assert unanswered == []


def test_every_answer_is_to_a_finding(apps: dict[str, App]) -> None:
    findings = nag.findings(apps["everything"])
    for entry in nag.acknowledged(SETTINGS["everything"]):
        assert any(entry.is_about(path, finding) for path, finding in findings), entry


def test_there_are_fewer_than_fifteen_answers_each_with_a_reason_of_its_own() -> None:
    entries = nag.acknowledged(SETTINGS["dev"])
    reasons = {entry.reason for entry in entries}
    assert len(entries) < 15
    assert len(reasons) == len(entries)
    assert all(len(reason.split()) >= 10 for reason in reasons)


def test_only_wildcards_and_a_queue_of_dead_letters_are_answered_for() -> None:
    others = [entry for entry in nag.acknowledged(SETTINGS["dev"]) if entry.rule != nag.WILDCARD]
    assert [(one.rule, one.where) for one in others] == [
        ("AwsSolutions-SQS3", "(Telemetry|Promotion)/DeadLetters/")
    ]


def test_no_answer_but_the_boundarys_covers_an_action_or_another_projects_bucket() -> None:
    for entry in nag.acknowledged(SETTINGS["dev"])[1:]:
        for finding in ("Action::s3:*", "Resource::arn:aws:s3:::somebody-elses/*"):
            assert not entry.is_about(
                "slm-edge-dev-roles/Processing/X", f"{nag.WILDCARD}[{finding}]"
            )


def test_an_app_whose_findings_are_answered_synthesizes_with_the_rules_attached(
    apps: dict[str, App],
) -> None:
    nag.attach(apps["everything"], SETTINGS["everything"])
    assembly = apps["everything"].synth()
    report = json.loads((Path(assembly.directory) / "validation-report.json").read_text())
    assert not [one for one in report["pluginReports"] if one.get("violations")]


def test_a_policy_that_allows_too_much_stops_synthesis(tmp_path: Path) -> None:
    app = new_app(tmp_path)
    stacks = add_stacks(app, Request(SETTINGS["dev"], "build"))
    role = iam.Role(
        stacks.training, "Careless", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")
    )
    role.add_to_policy(iam.PolicyStatement(actions=["s3:*"], resources=["*"]))
    nag.attach(app, SETTINGS["dev"])
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()


def test_the_app_attaches_the_rules_and_ends_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nag, "acknowledged", lambda _settings: ())
    monkeypatch.setattr("cdk.app.new_app", lambda: new_app(tmp_path, {"env": "dev"}))
    assert main() == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: a rule objects to a stack (see above): fix what it found, or acknowledge it with "
        "its reason in cdk/nag.py."
    ]
