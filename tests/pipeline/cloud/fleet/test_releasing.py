"""Canary first, then the fleet, and back: against Greengrass over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cloud.fleet import deployments, packages, provisioning, releasing, showing
from pipeline.cloud.fleet.deployments import Rollout
from pipeline.cloud.fleet.following import Progress
from pipeline.cloud.session import Account, CloudError
from pipeline.local.errors import UsageError
from tests.e2e.greengrass import Greengrass
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.fleet.emulated_fleet import Puppet, components, publish, write_package

QUICK = releasing.Patience(minutes=0.2, seconds=0.05)
Devices = Callable[..., None]


def silent(_: Progress) -> None:
    pass


def release(account: Account, version: str, patience: releasing.Patience = QUICK) -> None:
    releasing.release(account, version, Rollout(1000), patience, silent)


@pytest.fixture
def puppets(account: Account, service: Greengrass, tmp_path: Path) -> list[Puppet]:
    """Four of the fleet and two canaries, provisioned."""
    for canary, names in ((False, ["f1", "f2", "f3", "f4"]), (True, ["c1", "c2"])):
        fleet = provisioning.prepare(account, canary=canary)
        for name in names:
            provisioning.provision(account, fleet, name, tmp_path / "devices")
    return [Puppet(name, service) for name in ("f1", "f2", "f3", "f4", "c1", "c2")]


@pytest.fixture
def versions(cloud: Emulated, account: Account, tmp_path: Path) -> None:
    for version in ("1.0.1", "1.0.2", "1.0.3"):
        folder = write_package(cloud, tmp_path / f"package-{version}", version)
        packages.publish(account, packages.read(folder, cloud.settings.component_name))


def test_a_package_is_uploaded_whole_and_its_recipe_points_there(
    cloud: Emulated, account: Account, service: Greengrass, tmp_path: Path
) -> None:
    folder = write_package(cloud, tmp_path / "package", "1.0.1")
    package = packages.read(folder, cloud.settings.component_name)
    packages.check_signature(account, package)
    assert packages.publish(account, package)
    place = f"components/{cloud.settings.component_name}/1.0.1"
    assert set(cloud.keys(cloud.settings.deployments_bucket)) == {
        f"{place}/{name}" for name in package.files
    }
    (recipe,) = service.recipes.values()
    uris = {one["Uri"] for m in recipe["Manifests"] for one in m["Artifacts"]}
    assert uris < {f"s3://{cloud.settings.deployments_bucket}/{place}/{n}" for n in package.files}
    assert not packages.publish(account, package)


def test_another_package_of_a_version_that_is_there_is_refused(
    cloud: Emulated, account: Account, versions: None, tmp_path: Path
) -> None:
    folder = write_package(cloud, tmp_path / "package", "1.0.1", manifest=b'{"other": 1}')
    with pytest.raises(CloudError, match="a version never changes"):
        packages.publish(account, packages.read(folder, cloud.settings.component_name))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("manifest.json", b"{}", "not the file"),
        ("slm.edge.IntentModel-x86_64.zip", b"", "not the file"),
        ("manifest.sig", None, "not signed"),
        ("package.json", None, "is missing"),
        ("package.json", b"[]", "is missing"),
        ("package.json", b"{", "not JSON"),
        ("package.json", b"{}", "no package of this format"),
        ("recipe.json", b'{"ComponentName": "x", "ComponentVersion": "1.0.1"}', "not a version"),
    ],
)
def test_a_folder_that_is_no_whole_package_is_refused_in_one_sentence(
    file: str, content: bytes | None, said: str, cloud: Emulated, tmp_path: Path
) -> None:
    folder = write_package(cloud, tmp_path / "package", "1.0.1")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        packages.read(folder, cloud.settings.component_name)


def test_a_strangers_signature_is_refused(
    cloud: Emulated, account: Account, tmp_path: Path
) -> None:
    folder = write_package(cloud, tmp_path / "package", "1.0.1")
    (folder / "manifest.sig").write_bytes(b"stranger" * 9)
    read = packages.read(folder, cloud.settings.component_name)
    with pytest.raises(CloudError, match="was not signed with"):
        packages.check_signature(account, read)


def test_canary_devices_get_a_version_and_then_the_fleet(
    account: Account, versions: None, puppets: list[Puppet], devices: Devices
) -> None:
    devices(*puppets)
    told: list[str] = []
    releasing.release(account, "1.0.1", Rollout(1000), QUICK, lambda p: told.append(str(p)))
    groups = {text.partition(":")[0] for text in told}
    assert groups == {account.settings.thing_group, account.settings.canary_group}
    assert told[0].startswith(account.settings.canary_group)
    for group in showing.groups(account):
        assert group.version == "1.0.1"
        assert {one.version for one in group.devices} == {"1.0.1"}
        assert {one.health for one in group.devices} == {"HEALTHY"}


def test_a_version_that_a_canary_refuses_never_reaches_the_fleet(
    account: Account, versions: None, puppets: list[Puppet], devices: Devices
) -> None:
    puppets[-1].refuses.add("1.0.2")
    devices(*puppets)
    release(account, "1.0.1")
    with pytest.raises(CloudError, match=r"as c2: The self-test failed\); nothing was deployed"):
        release(account, "1.0.2")
    fleet = deployments.latest(account, account.settings.thing_group)
    canary = deployments.latest(account, account.settings.canary_group)
    assert fleet is not None
    assert canary is not None
    assert (fleet.version, canary.version) == ("1.0.1", "1.0.1")
    assert "1.0.2" not in {
        one.version for one in deployments.history(account, account.settings.thing_group)
    }


def test_a_canary_that_is_away_stops_the_release_too(
    account: Account, versions: None, puppets: list[Puppet], devices: Devices
) -> None:
    devices(*puppets[:-1])
    with pytest.raises(CloudError, match=r"1 of 2 did not answer, as c2.*no version before"):
        release(account, "1.0.1", releasing.Patience(minutes=0.01, seconds=0.05))
    assert deployments.latest(account, account.settings.thing_group) is None


def test_without_canary_devices_nothing_is_deployed(account: Account, versions: None) -> None:
    with pytest.raises(UsageError, match="has no device"):
        release(account, "1.0.1")


def test_other_components_of_the_group_and_our_configuration_are_kept(
    cloud: Emulated,
    account: Account,
    service: Greengrass,
    versions: None,
    puppets: list[Puppet],
    devices: Devices,
) -> None:
    group = account.settings.thing_group
    ours = account.settings.component_name
    before = components(account.settings, "1.0.1", **{"aws.greengrass.Cli": "2.14.0"})
    before[ours]["configurationUpdate"] = {"merge": json.dumps({"a": 1})}
    cloud.client("greengrassv2").create_deployment(
        targetArn=deployments.group_arn(account, group),
        components=before,
        iotJobConfiguration=Rollout().configuration(),
        deploymentPolicies={"componentUpdatePolicy": {"timeoutInSeconds": 7}},
    )
    devices(*puppets)
    release(account, "1.0.2")
    latest = deployments.latest(account, group)
    assert latest is not None
    assert latest.components["aws.greengrass.Cli"] == {"componentVersion": "2.14.0"}
    assert latest.components[ours]["componentVersion"] == "1.0.2"
    assert latest.components[ours]["configurationUpdate"]["merge"] == '{"a": 1}'
    assert latest.policies["componentUpdatePolicy"]["timeoutInSeconds"] == 7
    assert latest.policies["failureHandlingPolicy"] == "ROLLBACK"


def test_a_fleet_that_fails_beyond_the_threshold_is_stopped(
    account: Account, versions: None, puppets: list[Puppet], devices: Devices
) -> None:
    for one in puppets[:4]:
        one.refuses.add("1.0.1")
    devices(*puppets)
    with pytest.raises(CloudError, match=r"did not reach all of slm-edge-dev \("):
        release(account, "1.0.1")
    latest = deployments.latest(account, account.settings.thing_group)
    assert latest is not None
    assert latest.status == "CANCELED"


def test_back_goes_to_the_version_before_and_further(
    account: Account, versions: None, puppets: list[Puppet], devices: Devices
) -> None:
    devices(*puppets)
    for version in ("1.0.1", "1.0.2", "1.0.3"):
        release(account, version)
    assert releasing.rollback(account, None, Rollout(1000), QUICK, silent) == "1.0.2"
    assert releasing.rollback(account, None, Rollout(1000), QUICK, silent) == "1.0.1"
    with pytest.raises(CloudError, match=r"no version before 1\.0\.1"):
        releasing.rollback(account, None, Rollout(1000), QUICK, silent)
    assert releasing.rollback(account, "1.0.3", Rollout(1000), QUICK, silent) == "1.0.3"
    with pytest.raises(UsageError, match=r"never had 1\.0\.9"):
        releasing.rollback(account, "1.0.9", Rollout(1000), QUICK, silent)
    assert {one.version for g in showing.groups(account) for one in g.devices} == {"1.0.3"}


def test_before_anything_is_deployed_there_is_no_way_back(account: Account) -> None:
    with pytest.raises(CloudError, match="Nothing is deployed"):
        releasing.before(account, None)


def test_a_device_that_never_connected_is_shown_as_that(
    account: Account, puppets: list[Puppet]
) -> None:
    canary, fleet = showing.groups(account)
    assert (canary.canary, fleet.canary) == (True, False)
    assert {one.health for one in (*canary.devices, *fleet.devices)} == {"never connected"}


def test_a_window_that_a_device_publishes_lies_where_the_rule_says(cloud: Emulated) -> None:
    window = {"id": "0123456789abcdef", "utterances": 3}
    for message in (window, window, {"id": "../x"}, {"utterances": 1}):
        publish(cloud.address, "slm/f1/telemetry", json.dumps(message).encode())
    publish(cloud.address, "slm/f1/other", json.dumps(window).encode())
    (key,) = cloud.keys(cloud.settings.processed_bucket)
    assert key.startswith("telemetry/f1/20")
    assert key.endswith("/0123456789abcdef.json")


def test_the_commands_tell_in_lines_and_in_sentences(
    cloud: Emulated, puppets: list[Puppet], devices: Devices, tmp_path: Path
) -> None:
    devices(*puppets)
    folder = write_package(cloud, tmp_path / "package", "1.0.1")
    done = cloud.slm("fleet", "deploy", folder, "--poll-seconds", "0.05")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1.0.1 is on every device" in done.stdout
    listed = json.loads(cloud.slm("fleet", "status", "--json").stdout)
    assert [len(group["devices"]) for group in listed["groups"]] == [2, 4]
    assert "f4" in cloud.slm("fleet", "status").stdout
    refused = cloud.slm("fleet", "rollback")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    again = cloud.slm("fleet", "provision", "f1", "--out", tmp_path / "devices")
    assert "provisioned before" in again.stdout
    assert "PRIVATE KEY" not in again.stdout + again.stderr
