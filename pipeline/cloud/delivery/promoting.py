"""The very package that was approved goes on to the next environment, and no other.

Approving the version in its registry is what starts a promotion in the account; this does that, for
exactly the version and the bytes that somebody approved, and follows the promotion until it is past
what can refuse it. Repeated, it approves nothing twice and goes on following.

Leaves out: the promotion itself (pipeline/cloud/promotion).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.cloud import approving
from pipeline.cloud.fleet import packages
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.promotion import artifacts, versions
from pipeline.cloud.promotion.record import Record, Records, State
from pipeline.cloud.session import Account, CloudError
from pipeline.errors import UsageError

FAILED: tuple[State, ...] = ("refused", "roll-back", "rolled-back")
PAST: dict[str, tuple[State, ...]] = {
    "canary": ("canary", "watch", "fleet", "done"),
    "fleet": ("fleet", "done"),
    "done": ("done",),
}
"""What a promotion is followed to, and the states in which it is there."""


def fetch(account: Account, arn: str, sha256: str, folder: Path) -> Package:
    """Download a version's package to ``folder``, if it is what was approved to the last byte.

    Raises:
        CloudError: The version says another hash, or a file is not what it was.
    """
    version = versions.read(account, arn)
    found = artifacts.locate(version)
    if found is None or found.sha256 != sha256:
        raise CloudError(
            f"{arn} is not what was approved: its package has the SHA-256 "
            f"{found.sha256 if found else 'none'}, approved was {sha256}."
        )
    package = artifacts.fetch(account, found, folder)
    packages.check_signature(account, package)
    return package


def approve(account: Account, arn: str, note: str) -> bool:
    """Approve the version, which starts its promotion; False if it was approved before.

    Raises:
        CloudError: It may not be approved.
    """
    version = approving.find(account, arn)
    if version.status == approving.APPROVED:
        return False
    approving.check_approval(version)
    approving.decide(account, version, approving.APPROVED, note)
    return True


def check_way(source: Account, target: Account) -> None:
    """Refuse where approving would start nothing, or something else.

    Raises:
        UsageError: With the setting that says so.
    """
    settings, wanted = source.settings, target.settings.environment
    if settings.promotion.to != wanted:
        raise UsageError(
            f"{settings.environment}: promotion.to = {settings.promotion.to!r} promotes elsewhere: "
            f"set it to {wanted!r} and deploy {settings.environment}."
        )
    if not settings.promotion.on_approval:
        raise UsageError(
            f"{settings.environment}: promotion.on_approval is off, so approving starts nothing: "
            f"turn it on, or promote with slm promote --env {settings.environment} --to {wanted}."
        )


def follow(
    target: Account,
    arn: str,
    sha256: str,
    until: str,
    say: Callable[[str], None],
    *,
    minutes: float,
    poll_seconds: float = 30.0,
) -> Record:
    """Wait until a promotion has come as far as ``until``.

    Args:
        until: A key of :data:`PAST`.

    Raises:
        CloudError: It was refused or rolled back, took other bytes, or is not there in time.
    """
    group, number = arn.split("/")[-2:]
    records, deadline = Records(target), time.monotonic() + minutes * 60
    state = ""
    while True:
        stored = records.read(f"{group}/{number}")
        if stored is not None:
            record = stored.record
            if record.state != state:
                state = record.state
                say(f"{state}: {record.history[-1].words if record.history else record.reason}")
            if record.state in FAILED:
                raise CloudError(
                    f"Version {number} of {group} did not reach {target.settings.name}: "
                    f"{record.state}, because {record.reason or 'of no reason that was told'}."
                )
            if record.state in PAST[until]:
                if record.package_sha256 != sha256 or record.package != arn:
                    raise CloudError(
                        f"{target.settings.name} got another package than the one that was "
                        f"approved ({record.package_sha256}, approved was {sha256}): roll back "
                        "with slm fleet rollback."
                    )
                return record
        if time.monotonic() > deadline:
            where = f"is at {state}" if state else "never began"
            raise CloudError(
                f"The promotion of version {number} of {group} {where} after {minutes:g} minutes: "
                f"slm promotions --env {target.settings.environment} says more, and repeating this "
                "goes on from there."
            )
        time.sleep(poll_seconds)
