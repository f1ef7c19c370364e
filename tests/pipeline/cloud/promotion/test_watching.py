"""What canary and fleet tell, and how a promotion goes back for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pipeline.cloud.fleet import deployments, releasing
from pipeline.cloud.fleet.deployments import Rollout
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.promotion.promotable import (
    Fleet,
    Promotable,
    properties_of,
    register,
)


def on_groups(account: Account) -> list[str | None]:
    found = []
    for group in (account.settings.canary_group, account.settings.thing_group):
        latest = deployments.latest(account, group)
        found.append(latest.version if latest and latest.reached_devices else None)
    return found


@pytest.fixture
def second(cloud: Emulated, fleet: Fleet) -> Promotable:
    """Version 2, where the whole fleet has version 1, which told what is usual."""
    register(cloud, 1)
    fleet.has("1.0.1")
    fleet.tell("c1", "1.0.1", good=270, outside=30)
    return register(cloud, 2)


Tell = Callable[[Fleet], None]
BAD: dict[str, tuple[Tell, str]] = {
    "it fails requests": (
        lambda fleet: fleet.tell("c1", "1.0.2", good=200, errors=20),
        "error rate 9.09% above 2.00%",
    ),
    "it answers nothing": (
        lambda fleet: fleet.tell("c1", "1.0.2", errors=300),
        "error rate 100.00% above 2.00%",
    ),
    "it is slower": (
        lambda fleet: fleet.tell("c2", "1.0.2", good=190, outside=20, seconds=0.004),
        "ms above 1.5 times",
    ),
    "it rejects more": (
        lambda fleet: fleet.tell("c2", "1.0.2", good=150, outside=60),
        "out-of-scope rate 28.6% too far from 10.0%",
    ),
    "a device gave it up": (
        lambda fleet: fleet.tell("c1", "1.0.1", gave_up="1.0.2"),
        "1 devices gave it up after their own trial",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_version_that_is_worse_goes_back_and_never_reaches_the_fleet(
    cloud: Emulated, account: Account, fleet: Fleet, second: Promotable, what: str
) -> None:
    tell, reason = BAD[what]
    promoter = fleet.promoter(account)
    record = fleet.watched(second)
    tell(fleet)
    record = promoter.advance(record.name).record
    assert (record.state, reason in record.reason) == ("roll-back", True), record.reason
    record = promoter.advance(record.name).record
    assert record.state == "rolled-back"
    assert reason in record.reason
    assert "slm-edge-dev-canary is given 1.0.1 again" in record.reason
    assert on_groups(account) == ["1.0.1", "1.0.1"]
    assert properties_of(cloud, second)["promotion.state"] == "rolled-back"
    fleet.step()
    assert {one.service.cores[one.thing]["components"][0]["componentVersion"]
            for one in fleet.puppets} == {"1.0.1"}  # fmt: skip
    assert promoter.begin(second.arn).state == "rolled-back"
    assert promoter.begin(second.arn, again=True).state == "verify"


def test_a_good_version_goes_on_and_the_comparison_is_told(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    promoter = fleet.promoter(account)
    record = fleet.watched(second)
    fleet.tell("c1", "1.0.2", good=180, outside=10)
    fleet.tell("c2", "1.0.2", good=20, outside=5)
    fleet.tell("f1", "1.0.2", errors=900)  # not of the canary
    record = promoter.advance(record.name).record
    assert record.state == "fleet"
    words = record.history[-1].words
    assert words.startswith("215 utterances in 2 windows of 2 devices, error rate 0.00%")
    assert "out-of-scope rate 7.0% after 10.0%" in words


def test_too_little_telemetry_is_said_and_goes_no_further(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    promoter = fleet.promoter(account)
    record = fleet.watched(second)
    fleet.tell("c1", "1.0.2", good=30)
    look = promoter.advance(record.name)
    assert (look.record.state, look.words) == ("watch", "30 of 200 utterances")
    fleet.clock.ahead = timedelta(minutes=181)
    record = promoter.advance(record.name).record
    assert record.state == "roll-back"
    assert record.reason.startswith("not enough telemetry: 30 of 200 utterances")


def test_a_canary_that_fails_stops_it_and_is_given_the_version_before(
    cloud: Emulated, account: Account, fleet: Fleet, second: Promotable
) -> None:
    fleet.puppets[1].refuses.add("1.0.2")
    record = fleet.run(fleet.promoter(account), second.arn)
    assert record.state == "rolled-back"
    assert "1 failed, as c2: The self-test failed" in record.reason
    assert on_groups(account) == ["1.0.1", "1.0.1"]
    assert "The self-test failed" in properties_of(cloud, second)["promotion.stopped"]


def test_a_canary_that_is_away_stops_it_when_the_time_is_over(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    del fleet.puppets[1]
    promoter = fleet.promoter(account)
    record = promoter.begin(second.arn)
    for _ in range(4):
        record = promoter.advance(record.name).record
        fleet.step()
    assert record.state == "canary"
    fleet.clock.ahead = timedelta(minutes=61)
    record = fleet.go_on(promoter, record)
    assert (record.state, "1 of 2 did not answer" in record.reason) == ("rolled-back", True)


def test_a_fleet_that_fails_goes_back_with_its_canary(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    for one in fleet.puppets[2:]:
        one.refuses.add("1.0.2")
    record = fleet.run(fleet.promoter(account), second.arn)
    assert record.state == "rolled-back"
    assert on_groups(account) == ["1.0.1", "1.0.1"]
    assert "slm-edge-dev is given 1.0.1 again" in record.reason


def test_a_device_that_is_away_for_long_gets_the_version_when_it_connects(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    away = fleet.puppets.pop()
    promoter = fleet.promoter(account)
    record = fleet.watched(second)
    fleet.tell("c1", "1.0.2", good=190, outside=20)
    for _ in range(3):
        record = promoter.advance(record.name).record
        fleet.step()
    assert record.state == "fleet"
    fleet.clock.ahead = timedelta(minutes=1441)
    record = promoter.advance(record.name).record
    assert record.state == "done"
    assert record.reason.endswith("1 get it when they connect, as f3")
    away.step()
    assert away.service.cores["f3"]["components"][0]["componentVersion"] == "1.0.2"


def test_whoever_rolls_back_by_hand_has_the_last_word(
    account: Account, fleet: Fleet, second: Promotable
) -> None:
    promoter = fleet.promoter(account)
    record = fleet.watched(second)
    deployments.create(account, account.settings.canary_group, "1.0.1", Rollout())
    record = promoter.advance(record.name).record
    assert record.state == "rolled-back"
    assert "1.0.1 was deployed to slm-edge-dev-canary meanwhile" in record.reason
    assert on_groups(account) == ["1.0.1", "1.0.1"]


def test_a_first_version_that_fails_leaves_the_canary_with_none(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    fleet.puppets[0].refuses.add("1.0.1")
    record = fleet.run(fleet.promoter(account), register(cloud, 1).arn)
    assert record.state == "rolled-back"
    assert record.reason.endswith("slm-edge-dev-canary had none before")
    assert on_groups(account) == [None, None]
    assert releasing.order("1.0.10") > releasing.order("1.0.9")
