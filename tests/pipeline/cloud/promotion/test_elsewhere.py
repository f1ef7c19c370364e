"""From one environment to the next: the same zips, the next one's signature, both registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cloud.fleet import deployments, packages
from pipeline.cloud.promotion.promoting import Promoter
from pipeline.cloud.session import Account, CloudError
from pipeline.settings import Settings
from tests.e2e.greengrass import Greengrass
from tests.pipeline.cloud.emulated import SETTINGS, Emulated
from tests.pipeline.cloud.fleet.emulated_fleet import Puppet, make_fleet
from tests.pipeline.cloud.promotion.promotable import Clock, Fleet, Promotable, account_of, register
from tests.pipeline.cloud.promotion.test_promoting import Cut


@pytest.fixture
def staging(cloud: Emulated, service: Greengrass, tmp_path: Path) -> Fleet:
    """Another environment, with a canary and a device."""
    file = tmp_path / "staging.toml"
    file.write_text(SETTINGS.replace('"dev"', '"staging"'))
    emulated = Emulated(cloud.address, file, Settings.read(file))
    make_fleet(emulated)
    service.reset()
    settings, iot = emulated.settings, cloud.client("iot")
    cloud.client("sagemaker").create_model_package_group(
        ModelPackageGroupName=settings.model_package_group
    )
    for group, name in ((settings.canary_group, "sc"), (settings.thing_group, "sf")):
        iot.create_thing(thingName=name)
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=name)
    iot.delete_topic_rule(ruleName=cloud.settings.telemetry_rule)  # one hears of all things here
    return Fleet(emulated, [Puppet(name, service) for name in ("sc", "sf")], Clock())


def promote(source: Account, target: Account, fleet: Fleet, version: Promotable) -> str:
    promoter = Promoter(source, target, name="a", now=fleet.clock)
    record = promoter.begin(version.arn)
    for _ in range(30):
        if record.ended:
            break
        record = promoter.advance(record.name).record
        fleet.step()
        if record.state == "watch":
            fleet.tell("sc", record.component, good=220)
    assert record.state == "done", record.reason
    return record.registered


def test_the_same_bytes_reach_the_next_environment_and_both_registries_tell(
    cloud: Emulated, account: Account, staging: Fleet, tmp_path: Path
) -> None:
    version = register(cloud, 1)
    target = account_of(staging.cloud)
    broken = Cut(staging.cloud)
    broken.after("CreateModelPackage", 1)
    with pytest.raises(CloudError, match="does not answer"):
        promote(account, broken, staging, version)
    registered = promote(account, target, staging, version)

    sagemaker, s3 = cloud.client("sagemaker"), cloud.client("s3")
    here = sagemaker.describe_model_package(ModelPackageName=version.arn)
    there = sagemaker.describe_model_package(ModelPackageName=registered)
    assert there["ModelPackageVersion"] == 1, "the one that was cut off is found again"
    assert there["ModelApprovalStatus"] == "PendingManualApproval"
    assert there["ModelPackageDescription"].startswith("18 intents ")
    before, after = (one["CustomerMetadataProperties"] for one in (here, there))
    assert after["promoted_from"] == version.arn
    for name in ("model_sha256", "package_sha256", "execution_id", "promotion.state"):
        assert after[name] == before[name]
    model = there["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert model == f"s3://{target.settings.model_bucket}/promoted/dev/1/model.tar.gz"
    assert cloud.head(model)["Metadata"]["sha256"] == before["model_sha256"]

    folder = tmp_path / "there"
    folder.mkdir()
    place = after["package_url"].removeprefix(f"s3://{target.settings.deployments_bucket}/")
    for key in cloud.keys(target.settings.deployments_bucket):
        if key.startswith(f"{place}/"):
            path = folder / key.removeprefix(f"{place}/")
            s3.download_file(target.settings.deployments_bucket, key, str(path))
    for file in ("package.json", "recipe.json", "manifest.json", "slm.edge.IntentModel-x86_64.zip"):
        key = f"{version.package}/{file}"
        made = s3.get_object(Bucket=cloud.settings.pipeline_bucket, Key=key)["Body"].read()
        assert (folder / file).read_bytes() == made
    package = packages.read(folder, target.settings.component_name)
    packages.check_signature(target, package)
    with pytest.raises(CloudError, match="was not signed with alias/slm-edge-dev-signing"):
        packages.check_signature(account, package)

    assert deployments.latest(account, account.settings.thing_group) is None
    latest = deployments.latest(target, target.settings.thing_group)
    assert latest is not None
    assert latest.version == "1.0.1"


def test_what_was_copied_can_be_promoted_further_once_it_is_approved_there(
    cloud: Emulated, account: Account, staging: Fleet
) -> None:
    target = account_of(staging.cloud)
    registered = promote(account, target, staging, register(cloud, 1))
    promoter = Promoter(target, target, name="a", now=staging.clock)
    record = promoter.begin(registered)
    refused = promoter.advance(record.name).record
    assert (refused.state, "PendingManualApproval" in refused.reason) == ("refused", True)
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=registered)
    cloud.client("sagemaker").update_model_package(
        ModelPackageArn=registered,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties=described["CustomerMetadataProperties"],
    )
    record = promoter.begin(registered)
    for _ in range(4):
        record = promoter.advance(record.name).record
    assert record.state == "done", "its devices have it: there is nothing to deploy or to watch"
    assert len(list(deployments.history(target, target.settings.thing_group))) == 1
