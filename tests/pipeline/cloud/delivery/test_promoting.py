"""The very bytes that were approved go on, once, and are followed until they are past refusal."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.cloud.delivery import promoting
from pipeline.cloud.delivery.access import open_as_role
from pipeline.cloud.promotion.record import Record, Records, State
from pipeline.cloud.session import Account, CloudError
from pipeline.errors import UsageError
from pipeline.settings import Settings
from tests.pipeline.cloud.delivery.test_running import deliver
from tests.pipeline.cloud.emulated import ACCOUNT, SETTINGS, Emulated
from tests.pipeline.cloud.promotion.promotable import Promotable, properties_of, register

PENDING = "PendingManualApproval"


def sha256_of(cloud: Emulated, version: Promotable) -> str:
    return properties_of(cloud, version)["package_sha256"]


def status_of(cloud: Emulated, version: Promotable) -> str:
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    return described["ModelApprovalStatus"]


def test_a_package_that_is_what_was_approved_is_fetched_whole(
    cloud: Emulated, account: Account, tmp_path: Path
):
    version = register(cloud, 1, status=PENDING)
    package = promoting.fetch(account, version.arn, sha256_of(cloud, version), tmp_path)
    assert package.version == "1.0.1"
    assert (tmp_path / "manifest.sig").is_file()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("approval", "is not what was approved: its package has the SHA-256"),
        ("package.json", "is not the file that the registry names"),
        ("slm.edge.IntentModel-x86_64.zip", "is missing or is not the file"),
        ("gone", "is gone"),
        ("manifest.sig", "was not signed with"),
    ],
)
def test_a_package_that_is_not_what_was_approved_is_refused(
    cloud: Emulated, account: Account, tmp_path: Path, changed: str, said: str
):
    version = register(cloud, 1, status=PENDING)
    sha256, s3 = sha256_of(cloud, version), cloud.client("s3")
    bucket = cloud.settings.pipeline_bucket
    names = [key.rpartition("/")[2] for key in cloud.keys(bucket) if "PackageComponent" in key]
    if changed == "approval":
        sha256 = "0" * 64
    elif changed == "gone":
        s3.delete_object(Bucket=bucket, Key=f"{version.package}/package.json")
    else:
        assert changed in names
        s3.put_object(Bucket=bucket, Key=f"{version.package}/{changed}", Body=b"{}")
    with pytest.raises(CloudError, match=said):
        promoting.fetch(account, version.arn, sha256, tmp_path)
    assert status_of(cloud, version) == PENDING


def test_a_version_is_approved_once(cloud: Emulated, account: Account):
    version = register(cloud, 1, status=PENDING)
    assert promoting.approve(account, version.arn, "because")
    assert status_of(cloud, version) == "Approved"
    assert not promoting.approve(account, version.arn, "again")


def record(cloud: Emulated, version: Promotable, state: State, **changes: str) -> Record:
    now = "2026-11-24T10:00:00+00:00"
    known = {"package_sha256": sha256_of(cloud, version), "package": version.arn}
    made = Record(
        group=cloud.settings.model_package_group,
        version=version.number,
        source="staging",
        target="prod",
        started=now,
        since=now,
        **{**known, **changes},
    )
    return made.to(state, "words", datetime.now(UTC))


def follow(cloud: Emulated, account: Account, version: Promotable, until: str = "canary") -> Record:
    sha256 = sha256_of(cloud, version)
    return promoting.follow(
        account, version.arn, sha256, until, print, minutes=0.001, poll_seconds=0.01
    )


@pytest.mark.parametrize(
    ("state", "until", "said"),
    [
        ("canary", "canary", ""),
        ("watch", "canary", ""),
        ("done", "canary", ""),
        ("done", "done", ""),
        ("watch", "fleet", "is at watch after"),
        ("copy", "canary", "is at copy after"),
        ("refused", "canary", "did not reach slm-edge-dev: refused, because words"),
        ("rolled-back", "canary", "did not reach slm-edge-dev: rolled-back, because words"),
        ("roll-back", "done", "did not reach slm-edge-dev"),
    ],
)
def test_a_promotion_is_followed_until_it_is_there_or_failed(
    cloud: Emulated, account: Account, state: State, until: str, said: str
):
    version = register(cloud, 1)
    Records(account).write(record(cloud, version, state), None, datetime.now(UTC))
    if said:
        with pytest.raises(CloudError, match=said):
            follow(cloud, account, version, until)
    else:
        assert follow(cloud, account, version, until).state == state


def test_a_promotion_that_never_begins_or_took_other_bytes_is_told(
    cloud: Emulated, account: Account
):
    version = register(cloud, 1)
    with pytest.raises(CloudError, match="never began after"):
        follow(cloud, account, version)
    other = record(cloud, version, "canary", package_sha256="0" * 64)
    Records(account).write(other, None, datetime.now(UTC))
    with pytest.raises(CloudError, match="got another package than the one that was approved"):
        follow(cloud, account, version)


def test_where_approving_starts_nothing_nothing_is_approved(account: Account):
    def settings(environment: str, **promotion: object) -> Account:
        text = SETTINGS.replace('"dev"', f'"{environment}"')
        lines = [f"{k} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for k, v in promotion.items()]  # fmt: skip  # noqa: E501
        import tomllib

        values = tomllib.loads("\n".join([text, "[promotion]", *lines]))
        return Account(Settings.of(values))

    prod = settings("prod")
    promoting.check_way(settings("staging", to="prod"), prod)
    with pytest.raises(UsageError, match="promotes elsewhere: set it to 'prod'"):
        promoting.check_way(settings("staging"), prod)
    with pytest.raises(UsageError, match="approving starts nothing"):
        promoting.check_way(settings("staging", to="prod", on_approval=False), prod)


def test_the_command_checks_approves_and_follows_in_the_roles_of_both_environments(
    cloud: Emulated, account: Account, tmp_path: Path
):
    """The account's own function, which Approved starts, is stood in for by a thread."""
    cloud.file.write_text(SETTINGS + '\n[promotion]\nto = "prod"\n')
    (tmp_path / "prod.toml").write_text(SETTINGS.replace('"dev"', '"prod"'))
    prod = Settings.read(tmp_path / "prod.toml")
    for bucket in prod.buckets.values():
        where = {"LocationConstraint": "eu-west-1"}
        cloud.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=prod.kms_alias, TargetKeyId=key)
    version = register(cloud, 1, status=PENDING)

    def promote() -> None:
        deadline = time.monotonic() + 60
        while status_of(cloud, version) != "Approved" and time.monotonic() < deadline:
            time.sleep(0.1)
        target = Account(prod, cloud.address)
        Records(target).write(record(cloud, version, "canary"), None, datetime.now(UTC))

    thread = threading.Thread(target=promote)
    thread.start()
    done = deliver(
        cloud, tmp_path, "promote", "--to", tmp_path / "prod.toml", "--poll-seconds", "0.1",
        SLM_MODEL_PACKAGE=version.arn, SLM_PACKAGE_SHA256=sha256_of(cloud, version),
    )  # fmt: skip
    thread.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hashes and signature are good\napproved\ncanary: words\n" in done.stdout
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    assert described["ApprovalDescription"].startswith("Delivery: package ")


def test_an_environment_is_worked_in_as_its_role(cloud: Emulated):
    identity = open_as_role(cloud.settings, cloud.address).client("sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/slm-edge-dev-delivery/delivery"
