"""Each alarm fires for what it is about and not for its nearest neighbours."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.monitoring import METRICS, TOLD
from tests.cdk.alarms import State, metrics, state
from tests.cdk.conftest import Synthesizer
from tests.cdk.policies import resolve
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

QUEUE = "ApproximateNumberOfMessagesVisible"
ELSEWHERE = {"runbook": "https://docs.example.com/runbook/", "max_error_percent": 1}
BY_ALARM = [section for section, told in TOLD.items() if told.by == "alarm"]


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


def alarms(stacks: Synthesized) -> dict[str, dict[str, Any]]:
    """Every alarm of every stack, by its section of the runbook."""
    queues = {
        f"{logical_id}.QueueName": one["Properties"]["QueueName"]
        for logical_id, one in stacks.resources("AWS::SQS::Queue").items()
    }
    found = [
        resolve(one["Properties"], {**stacks.names, **queues})
        for one in stacks.resources("AWS::CloudWatch::Alarm").values()
    ]
    return {one["AlarmName"].removeprefix(f"{stacks.settings.name}-"): one for one in found}


def test_the_alarms_are_those_of_the_list(whole: Synthesized) -> None:
    assert set(alarms(whole)) == set(BY_ALARM)


@pytest.mark.parametrize("section", BY_ALARM)
def test_an_alarm_tells_the_topic_what_it_is_about_and_where_the_runbook_says_what_to_do(
    whole: Synthesized, section: str
) -> None:
    alarm = alarms(whole)[section]
    assert alarm["AlarmActions"] == [whole.settings.alert_topic_arn]
    assert alarm.get("ActionsEnabled", True)
    said = alarm["AlarmDescription"]
    assert said == f"{TOLD[section].says}. What to do: docs/runbook.md#{section}"


def test_the_link_leads_to_where_the_settings_say_the_runbook_is(synthesized: Synthesizer) -> None:
    for section, alarm in alarms(synthesized("dev", monitoring=ELSEWHERE)).items():
        assert alarm["AlarmDescription"].endswith(f" {ELSEWHERE['runbook']}#{section}")


@pytest.mark.parametrize("section", BY_ALARM)
def test_an_alarm_reads_as_many_metrics_as_it_is_counted_with(
    whole: Synthesized, section: str
) -> None:
    read = metrics(alarms(whole)[section])
    assert len(read) == TOLD[section].metrics
    for namespace, name, dimensions in read:
        if namespace == whole.settings.metric_namespace:
            assert name in METRICS
            assert dimensions == {}
        else:
            assert (namespace, name) == ("AWS/SQS", QUEUE)
            assert dimensions == {"QueueName": f"slm-edge-dev-{section}"}


def test_no_alarm_reads_another_environments_metrics(
    whole: Synthesized, synthesized: Synthesizer
) -> None:
    other = synthesized("staging", whole=True)
    for section in BY_ALARM:
        ours, theirs = (metrics(alarms(stacks)[section]) for stacks in (whole, other))
        assert not [one for one in ours if one in theirs]


# hourly and daily datapoints, the oldest first; () is a period without any
@pytest.mark.parametrize(
    ("section", "data", "expected"),
    [
        # a message that waits in the queue, and none
        ("retraining-dead-letters", {QUEUE: [(0,), (1,)]}, "ALARM"),
        ("retraining-dead-letters", {QUEUE: [(1,), (0,)]}, "OK"),
        ("retraining-dead-letters", {}, "OK"),
        ("telemetry-dead-letters", {QUEUE: [(0, 0, 3)]}, "ALARM"),
        ("telemetry-dead-letters", {QUEUE: [(0, 0, 0)]}, "OK"),
        # one execution that is stuck; none; and nobody who counts
        ("stuck-execution", {"StuckExecutions": [(0,), (1,)]}, "ALARM"),
        ("stuck-execution", {"StuckExecutions": [(1,), (0,)]}, "OK"),
        ("stuck-execution", {"StuckExecutions": [(), (), ()]}, "INSUFFICIENT_DATA"),
        # one figure over its threshold; none; however many utterances were looked at
        ("drift", {"DriftFigures": [(0,), (1,)]}, "ALARM"),
        ("drift", {"DriftFigures": [(3,), (0,)]}, "OK"),
        ("drift", {"DriftUtterances": [(10_000,), (10_000,)]}, "OK"),
        # six of a hundred without an answer, for two hours of three
        ("device-errors", {"Utterances": [(94,)] * 3, "Errors": [(6,), (0,), (6,)]}, "ALARM"),
        ("device-errors", {"Utterances": [(94,)] * 3, "Errors": [(0,), (0,), (6,)]}, "OK"),
        ("device-errors", {"Utterances": [(96,)] * 3, "Errors": [(4,)] * 3}, "OK"),
        # of few requests a share says little, and of many devices the sum counts
        ("device-errors", {"Utterances": [(30,)] * 3, "Errors": [(19,)] * 3}, "OK"),
        ("device-errors", {"Utterances": [(10,) * 9] * 3, "Errors": [(1,) * 9] * 3}, "ALARM"),
        # nothing but errors
        ("device-errors", {"Errors": [(60,)] * 3}, "ALARM"),
        ("device-errors", {}, "OK"),
        ("device-errors", {"OutOfScope": [(500,)] * 3}, "OK"),
        # one device behind for three days, and for two
        ("version-skew", {"DevicesBehind": [(1,), (2,), (1,)]}, "ALARM"),
        ("version-skew", {"DevicesBehind": [(0,), (2,), (1,)]}, "OK"),
        ("version-skew", {"DevicesBehind": [(5,), (5,), (0,)]}, "OK"),
        # a second check on the same day, when the device had caught up
        ("version-skew", {"DevicesBehind": [(1,), (1,), (1, 0)]}, "OK"),
    ],
)
def test_an_alarm_fires_for_what_it_is_about_and_not_for_its_neighbours(
    whole: Synthesized, section: str, data: dict[str, Any], expected: State
) -> None:
    assert state(alarms(whole)[section], data) == expected


@pytest.mark.parametrize("section", ["drift", "version-skew"])
@pytest.mark.parametrize("before", ["OK", "ALARM"])
def test_what_is_measured_once_a_day_keeps_its_state_until_it_is_measured_again(
    whole: Synthesized, section: str, before: State
) -> None:
    """At midnight a day begins of which nothing is known yet."""
    assert state(alarms(whole)[section], {}, before=before) == before


def test_the_share_of_errors_that_is_told_is_the_settings(synthesized: Synthesizer) -> None:
    strict = alarms(synthesized("dev", monitoring=ELSEWHERE))
    data = {"Utterances": [(96,)] * 3, "Errors": [(4,)] * 3}
    assert state(strict["device-errors"], data) == "ALARM"


def test_an_alarm_looks_no_further_back_than_cloudwatch_lets_it(whole: Synthesized) -> None:
    """ "Evaluation range" in the user guide: a day, or seven with periods of an hour and more."""
    for alarm in alarms(whole).values():
        periods = [one["MetricStat"]["Period"] for one in alarm.get("Metrics", [])
                   if "MetricStat" in one] or [alarm["Period"]]  # fmt: skip
        assert len(set(periods)) == 1
        longest = 7 * 86_400 if periods[0] >= 3600 else 86_400
        assert periods[0] * alarm["EvaluationPeriods"] <= longest


def test_the_names_of_metrics_in_expressions_begin_as_cloudwatch_wants(whole: Synthesized) -> None:
    for alarm in alarms(whole).values():
        for one in alarm.get("Metrics", []):
            assert re.fullmatch(r"[a-z][A-Za-z0-9_]*", one["Id"])
