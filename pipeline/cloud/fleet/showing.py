"""The fleet as the account knows it: devices, versions, health.

What a device last said counts; one that never connected is listed as well. Leaves out: telemetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.cloud.fleet import deployments
from pipeline.cloud.fleet.following import things
from pipeline.cloud.session import Account, MissingError


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        version: Of our component on it; None where it never told.
        health: ``HEALTHY``, ``UNHEALTHY``, or ``never connected``.
        seen: When it said so, in ISO 8601; empty where it never did.
    """

    thing: str
    group: str
    version: str | None
    state: str
    health: str
    seen: str


@dataclass(frozen=True)
class Group:
    """A group and what it should have."""

    name: str
    canary: bool
    version: str | None
    status: str
    devices: list[Device]


def groups(account: Account) -> list[Group]:
    """The canary group and the fleet.

    Raises:
        CloudError: Something could not be read.
    """
    settings = account.settings
    return [_group(account, name) for name in (settings.canary_group, settings.thing_group)]


def _group(account: Account, name: str) -> Group:
    latest = deployments.latest(account, name)
    told = _cores(account, name)
    return Group(
        name,
        name == account.settings.canary_group,
        latest.version if latest else None,
        latest.status if latest else "none",
        [_device(account, name, thing, told.get(thing)) for thing in things(account, name)],
    )


def _cores(account: Account, group: str) -> dict[str, dict[str, Any]]:
    pages = account.pages(
        "greengrassv2",
        "list_core_devices",
        "list the core devices",
        thingGroupArn=deployments.group_arn(account, group),
    )
    return {one["coreDeviceThingName"]: one for page in pages for one in page["coreDevices"]}


def _device(account: Account, group: str, thing: str, core: dict[str, Any] | None) -> Device:
    if core is None:
        return Device(thing, group, None, "", "never connected", "")
    version, state = _installed(account, thing)
    seen = core["lastStatusUpdateTimestamp"].isoformat(timespec="seconds")
    return Device(thing, group, version, state, str(core["status"]), seen)


def _installed(account: Account, thing: str) -> tuple[str | None, str]:
    doing = f"list the components of {thing}"
    try:
        for page in account.pages(
            "greengrassv2", "list_installed_components", doing, coreDeviceThingName=thing
        ):
            for one in page["installedComponents"]:
                if one["componentName"] == account.settings.component_name:
                    return one["componentVersion"], one.get("lifecycleState", "")
    except MissingError:
        pass
    return None, ""
