"""Provisions a device: a thing in a group, a certificate with the policy, and its folder.

Every step is one that may be taken again: after an interruption the same command goes on where it
was. The certificate is made inactive, and activated when everything else is in place: what an
interruption leaves is of no use to anybody. The folder has its name only when it is whole.

Leaves out: how things get onto the device (docs/fleet.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.cloud.fleet import files
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""64 characters are what a certificate's common name may have."""


@dataclass(frozen=True)
class Fleet:
    """What all devices of an environment share; asked for once."""

    group: str
    endpoints: files.Endpoints
    trusted: bytes


@dataclass(frozen=True)
class Provisioned:
    """A device and where its folder is.

    Attributes:
        new: False when there was such a folder already; the account was put right all the same.
    """

    thing: str
    folder: Path
    new: bool


def check_names(names: list[str]) -> None:
    """Refuse what is no device's name, before anything is made.

    Raises:
        UsageError: With the rule.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no device's name: use up to 64 letters, digits, - and _, "
                "beginning with a letter or digit."
            )
    if len(set(names)) != len(names):
        raise UsageError("A device is named twice: name each once.")


def prepare(account: Account, *, canary: bool) -> Fleet:
    """Find what the stacks made and every device needs.

    Raises:
        CloudError: It is not there, or may not be looked at.
    """
    settings = account.settings
    group = settings.canary_group if canary else settings.thing_group
    try:
        doing = f"find the group {group}"
        account.call("iot", "describe_thing_group", doing, thingGroupName=group)
        trusted = signing_key(account)
    except MissingError as error:
        raise MissingError(
            f"{str(error).rstrip('.')}: deploy the stacks with cdk deploy --all "
            f"-c env={settings.environment}."
        ) from None
    kinds = ("iot:Data-ATS", "iot:CredentialProvider")
    data, credentials = (
        str(
            account.call("iot", "describe_endpoint", "find where devices connect", endpointType=k)[
                "endpointAddress"
            ]
        )
        for k in kinds
    )
    return Fleet(group, files.Endpoints(data, credentials), files.public_pem(trusted))


def signing_key(account: Account) -> bytes:
    """The public half of the account's signing key, in DER.

    Raises:
        CloudError: There is none.
    """
    alias = account.settings.signing_key_arn
    answer = account.call("kms", "get_public_key", f"read the public key {alias}", KeyId=alias)
    return bytes(answer["PublicKey"])


def provision(account: Account, fleet: Fleet, thing: str, out: Path) -> Provisioned:
    """Provision one device, or go on with what an earlier attempt left.

    Raises:
        CloudError: The account refused something; repeating the command goes on from there.
        UsageError: The device is in the other group.
    """
    folder, partial = out / thing, out / f".{thing}.partial"
    new = not folder.exists()
    work = partial if new else folder
    if not (work / files.KEY).is_file():
        if not new:
            raise UsageError(
                f"{folder} is there and holds no {files.KEY}: remove it, or choose another --out."
            )
        _refuse_foreign(account, thing)
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_thing(account, fleet, thing)
    certificate = _certificate(account, thing, work)
    _attach(account, thing, certificate)
    if new:
        files.write_configuration(partial, account.settings, thing, fleet.endpoints, fleet.trusted)
    account.call(
        "iot",
        "update_certificate",
        f"activate the certificate of {thing}",
        certificateId=certificate.rpartition("/")[2],
        newStatus="ACTIVE",
    )
    if new:
        partial.rename(folder)
    return Provisioned(thing, folder, new)


def _refuse_foreign(account: Account, thing: str) -> None:
    """A thing that has a certificate was provisioned elsewhere: a second one is a mistake."""
    try:
        answer = account.call(
            "iot", "list_thing_principals", f"look for the thing {thing}", thingName=thing
        )
    except MissingError:
        return
    if answer["principals"]:
        raise CloudError(
            f"{thing} has a certificate already, and its folder is not here: name the --out it "
            "was provisioned to, or detach that certificate from the thing first."
        )


def _make_thing(account: Account, fleet: Fleet, thing: str) -> None:
    settings = account.settings
    account.call(
        "iot",
        "create_thing",
        f"make the thing {thing}",
        thingName=thing,
        thingTypeName=settings.thing_type,
    )
    answer = account.call(
        "iot", "list_thing_groups_for_thing", f"find the groups of {thing}", thingName=thing
    )
    groups = {one["groupName"] for one in answer["thingGroups"]}
    others = groups & {settings.thing_group, settings.canary_group} - {fleet.group}
    if others:
        word = "with" if settings.canary_group in others else "without"
        raise UsageError(
            f"{thing} is in {others.pop()}: repeat {word} --canary, or take it out of that group."
        )
    if fleet.group not in groups:
        account.call(
            "iot",
            "add_thing_to_thing_group",
            f"put {thing} into {fleet.group}",
            thingName=thing,
            thingGroupName=fleet.group,
        )


def _certificate(account: Account, thing: str, folder: Path) -> str:
    """The ARN of the device's certificate, which is made if the folder has none."""
    key = folder / files.KEY
    if not key.is_file():
        files.write(key, files.new_key(), 0o600)
    recorded = folder / files.CERTIFICATE_ARN
    if recorded.is_file():
        return recorded.read_text().strip()
    made: Mapping[str, str] = account.call(
        "iot",
        "create_certificate_from_csr",
        f"make a certificate for {thing}",
        certificateSigningRequest=files.signing_request(key.read_bytes(), thing),
        setAsActive=False,
    )
    files.write(folder / files.CERTIFICATE, made["certificatePem"].encode())
    files.write(recorded, f"{made['certificateArn']}\n".encode())
    return made["certificateArn"]


def _attach(account: Account, thing: str, certificate: str) -> None:
    policy = account.settings.device_policy
    account.call(
        "iot",
        "attach_policy",
        f"attach {policy} to the certificate of {thing}",
        policyName=policy,
        target=certificate,
    )
    account.call(
        "iot",
        "attach_thing_principal",
        f"attach the certificate to {thing}",
        thingName=thing,
        principal=certificate,
    )
