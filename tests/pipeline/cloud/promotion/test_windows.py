from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge.telemetry.bins import EDGES
from edge.telemetry.window import ERRORS
from pipeline.cloud.promotion import windows
from pipeline.cloud.promotion.windows import FAULTS, MILLISECONDS, Counts, percentile
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.promotion.promotable import Fleet

BEGAN = datetime.now(UTC) - timedelta(minutes=1)


def test_edges_and_errors_are_those_of_the_devices() -> None:
    assert EDGES["milliseconds"] == MILLISECONDS
    assert set(FAULTS) < set(ERRORS)


def test_a_percentile_lies_within_its_bin() -> None:
    counts = [0] * len(MILLISECONDS)
    assert percentile(counts, 0.99) is None
    counts[MILLISECONDS.index(2)] = 100
    assert percentile(counts, 0.99) == pytest.approx(2.99)
    counts[MILLISECONDS.index(100)] = 2
    assert percentile(counts, 0.99) == pytest.approx(100 + 150 * 0.98 / 2)
    counts[-1] = 1000
    assert percentile(counts, 0.99) == pytest.approx(1000 + 1000 * (0.99 * 1102 - 102) / 1000)


def test_counts_are_kept_in_the_record_and_read_again() -> None:
    counts = Counts(windows=1, devices={"b", "a"}, utterances=5, told=5, faults=1)
    text = json.loads(json.dumps(counts.to_json()))
    assert Counts.of(text) == counts


def put(cloud: Emulated, thing: str, name: str, value: Any, day: datetime | None = None) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    key = f"telemetry/{thing}/{day or datetime.now(UTC):%Y/%m/%d}/{name}.json"
    cloud.client("s3").put_object(Bucket=cloud.settings.processed_bucket, Key=key, Body=body)


def window(cloud: Emulated, fleet: Fleet) -> dict[str, Any]:
    """One that a device sent."""
    fleet.tell("c1", "1.0.1", good=20, outside=5)
    bucket = cloud.settings.processed_bucket
    [key] = cloud.keys(bucket)
    content = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    cloud.client("s3").delete_object(Bucket=bucket, Key=key)
    return json.loads(content)


def test_a_window_counts_once_and_one_that_cannot_be_read_not_at_all(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    good = window(cloud, fleet)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    put(cloud, "c1", "a", good)
    put(cloud, "c1", "again", good, yesterday)  # delivered twice, around midnight
    put(cloud, "c2", "few", {**good, "id": "few", "utterances": 3, "counts": None})
    put(cloud, "c2", "older", {**good, "id": "older", "component": "1.0.0"})
    put(cloud, "f1", "other", {**good, "id": "other"})
    counts = {**good["counts"], "milliseconds": [1] * 18}
    for name, bad in {
        "json": b"{",
        "list": [],
        "negative": {**good, "id": "n", "utterances": -1},
        "sum": {**good, "id": "s", "counts": counts},
        "text": {**good, "id": "t", "utterances": "25"},
        "most": {**good, "id": "m", "counts": {**good["counts"], "out_of_scope": 26}},
        "large": b" " * 200_000,
    }.items():
        put(cloud, "c1", name, bad)
    read = windows.read(
        account, ["c1", "c2"], "1.0.1", BEGAN - timedelta(days=1), datetime.now(UTC)
    )
    assert (read.windows, read.devices) == (2, {"c1", "c2"})
    assert (read.utterances, read.told, read.out_of_scope) == (28, 25, 5)
    assert read.unreadable == 6  # the large one is not even read
    before = windows.read_before(account, ["c1", "c2"], "1.0.0", datetime.now(UTC))
    assert (before.windows, before.told) == (1, 25)


def test_windows_that_arrived_earlier_are_of_an_earlier_attempt(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    fleet.tell("c1", "1.0.1", good=20)
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert windows.read(account, ["c1"], "1.0.1", later, later).windows == 0
    assert windows.read(account, ["c1"], "1.0.1", BEGAN, later).windows == 1
