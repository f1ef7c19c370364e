"""How far the devices of a group are with a deployment.

A group's deployment is never over for AWS (whoever joins the group gets it, too), so that its own
status says nothing of success: every device is asked for how it ended with it.

Leaves out: what is then done (releasing.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.cloud.fleet import deployments
from pipeline.cloud.session import Account, MissingError

_GOOD = frozenset({"SUCCEEDED", "COMPLETED"})
CANCELED = "CANCELED"
_BAD = frozenset({"FAILED", "TIMED_OUT", "REJECTED", CANCELED})


@dataclass
class Progress:
    """The devices of a group, by how they ended."""

    group: str
    devices: list[str]
    done: set[str] = field(default_factory=set[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """And why."""
    stopped: str = ""
    """The deployment's status, if that ended it."""

    @property
    def waiting(self) -> list[str]:
        return [one for one in self.devices if one not in self.done and one not in self.failed]

    @property
    def succeeded(self) -> bool:
        return not self.stopped and not self.failed and not self.waiting

    def __str__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{self.group}: {len(self.done)} of {len(self.devices)} done{failed}"


def things(account: Account, group: str) -> list[str]:
    """The devices of a group, in order of their names.

    Raises:
        CloudError: There is no such group.
    """
    doing = f"list the devices of {group}"
    pages = account.pages("iot", "list_things_in_thing_group", doing, thingGroupName=group)
    return sorted(str(one) for page in pages for one in page["things"])


def follow(
    account: Account,
    group: str,
    identity: str,
    *,
    minutes: float,
    say: Callable[[Progress], None],
    seconds: float = 5.0,
    stop_at_failure: bool = False,
) -> Progress:
    """Wait until every device of the group has ended with a deployment.

    Args:
        minutes: How long to wait at most; who has not ended then is still ``waiting``.
        say: Told whenever something changed.
        seconds: Between two looks.
        stop_at_failure: End at the first device that failed.

    Raises:
        CloudError: Something could not be read.
    """
    progress = Progress(group, things(account, group))
    deadline, told = time.monotonic() + 60 * minutes, ""
    while True:
        for device in progress.waiting:
            _look(account, progress, device, identity)
        status = deployments.read(account, identity).status
        if status in ("CANCELED", "FAILED", "INACTIVE"):
            progress.stopped = status
        if str(progress) != told:
            told = str(progress)
            say(progress)
        ended = not progress.waiting or progress.stopped or (stop_at_failure and progress.failed)
        if ended or time.monotonic() >= deadline:
            return progress
        time.sleep(seconds)


def _look(account: Account, progress: Progress, device: str, identity: str) -> None:
    for one in _effective(account, device):
        if one["deploymentId"] == identity:
            status = one["coreDeviceExecutionStatus"]
            if status in _GOOD:
                progress.done.add(device)
            elif status in _BAD:
                progress.failed[device] = one.get("reason") or status
            return


def _effective(account: Account, device: str) -> Iterator[dict[str, str]]:
    doing = f"read the deployments of {device}"
    try:
        for page in account.pages(
            "greengrassv2", "list_effective_deployments", doing, coreDeviceThingName=device
        ):
            yield from page["effectiveDeployments"]
    except MissingError:  # it never connected
        return
