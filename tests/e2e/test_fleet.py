"""Fifty devices, each a process, on an emulated account over HTTP, with the real ``slm fleet``.

Provisioned, a first version through the canary to all, a poisoned one that the canary stops, a good
one, back from it; and what the devices counted lies in the account, with no word of what was said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings
from tests.e2e.apart import alive
from tests.e2e.devices import UTTERANCES
from tests.e2e.front import running_apart
from tests.edge.packages import draft
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, SETTINGS, Emulated
from tests.pipeline.cloud.fleet.emulated_fleet import ARCHITECTURES, make_fleet, write_package

pytestmark = pytest.mark.e2e
CANARIES = [f"canary-{number}" for number in range(5)]
FLEET = [f"device-{number}" for number in range(45)]
QUICK = ("--per-minute", "1000", "--poll-seconds", "1", "--minutes", "3")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Emulated]:
    with running_apart(ACCOUNT, REGION) as address:
        file = tmp_path / "settings.toml"
        file.write_text(SETTINGS)
        emulated = Emulated(address, file, Settings.read(file))
        make_fleet(emulated)
        yield emulated


def bring_up(folder: Path, address: str) -> None:
    """What whoever sets a device up does: the files to their places, here in its own folder."""
    for name in (*CANARIES, *FLEET):
        config = folder / name / "config.toml"
        text = config.read_text().replace("/etc/slm-edge", str(folder / name))
        own = f"{address}/topics/slm/{name}/telemetry"
        config.write_text(text.replace('"greengrass"', f'"{own}"') + "window_seconds = 5\n")


def package(cloud: Emulated, folder: Path, version: str, **behaviour: Any) -> Path:
    """A small signed package: a stand-in for the model, everything else as it is."""
    made = draft(version, behaviour=behaviour)
    zipped = made.write(folder / "zips" / version, None).read_bytes()
    return write_package(
        cloud,
        folder / f"package-{version}",
        version,
        zips=dict.fromkeys(ARCHITECTURES, zipped),
        manifest=made.manifest_bytes(),
    )


def on_devices(cloud: Emulated) -> dict[str, set[str | None]]:
    """The versions on the devices of each group, as ``slm fleet status`` tells."""
    groups = json.loads(cloud.slm("fleet", "status", "--json").stdout)["groups"]
    return {group["name"]: {one["version"] for one in group["devices"]} for group in groups}


def windows(cloud: Emulated) -> dict[str, str]:
    """What was collected, by key."""
    s3, bucket = cloud.client("s3"), cloud.settings.processed_bucket
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}


def test_fifty_devices_take_the_good_versions_and_only_those(
    cloud: Emulated, tmp_path: Path
) -> None:
    devices = tmp_path / "devices"
    for options, names in ((["--canary"], CANARIES), ([], FLEET)):
        done = cloud.slm("fleet", "provision", *names, *options, "--out", devices)
        assert (done.returncode, done.stderr) == (0, "")
    bring_up(devices, cloud.address)
    group, canary = cloud.settings.thing_group, cloud.settings.canary_group
    folders = [devices / name for name in (*CANARIES, *FLEET)]
    with alive("tests.e2e.devices", folders, cloud.address) as processes:
        first = cloud.slm("fleet", "deploy", package(cloud, tmp_path, "1.0.1"), *QUICK)
        assert (first.returncode, first.stderr) == (0, "")
        assert on_devices(cloud) == {canary: {"1.0.1"}, group: {"1.0.1"}}

        poisoned = package(cloud, tmp_path, "1.0.2", selftest="fails")
        stopped = cloud.slm("fleet", "deploy", poisoned, *QUICK)
        assert stopped.returncode == 1
        assert "nothing was deployed to" in stopped.stderr
        assert "answers 'weather'" in stopped.stderr
        assert on_devices(cloud) == {canary: {"1.0.1"}, group: {"1.0.1"}}
        assert not list(devices.glob("*/state/versions/1.0.2"))

        good = cloud.slm("fleet", "deploy", package(cloud, tmp_path, "1.0.3"), *QUICK)
        assert (good.returncode, good.stderr) == (0, "")
        assert on_devices(cloud) == {canary: {"1.0.3"}, group: {"1.0.3"}}

        back = cloud.slm("fleet", "rollback", *QUICK)
        assert (back.returncode, back.stderr) == (0, "")
        assert on_devices(cloud) == {canary: {"1.0.1"}, group: {"1.0.1"}}
        assert [process.poll() for process in processes] == [None] * 50
    assert [process.returncode for process in processes] == [0] * 50
    _check_telemetry(windows(cloud))


def _check_telemetry(collected: dict[str, str]) -> None:
    """Every device told of what it had, and nothing of what was said."""
    assert {key.split("/")[1] for key in collected} == {*CANARIES, *FLEET}
    told = "".join(collected.values())
    words = {word for text in UTTERANCES for word in text.split() if len(word) > 3}
    assert not {word for word in words if word in told}
    parsed = [json.loads(text) for text in collected.values()]
    assert {"1.0.1", "1.0.3"} <= {window["component"] for window in parsed}
    assert len({window["id"] for window in parsed}) == len(parsed)
    assert sum(window["utterances"] for window in parsed) >= 50 * 5
