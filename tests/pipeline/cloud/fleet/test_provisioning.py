"""Provisioning: what is made in the account and on this machine, and again after interruptions."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from edge.settings import Settings as DeviceSettings
from pipeline.cloud.fleet import files, provisioning
from pipeline.cloud.fleet.provisioning import Provisioned
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.local.errors import UsageError
from tests.pipeline.cloud.emulated import Emulated


def provision(account: Account, out: Path, name: str, *, canary: bool = False) -> Provisioned:
    fleet = provisioning.prepare(account, canary=canary)
    return provisioning.provision(account, fleet, name, out)


def test_a_device_gets_a_thing_a_group_a_certificate_and_a_policy(
    cloud: Emulated, account: Account, tmp_path: Path
) -> None:
    done = provision(account, tmp_path / "devices", "kitchen-1")
    iot, settings = cloud.client("iot"), cloud.settings
    assert done.new
    assert iot.describe_thing(thingName="kitchen-1")["thingTypeName"] == settings.thing_type
    groups = iot.list_thing_groups_for_thing(thingName="kitchen-1")["thingGroups"]
    assert [one["groupName"] for one in groups] == [settings.thing_group]
    (principal,) = iot.list_thing_principals(thingName="kitchen-1")["principals"]
    assert principal == (done.folder / files.CERTIFICATE_ARN).read_text().strip()
    (policy,) = iot.list_attached_policies(target=principal)["policies"]
    assert policy["policyName"] == settings.device_policy
    identity = principal.rpartition("/")[2]
    described = iot.describe_certificate(certificateId=identity)["certificateDescription"]
    assert described["status"] == "ACTIVE"


def test_the_certificate_names_the_thing_and_the_key_is_its_owners_alone(
    account: Account, tmp_path: Path
) -> None:
    folder = provision(account, tmp_path, "kitchen-1").folder
    certificate = x509.load_pem_x509_certificate((folder / files.CERTIFICATE).read_bytes())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "kitchen-1"
    assert stat.S_IMODE((folder / files.KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_folder_is_what_the_device_reads(
    cloud: Emulated, account: Account, tmp_path: Path
) -> None:
    folder = provision(account, tmp_path, "kitchen-1").folder
    settings = DeviceSettings.read(folder / files.CONFIG)
    assert settings.thing == "kitchen-1"
    assert settings.telemetry.destination == "greengrass"
    pem = (folder / files.TRUSTED / f"{cloud.settings.name}.pem").read_bytes()
    key = serialization.load_pem_public_key(pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert key == provisioning.signing_key(account)
    for name in ("greengrass-lite.yaml", "greengrass-classic.yaml"):
        text = (folder / name).read_text()
        assert 'thingName: "kitchen-1"' in text
        assert f'iotRoleAlias: "{cloud.settings.role_alias}"' in text
        assert not re.search(r"[{}]", text)


@pytest.mark.parametrize(
    "operation",
    ["create_thing", "add_thing_to_thing_group", "create_certificate_from_csr", "attach_policy",
     "attach_thing_principal", "update_certificate"],
)  # fmt: skip
def test_an_interruption_anywhere_is_gone_on_from_with_one_certificate(
    operation: str,
    cloud: Emulated,
    account: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = Account.call

    def interrupted(self: Account, service: str, name: str, doing: str, **rest: object) -> object:
        if name == operation:
            raise KeyboardInterrupt
        return call(self, service, name, doing, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Account, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            provision(account, tmp_path, "kitchen-1")
    assert not (tmp_path / "kitchen-1").exists()
    iot = cloud.client("iot")
    assert all(one["status"] == "INACTIVE" for one in iot.list_certificates()["certificates"])
    assert provision(account, tmp_path, "kitchen-1").new
    assert not (tmp_path / ".kitchen-1.partial").exists()
    assert [one["status"] for one in iot.list_certificates()["certificates"]] == ["ACTIVE"]
    assert len(iot.list_thing_principals(thingName="kitchen-1")["principals"]) == 1


def test_a_second_time_changes_nothing(account: Account, tmp_path: Path) -> None:
    folder = provision(account, tmp_path, "kitchen-1").folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not provision(account, tmp_path, "kitchen-1").new
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_canary_is_in_the_canary_group_only_and_stays_there(
    cloud: Emulated, account: Account, tmp_path: Path
) -> None:
    provision(account, tmp_path, "kitchen-1", canary=True)
    groups = cloud.client("iot").list_thing_groups_for_thing(thingName="kitchen-1")["thingGroups"]
    assert [one["groupName"] for one in groups] == [cloud.settings.canary_group]
    with pytest.raises(UsageError, match="repeat with --canary"):
        provision(account, tmp_path, "kitchen-1")


def test_a_device_that_was_provisioned_elsewhere_is_refused(
    account: Account, tmp_path: Path
) -> None:
    provision(account, tmp_path / "here", "kitchen-1")
    with pytest.raises(CloudError, match="has a certificate already"):
        provision(account, tmp_path / "there", "kitchen-1")
    assert not (tmp_path / "there").exists()


def test_a_folder_without_its_key_is_refused(account: Account, tmp_path: Path) -> None:
    (provision(account, tmp_path, "kitchen-1").folder / files.KEY).unlink()
    with pytest.raises(UsageError, match="holds no private"):
        provision(account, tmp_path, "kitchen-1")


@pytest.mark.parametrize("name", ["", "a b", "../x", "ü", "a" * 65, "-x", "a#1"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no device's name"):
        provisioning.check_names(["kitchen-1", name])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        provisioning.check_names(["kitchen-1", "kitchen-1"])


def test_without_the_edge_stack_nothing_is_made(
    cloud: Emulated, account: Account, tmp_path: Path
) -> None:
    cloud.client("iot").delete_thing_group(thingGroupName=cloud.settings.thing_group)
    with pytest.raises(MissingError, match="cdk deploy"):
        provision(account, tmp_path, "kitchen-1")
    assert cloud.client("iot").list_things()["things"] == []
