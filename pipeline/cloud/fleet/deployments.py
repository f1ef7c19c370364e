"""A component version into a group's deployment, merged into what the group has.

A group has one deployment that counts, its latest; a new one replaces it whole. So the latest is
read, our component's version is set in it, and everything else that somebody deployed to the group
is carried over as it is. How fast it goes and when it stops is the rollout's.

Leaves out: waiting for devices (following.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.cloud.session import Account

_CARRIED = ("componentUpdatePolicy", "configurationValidationPolicy")
_GONE = ("CANCELED", "FAILED")


@dataclass(frozen=True)
class Rollout:
    """How a version reaches a group."""

    per_minute: int = 50
    """Devices that are told in a minute."""
    abort_percent: float = 10.0
    """Of the devices that ended, failed: the deployment is cancelled for all others."""
    abort_after: int = 3
    """Devices that must have ended before that is looked at."""
    device_minutes: int = 60
    """For one device, once it began."""

    def configuration(self) -> dict[str, Any]:
        """As CreateDeployment takes it."""
        criterion = {
            "failureType": "ALL",
            "action": "CANCEL",
            "thresholdPercentage": self.abort_percent,
            "minNumberOfExecutedThings": self.abort_after,
        }
        return {
            "jobExecutionsRolloutConfig": {"maximumPerMinute": self.per_minute},
            "abortConfig": {"criteriaList": [criterion]},
            "timeoutConfig": {"inProgressTimeoutInMinutes": self.device_minutes},
        }


@dataclass(frozen=True)
class Deployment:
    """A group's deployment, as far as we look at it."""

    id: str
    status: str
    version: str | None
    """Of our component; None where the deployment has others only."""
    components: dict[str, Any]
    policies: dict[str, Any]

    @property
    def reached_devices(self) -> bool:
        """False for one that was cancelled or failed."""
        return self.status not in _GONE


def group_arn(account: Account, group: str) -> str:
    settings = account.settings
    owner = f"arn:{settings.partition}:iot:{settings.region}:{settings.account}"
    return f"{owner}:thinggroup/{group}"


def latest(account: Account, group: str) -> Deployment | None:
    """What the group has; None where nothing was ever deployed to it.

    Raises:
        CloudError: It could not be read.
    """
    return next(_list(account, group, "LATEST_ONLY"), None)


def history(account: Account, group: str) -> Iterator[Deployment]:
    """Every deployment to the group that is kept, the newest first."""
    yield from _list(account, group, "ALL")


def read(account: Account, identity: str) -> Deployment:
    """One deployment.

    Raises:
        CloudError: There is none.
    """
    answer = account.call(
        "greengrassv2", "get_deployment", f"read deployment {identity}", deploymentId=identity
    )
    components = answer.get("components", {})
    ours = components.get(account.settings.component_name, {})
    return Deployment(
        identity,
        str(answer.get("deploymentStatus", "")),
        ours.get("componentVersion"),
        components,
        answer.get("deploymentPolicies", {}),
    )


def merged(account: Account, before: Deployment | None, version: str) -> dict[str, Any]:
    """The components of ``before`` with ours at ``version``; its configuration stays, too."""
    name = account.settings.component_name
    components = dict(before.components) if before else {}
    return {**components, name: {**components.get(name, {}), "componentVersion": version}}


def create(account: Account, group: str, version: str, rollout: Rollout) -> str:
    """Deploy ``version`` to the group; returns the deployment's id.

    Raises:
        CloudError: It was refused.
    """
    settings = account.settings
    before = latest(account, group)
    kept = {k: v for k, v in (before.policies if before else {}).items() if k in _CARRIED}
    answer = account.call(
        "greengrassv2",
        "create_deployment",
        f"deploy {settings.component_name} {version} to {group}",
        targetArn=group_arn(account, group),
        deploymentName=f"{settings.component_name} {version} for {group}",
        components=merged(account, before, version),
        iotJobConfiguration=rollout.configuration(),
        deploymentPolicies={**kept, "failureHandlingPolicy": "ROLLBACK"},
        tags=settings.all_tags,
    )
    return str(answer["deploymentId"])


def cancel(account: Account, identity: str) -> None:
    """Stop a deployment for the devices that it did not reach yet.

    Raises:
        CloudError: It was refused.
    """
    account.call(
        "greengrassv2", "cancel_deployment", f"cancel deployment {identity}", deploymentId=identity
    )


def _list(account: Account, group: str, kind: str) -> Iterator[Deployment]:
    for page in account.pages(
        "greengrassv2",
        "list_deployments",
        f"list the deployments to {group}",
        targetArn=group_arn(account, group),
        historyFilter=kind,
    ):
        for one in page["deployments"]:
            yield read(account, one["deploymentId"])
