"""Every event rule of every stack, fed with every event: it sees what it is about and no other."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cdk.conftest import Synthesizer
from tests.cdk.events import RAW, created, drifted, ended, fits, judged, machine_ended, step_ended
from tests.cdk.policies import listed, resolve
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

MANIFEST = "datasets/smart_home/manifest.json"
EVENTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "a dataset is complete": (created(MANIFEST), "slm-edge-dev-new-data"),
    "one of its files": (created("datasets/smart_home/utterances.jsonl"), None),
    "a copy of a manifest": (created(f"{MANIFEST}.bak"), None),
    "a manifest elsewhere": (created("elsewhere/smart_home/manifest.json"), None),
    "a manifest of no dataset": (created("datasets/manifest.json"), None),
    "a manifest that goes": (created(MANIFEST, kind="Object Deleted"), None),
    "a manifest in another bucket": (created(MANIFEST, bucket="slm-pipeline-artifacts"), None),
    "in another environment's": (created(MANIFEST, bucket=RAW.replace("dev", "prod")), None),
    "an execution failed": (ended("Failed"), "slm-edge-dev-failed-execution"),
    "a drift check failed": (
        ended("Failed", "slm-edge-dev-drift"), "slm-edge-dev-failed-execution",
    ),
    "an execution succeeded": (ended("Succeeded"), None),
    "an execution was stopped": (ended("Stopped"), None),
    "an execution began": (ended("Executing"), None),
    "a step failed": (step_ended("Failed"), None),
    "another pipeline's failed": (ended("Failed", "somebody-elses"), None),
    "another environment's failed": (ended("Failed", "slm-edge-prod"), None),
    "drift": (drifted(), "slm-edge-dev-drift"),
    "drift of another version": (drifted(version="1.0.4"), "slm-edge-dev-drift"),
    "drift in another environment": (drifted(environment="prod"), None),
    "drift of another pipeline": (drifted(pipeline="slm-edge-dev-drift"), None),
    "drift that somebody else found": (drifted(source="somebody.else"), None),
    "no drift": (drifted(kind="Model Drift Checked"), None),
    "a model is approved": (judged("Approved"), "slm-edge-dev-approved"),
    "a model is rejected": (judged("Rejected"), None),
    "a model waits": (judged("PendingManualApproval"), None),
    "a promotion failed": (machine_ended("FAILED"), "slm-edge-dev-promotion-stopped"),
    "a promotion took too long": (machine_ended("TIMED_OUT"), "slm-edge-dev-promotion-stopped"),
    "a promotion went well": (machine_ended("SUCCEEDED"), None),
    "a promotion began": (machine_ended("RUNNING"), None),
    "another machine failed": (machine_ended("FAILED", "somebody-elses"), None),
    "another group's is approved": (judged("Approved", "somebody-elses"), None),
    "another environment's is approved": (judged("Approved", "slm-edge-prod-intents"), None),
}  # fmt: skip
"""An event, and the name of the one rule that sees it."""


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


def rules(stacks: Synthesized) -> dict[str, dict[str, Any]]:
    """Those that wait for an event, by name."""
    return {
        one["Properties"]["Name"]: resolve(one["Properties"], stacks.names)
        for one in stacks.resources("AWS::Events::Rule").values()
        if "EventPattern" in one["Properties"]
    }


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_seen_by_the_rule_that_is_about_it_and_by_no_other(
    whole: Synthesized, name: str
) -> None:
    event, expected = EVENTS[name]
    found = rules(whole)
    seen = [rule for rule, one in found.items() if fits(one["EventPattern"], event)]
    assert seen == ([expected] if expected in found else [])


def test_every_rule_is_fed_with_an_event_that_it_sees(whole: Synthesized) -> None:
    assert set(rules(whole)) <= {rule for _, rule in EVENTS.values()}


def test_a_failure_reaches_the_alert_topic_with_the_command_and_the_runbook(
    whole: Synthesized,
) -> None:
    [sent] = rules(whole)["slm-edge-dev-failed-execution"]["Targets"]
    assert sent["Arn"] == whole.settings.alert_topic_arn
    text = sent["InputTransformer"]["InputTemplate"]
    assert "slm watch <" in text
    assert "docs/runbook.md#failed-execution" in text
    assert set(re.findall(r"<([\w-]+)>", text)) == set(sent["InputTransformer"]["InputPathsMap"])


def test_the_topic_lets_those_publish_who_tell_of_something(whole: Synthesized) -> None:
    [policy] = whole.resources("AWS::SNS::TopicPolicy").values()
    publishers = {
        service
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Action"] == "sns:Publish"
        for service in listed(statement["Principal"]["Service"])
    }
    assert publishers == {f"{one}.amazonaws.com" for one in ("budgets", "cloudwatch", "events")}


def test_the_budget_tells_the_topic_before_the_month_is_spent(whole: Synthesized) -> None:
    budget = resolve(whole.only("AWS::Budgets::Budget"), whole.names)
    shares = {
        (one["Notification"]["NotificationType"], one["Notification"]["Threshold"])
        for one in budget["NotificationsWithSubscribers"]
        if one["Subscribers"] == [
            {"SubscriptionType": "SNS", "Address": whole.settings.alert_topic_arn}
        ]
    }  # fmt: skip
    assert ("ACTUAL", 80) in shares
    assert ("FORECASTED", 100) in shares
