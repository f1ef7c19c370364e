"""A version to the canary devices, and only when all of them took it, to the fleet; and back.

A canary that fails stops the release: the fleet is not touched, and the canary group is given back
what it had, so that a device that joins it or was away does not get the bad version later. The
devices themselves have gone back before that (the rollback policy, and their own trial).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pipeline.cloud.fleet import deployments, packages
from pipeline.cloud.fleet.deployments import Deployment, Rollout
from pipeline.cloud.fleet.following import CANCELED, Progress, follow, things
from pipeline.cloud.session import Account, CloudError
from pipeline.errors import UsageError

Say = Callable[[Progress], None]


@dataclass(frozen=True)
class Patience:
    """How long a command waits for devices."""

    minutes: float = 60.0
    seconds: float = 5.0
    """Between two looks."""


def release(
    account: Account, version: str, rollout: Rollout, patience: Patience, say: Say
) -> list[Progress]:
    """Deploy a component version that is in the account: canary, then fleet.

    Raises:
        CloudError: A canary failed or did not end in time, and the fleet was not touched; or the
            fleet's deployment was stopped.
        UsageError: The canary group is empty.
    """
    canary, fleet = account.settings.canary_group, account.settings.thing_group
    if not things(account, canary):
        raise UsageError(
            f"{canary} has no device, so nothing would stop a bad version: provision one with "
            "slm fleet provision NAME --canary."
        )
    before = _version_to_return_to(account, canary)
    first = _deploy(account, canary, version, rollout, patience, say, stop_at_failure=True)
    if not first.succeeded:
        _refuse(account, version, first, before, rollout)
    second = _deploy(account, fleet, version, rollout, patience, say)
    if second.stopped or second.failed or second.waiting:
        raise CloudError(unfinished(version, second))
    return [first, second]


def rollback(
    account: Account, to: str | None, rollout: Rollout, patience: Patience, say: Say
) -> str:
    """Deploy the version before to both groups at once; returns that version.

    It ran on the fleet, so no canary is waited for: what is rolled back hurts now.

    Raises:
        CloudError: There is none, or a device did not take it.
        UsageError: ``to`` was never deployed to the fleet.
    """
    canary, fleet = account.settings.canary_group, account.settings.thing_group
    version = before(account, to)
    started = [
        (group, deployments.create(account, group, version, rollout))
        for group in (fleet, canary)
        if things(account, group)
    ]
    for group, identity in started:
        progress = follow(
            account,
            group,
            identity,
            minutes=patience.minutes,
            seconds=patience.seconds,
            say=say,
        )
        if not progress.succeeded:
            raise CloudError(unfinished(version, progress))
    return version


def before(account: Account, to: str | None) -> str:
    """The highest version below the fleet's that its devices had; or ``to``, if they had it.

    Raises:
        CloudError: There is none.
        UsageError: They never had ``to``.
    """
    group = account.settings.thing_group
    past = list(deployments.history(account, group))
    if not past or past[0].version is None:
        raise CloudError(f"Nothing is deployed to {group}: use slm fleet deploy first.")
    had = {one.version for one in past[1:] if one.version and one.reached_devices}
    had.discard(past[0].version)
    if to is not None:
        if to not in had:
            known = ", ".join(sorted(had, key=order)) or "none"
            raise UsageError(f"{group} never had {to} before (it had: {known}): name one of those.")
        return to
    lower = sorted((v for v in had if order(v) < order(past[0].version or "")), key=order)
    if not lower:
        raise CloudError(f"{group} had no version before {past[0].version}: nothing to go back to.")
    return lower[-1]


def unfinished(version: str, progress: Progress) -> str:
    """In a sentence, what kept a version from all devices of a group."""
    what = f"{version} did not reach all of {progress.group}"
    if progress.failed:
        # who failed by itself says why; the others were cancelled because of it
        device, reason = min(progress.failed.items(), key=lambda one: (one[1] == CANCELED, one))
        said = f"{len(progress.failed)} failed, as {device}: {' '.join(reason.split())[:200]}"
        return f"{what} ({said.rstrip('.')})."
    if progress.stopped:
        return f"{what}: the deployment is {progress.stopped}."
    some = ", ".join(progress.waiting[:3])
    return (
        f"{what} in time ({len(progress.waiting)} of {len(progress.devices)} did not answer, as "
        f"{some}): see slm fleet status."
    )


def order(version: str) -> tuple[int, ...]:
    """What component versions are compared by; nothing for what is none of ours."""
    if not packages.VERSION.fullmatch(version):
        return ()
    return tuple(int(part) for part in version.split("."))


def _deploy(
    account: Account,
    group: str,
    version: str,
    rollout: Rollout,
    patience: Patience,
    say: Say,
    *,
    stop_at_failure: bool = False,
) -> Progress:
    """Deploy to a group unless it has the version already, and wait for its devices."""
    now: Deployment | None = deployments.latest(account, group)
    if now is not None and now.version == version and now.status in ("ACTIVE", "COMPLETED"):
        identity = now.id  # an earlier call was interrupted: go on waiting
    else:
        identity = deployments.create(account, group, version, rollout)
    return follow(
        account,
        group,
        identity,
        minutes=patience.minutes,
        seconds=patience.seconds,
        say=say,
        stop_at_failure=stop_at_failure,
    )


def _version_to_return_to(account: Account, group: str) -> str | None:
    """What the group has now, if devices took it."""
    now = deployments.latest(account, group)
    return now.version if now and now.reached_devices else None


def _refuse(
    account: Account, version: str, canary: Progress, before: str | None, rollout: Rollout
) -> NoReturn:
    latest = deployments.latest(account, canary.group)
    if latest is not None and latest.version == version and latest.reached_devices:
        deployments.cancel(account, latest.id)
    back = "it had no version before"
    if before is not None and before != version:
        deployments.create(account, canary.group, before, rollout)
        back = f"it is given {before} again"
    raise CloudError(
        f"{unfinished(version, canary).rstrip('.')}; nothing was deployed to "
        f"{account.settings.thing_group}, and {canary.group}'s deployment is cancelled: {back}."
    )
