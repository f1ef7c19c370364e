"""What is not promoted: refused before anything is copied, its reason in record and registry."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pipeline.cloud.fleet import deployments
from pipeline.cloud.promotion.record import Records
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.promotion.promotable import (
    Fleet,
    Promotable,
    decide,
    properties_of,
    register,
)

Damage = Callable[[Emulated, Promotable], None]


def put(cloud: Emulated, key: str, content: bytes) -> None:
    cloud.client("s3").put_object(Bucket=cloud.settings.pipeline_bucket, Key=key, Body=content)


def get(cloud: Emulated, key: str) -> bytes:
    bucket = cloud.settings.pipeline_bucket
    return cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()


def alter(file: str) -> Damage:
    def damage(cloud: Emulated, version: Promotable) -> None:
        put(cloud, f"{version.package}/{file}", b"something else")

    return damage


def remove(file: str) -> Damage:
    def damage(cloud: Emulated, version: Promotable) -> None:
        key = f"{version.package}/{file}" if file else version.model
        cloud.client("s3").delete_object(Bucket=cloud.settings.pipeline_bucket, Key=key)

    return damage


def alter_the_model(cloud: Emulated, version: Promotable) -> None:
    put(cloud, version.model, b"another model")


def sign_with_another_key(cloud: Emulated, version: Promotable) -> None:
    kms = cloud.client("kms")
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    signature = kms.sign(
        KeyId=key,
        Message=get(cloud, f"{version.package}/manifest.json"),
        MessageType="RAW",
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    put(cloud, f"{version.package}/manifest.sig", signature)


def point_elsewhere(cloud: Emulated, version: Promotable) -> None:
    properties = properties_of(cloud, version) | {"package_url": "s3://of-somebody-else/package"}
    cloud.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties=properties,
    )


ZIP = "slm.edge.IntentModel-x86_64.zip"
DAMAGED: dict[str, tuple[Damage, str]] = {
    "summary altered": (alter("package.json"), "package.json is not the file that the registry"),
    "zip altered": (alter(ZIP), "x86_64.zip is missing or is not the file that package.json names"),
    "manifest altered": (alter("manifest.json"), "manifest.json is missing or is not the file"),
    "recipe altered": (alter("recipe.json"), "recipe.json is not JSON"),
    "reference altered": (alter("reference.json"), "reference.json is missing or is not the file"),
    "signature altered": (alter("manifest.sig"), "is not signed with alias/slm-edge-dev-signing"),
    "another key": (sign_with_another_key, "is not signed with alias/slm-edge-dev-signing"),
    "package gone": (remove("package.json"), "package.json is gone: restore it"),
    "zip gone": (remove(ZIP), "x86_64.zip is gone: restore it"),
    "model gone": (remove(""), "model.tar.gz is gone: restore it"),
    "model altered": (alter_the_model, "is not the model that was registered"),
    "in another's bucket": (point_elsewhere, "lies in none of the buckets of slm-edge-dev"),
}


def test_what_has_changed_or_gone_since_it_was_packaged_is_refused(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    promoter = fleet.promoter(account)
    for number, (damage, reason) in enumerate(DAMAGED.values(), start=1):
        version = register(cloud, number)
        damage(cloud, version)
        record = promoter.advance(promoter.begin(version.arn).name).record
        assert record.state == "refused"
        assert reason in record.reason
        told = properties_of(cloud, version)
        assert told["promotion.state"] == "refused"
        # the registry takes no apostrophe and no quotes
        assert reason.split("'")[0][:40] in told["promotion.ended"]
    assert not [key for key in cloud.keys(cloud.settings.deployments_bucket) if "1.0." in key]
    assert deployments.latest(account, account.settings.canary_group) is None


def test_what_was_refused_is_promoted_once_it_is_put_right(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    whole = get(cloud, f"{version.package}/{ZIP}")
    alter(ZIP)(cloud, version)
    assert fleet.run(fleet.promoter(account), version.arn).state == "refused"
    assert fleet.run(fleet.promoter(account), version.arn).state == "refused"
    put(cloud, f"{version.package}/{ZIP}", whole)
    record = fleet.run(fleet.promoter(account), version.arn)
    assert record.state == "done"
    assert [entry.state for entry in record.history].count("refused") == 2
    assert "missing" not in json.dumps(properties_of(cloud, version))


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_only_an_approved_version_is_promoted(
    cloud: Emulated, account: Account, fleet: Fleet, status: str
) -> None:
    version = register(cloud, 1, status=status)
    record = fleet.run(fleet.promoter(account), version.arn)
    assert record.state == "refused"
    assert record.reason == (
        f"Version 1 of slm-edge-dev-intents is {status}: only an approved version is promoted."
    )
    decide(cloud, version, "Approved")
    assert fleet.run(fleet.promoter(account), version.arn).state == "done"


def test_a_version_that_is_not_packaged_yet_is_waited_for_and_not_for_ever(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1, noted=False)
    promoter = fleet.promoter(account)
    look = promoter.advance(promoter.begin(version.arn).name)
    assert (look.record.state, look.words) == ("verify", "waits until it is compiled and packaged")
    assert look.wait > 0
    from datetime import timedelta

    fleet.clock.ahead = timedelta(hours=3)
    ended = promoter.advance(look.record.name).record
    assert (ended.state, "has no package that is noted" in ended.reason) == ("refused", True)


def test_a_version_below_the_fleets_is_no_promotion(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    older = register(cloud, 1)
    fleet.has("1.0.2")
    record = fleet.run(fleet.promoter(account), older.arn)
    assert record.state == "refused"
    assert "has 1.0.2, which is newer than 1.0.1" in record.reason
    latest = deployments.latest(account, account.settings.thing_group)
    assert latest is not None
    assert latest.version == "1.0.2"


def test_without_a_canary_nothing_is_promoted(cloud: Emulated, account: Account) -> None:
    version = register(cloud, 1)
    from pipeline.cloud.promotion.promoting import Promoter

    promoter = Promoter(account, account, name="a")
    record = promoter.advance(promoter.begin(version.arn).name).record
    assert record.state == "refused"
    assert "slm-edge-dev-canary has no device" in record.reason


def test_another_package_of_a_version_that_the_account_has_is_refused(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    version = register(cloud, 1)
    fleet.run(fleet.promoter(account), version.arn)
    place = f"components/{cloud.settings.component_name}/1.0.1/manifest.json"
    bucket = cloud.settings.deployments_bucket
    cloud.client("s3").put_object(Bucket=bucket, Key=place, Body=b"{}", Metadata={"sha256": "0"})
    stored = Records(account).read("slm-edge-dev-intents/1")
    assert stored is not None
    cloud.client("s3").delete_object(Bucket=bucket, Key="promotions/slm-edge-dev-intents/1.json")
    record = fleet.run(fleet.promoter(account), version.arn)
    assert (record.state, "made of another package" in record.reason) == ("refused", True)
