"""The delivery pipeline: its stages, what starts it, and what is handed from one to the next."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern

from cdk.delivery.pipeline import DOCUMENTS
from tests.cdk.delivery import CONNECTION, NAME, TOOLING, Delivery
from tests.cdk.policies import resolve

pytestmark = pytest.mark.infra


# The stages -----------------------------------------------------------------------------


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


# What starts it -------------------------------------------------------------------------


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


# Failures -------------------------------------------------------------------------------


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
