"""The way of a version to the devices, over HTTP, and everything that can come between."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from pipeline.cloud.fleet import deployments
from pipeline.cloud.promotion.promoting import Promoter
from pipeline.cloud.promotion.record import Records
from pipeline.cloud.session import Account, CloudError
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.promotion.promotable import (
    Fleet,
    account_of,
    decide,
    properties_of,
    register,
    snapshot,
)

WHOLE = ["verify", "copy", "canary", "watch", "fleet", "done"]


def on_groups(account: Account) -> dict[str, str | None]:
    found = {}
    for group in (account.settings.canary_group, account.settings.thing_group):
        latest = deployments.latest(account, group)
        found[group] = latest.version if latest and latest.reached_devices else None
    return found


def test_an_approved_version_reaches_every_device_and_the_registry_tells_how(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    record = fleet.run(fleet.promoter(account), version.arn)
    assert (record.state, record.component) == ("done", "1.0.1"), record.reason
    assert [entry.state for entry in record.history] == WHOLE
    assert set(on_groups(account).values()) == {"1.0.1"}
    told = {k: v for k, v in properties_of(cloud, version).items() if k.startswith("promotion.")}
    assert told["promotion.state"] == "done"
    assert "3 of 3 devices of slm-edge-dev took it" in told["promotion.ended"]
    assert "nothing to compare with" in told["promotion.watched"]
    assert {f"promotion.{name}" for name in ("started", "verified", "copied", "canary")} <= set(
        told
    )
    assert len(properties_of(cloud, version)) <= 50
    place = f"components/{cloud.settings.component_name}/1.0.1"
    keys = set(cloud.keys(cloud.settings.deployments_bucket))
    assert "references/1.0.1.json" in keys
    s3 = cloud.client("s3")
    for file in ("manifest.json", "manifest.sig", "package.json", "recipe.json"):
        there = s3.get_object(Bucket=cloud.settings.deployments_bucket, Key=f"{place}/{file}")
        made = s3.get_object(Bucket=cloud.settings.pipeline_bucket, Key=f"{version.package}/{file}")
        assert there["Body"].read() == made["Body"].read()


def test_a_promotion_that_is_interrupted_at_each_boundary_ends_in_the_same_state(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    whole = register(cloud, 1)
    fleet.run(fleet.promoter(account), whole.arn)
    pieces = register(cloud, 2)
    record = fleet.promoter(account).begin(pieces.arn)
    while not record.ended:  # somebody else each time, who knows only what is written
        fresh = account_of(cloud)
        record = fleet.promoter(fresh, f"runner {len(record.history)}").advance(record.name).record
        fleet.step()
        if record.state == "watch":
            fleet.tell("c2", "1.0.2", good=220)
    first, second = (snapshot(cloud, account, one) for one in (whole, pieces))
    assert second["history"] == first["history"] == WHOLE
    assert second["deployments"] == {group: [("1.0.2", "ACTIVE")] for group in on_groups(account)}
    assert second["state"] == (
        "done", "1.0.2", "", {"canary": "1.0.1", "fleet": "1.0.1"},
    )  # fmt: skip
    assert set(second["properties"]) == set(first["properties"])


class Cut(Account):
    """An account whose wire breaks once: after a call was carried out, and before it is told."""

    def __init__(self, cloud: Emulated) -> None:
        super().__init__(cloud.settings, cloud.address)
        self.operation, self.left = "", 0
        self._hooked: set[str] = set()

    def client(self, service: str) -> Any:
        client = super().client(service)
        if service not in self._hooked:
            self._hooked.add(service)
            client.meta.events.register("after-call", self._count)
        return client

    def after(self, operation: str, times: int) -> None:
        self.operation, self.left = operation, times

    def _count(self, model: Any, **_: Any) -> None:
        from botocore.exceptions import ConnectionClosedError

        self.left -= model.name == self.operation
        if model.name == self.operation and self.left == 0:
            raise ConnectionClosedError(endpoint_url="the wire")


CUTS = [
    ("PutObject", 1),  # the record
    ("PutObject", 2),  # the claim of the first step
    ("PutObject", 4),  # the turn
    ("PutObject", 6),  # the reference
    ("CreateComponentVersion", 1),
    ("CreateDeployment", 1),
    ("CreateDeployment", 2),
    ("UpdateModelPackage", 5),
]


def test_a_promotion_whose_wire_breaks_ends_in_the_same_state(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    register(cloud, 1)
    fleet.has("1.0.1")
    seen, cut = [], Cut(cloud)
    for number, (operation, times) in enumerate(CUTS, start=2):
        version = register(cloud, number)
        cut.after(operation, times)
        with pytest.raises(CloudError, match="does not answer"):
            fleet.run(Promoter(cut, cut, name="cut", now=fleet.clock), version.arn)
        assert cut.left <= 0
        fleet.run(fleet.promoter(account, "resumed"), version.arn)
        seen.append(snapshot(cloud, account, version))
    for one in seen:
        assert one["history"] == WHOLE
        assert one["state"][0] == "done"
        assert [len(made) for made in one["deployments"].values()] == [1, 1]
        assert set(one["properties"]) == set(seen[0]["properties"])
        assert len(one["objects"]) == len(seen[0]["objects"])


def test_two_runners_at_once_are_one_promotion(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    fleet.tell("c1", "1.0.1", good=1)
    ended: list[str] = []

    def run(name: str) -> None:
        own = account_of(cloud)
        ended.append(fleet.run(fleet.promoter(own, name), version.arn, limit=400).state)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == ["done", "done"]
    left = snapshot(cloud, account, version)
    assert left["history"] == WHOLE
    assert [len(made) for made in left["deployments"].values()] == [1, 1]


def test_a_later_version_waits_and_helps_the_earlier_one_to_its_end(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    first, second = register(cloud, 1), register(cloud, 2)
    promoter = fleet.promoter(account)
    record = promoter.begin(first.arn)
    while record.state != "canary":
        record = promoter.advance(record.name).record
    later = promoter.begin(second.arn)
    assert promoter.advance(later.name).record.state == "copy"
    waiting = promoter.advance(later.name)
    assert waiting.words.startswith("waits for slm-edge-dev-intents/1: ")
    fleet.tell("c1", "1.0.1", good=220)
    assert fleet.go_on(fleet.promoter(account, "b"), later).state == "done"
    stored = Records(account).read(record.name)
    assert stored is not None
    assert stored.record.state == "done"
    assert set(on_groups(account).values()) == {"1.0.2"}


def test_an_older_version_that_waited_does_not_replace_the_newer_one(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    first, second = register(cloud, 1), register(cloud, 2)
    promoter = fleet.promoter(account)
    older = promoter.begin(first.arn)
    older = promoter.advance(older.name).record
    assert older.state == "copy"
    assert fleet.run(promoter, second.arn).state == "done"
    ended = promoter.advance(older.name).record
    assert ended.state == "refused"
    assert "has 1.0.2, which is newer than 1.0.1" in ended.reason


def test_what_is_done_stays_done_and_changes_nothing(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    fleet.run(fleet.promoter(account), version.arn)
    before = snapshot(cloud, account, version)
    assert fleet.run(fleet.promoter(account, "b"), version.arn).state == "done"
    assert snapshot(cloud, account, version) == before


def test_a_runner_that_died_is_waited_for_and_then_taken_over(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    died = fleet.promoter(account, "died")
    record = died.begin(version.arn)
    stored = Records(account).read(record.name)
    assert stored is not None
    died._claim(stored)  # pyright: ignore[reportPrivateUsage] - and then its machine lost power
    other = fleet.promoter(account, "other")
    assert other.advance(record.name).words == "died is at it"
    fleet.clock.ahead += timedelta(minutes=16)
    assert other.advance(record.name).record.state == "copy"


def test_a_withdrawn_approval_stops_what_was_verified(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    promoter = fleet.promoter(account)
    record = promoter.advance(promoter.begin(version.arn).name).record
    assert record.state == "copy"
    decide(cloud, version, "Rejected")
    assert promoter.advance(record.name).record.state == "refused"
    assert (
        cloud.client("sagemaker").describe_model_package(ModelPackageName=version.arn)[
            "ModelApprovalStatus"
        ]
        == "Rejected"
    )
    decide(cloud, version, "Approved")
    assert fleet.run(promoter, version.arn).state == "done"
