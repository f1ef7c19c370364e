"""A version in the model registry as promotion sees it, and what is written with it.

The registry keeps the whole story of a version: who looks at it in Studio or with the AWS command
line reads in ``promotion.*`` where it is and why. Only properties are written; the status is a
person's, and the function's role may not name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud.promotion.record import Record, State
from pipeline.cloud.session import Account

APPROVED = "Approved"
PACKAGE_URL, PACKAGE_SHA256 = "package_url", "package_sha256"
MODEL_SHA256 = "model_sha256"
PREFIX = "promotion."
MOST, VALUE = 50, 256
"""Of CustomerMetadataProperties, from the service's model: how many, and a value's characters."""
_REFUSED = re.compile(r"[^\w .:/=+\-@]")
_EXPENDABLE = ("hyperparameter.", "versions", "rows.")
"""What makes room first, where a version has many: the model's training.json has it all."""


@dataclass(frozen=True)
class Version:
    """A model package.

    Attributes:
        described: As DescribeModelPackage told it.
    """

    arn: str
    number: int
    group: str
    status: str
    created: datetime
    model_url: str
    properties: Mapping[str, str]
    described: Mapping[str, Any]


def read(account: Account, arn: str) -> Version:
    """One version.

    Raises:
        CloudError: There is none, or it may not be read.
    """
    described = account.call(
        "sagemaker", "describe_model_package", f"read version {arn}", ModelPackageName=arn
    )
    containers = described.get("InferenceSpecification", {}).get("Containers", [])
    return Version(
        arn=str(described["ModelPackageArn"]),
        number=int(described["ModelPackageVersion"]),
        group=str(described["ModelPackageGroupName"]),
        status=str(described.get("ModelApprovalStatus", "")),
        created=described["CreationTime"].astimezone(UTC),
        model_url=next((str(c["ModelDataUrl"]) for c in containers if c.get("ModelDataUrl")), ""),
        properties=described.get("CustomerMetadataProperties", {}),
        described=described,
    )


def note(account: Account, version: Version, properties: Mapping[str, str]) -> None:
    """Write properties with a version, unless it has them; an empty one is taken away.

    Raises:
        CloudError: It was refused.
    """
    cleaned = {name: _REFUSED.sub(" ", text)[:VALUE].strip() for name, text in properties.items()}
    together = {**version.properties, **cleaned}
    together = {name: text for name, text in together.items() if text}
    if together == dict(version.properties):
        return
    for key in [key for key in together if key.startswith(_EXPENDABLE)]:
        if len(together) <= MOST:
            break
        del together[key]
    removed = [key for key in version.properties if key not in together]
    # an emulator drops what is left out; in an account the status is not ours to name
    fields = ("ModelApprovalStatus", "ApprovalDescription") if account.endpoint_url else ()
    unchanged = {name: version.described[name] for name in fields if name in version.described}
    account.call(
        "sagemaker",
        "update_model_package",
        f"write the history of version {version.number} of {version.group}",
        ModelPackageArn=version.arn,
        CustomerMetadataProperties=together,
        **({"CustomerMetadataPropertiesToRemove": removed} if removed else {}),
        **unchanged,
    )


_DONE: dict[State, str] = {
    "verify": "started",
    "copy": "verified",
    "canary": "copied",
    "watch": "canary",
    "fleet": "watched",
    "roll-back": "stopped",
    "done": "ended",
    "rolled-back": "ended",
    "refused": "ended",
}
"""What a promotion has behind it when it comes to a state."""


def history(record: Record) -> dict[str, str]:
    """The properties that tell of a promotion: where it is, and when what was done.

    What an earlier attempt left is empty in them.
    """
    found = dict.fromkeys((PREFIX + name for name in _DONE.values()), "")
    for entry in record.history:
        if entry.state == "verify":
            found = dict.fromkeys(found, "")
        found[PREFIX + _DONE[entry.state]] = f"{entry.at} {entry.words}"
    return {
        **found,
        f"{PREFIX}state": record.state,
        f"{PREFIX}target": record.target,
        f"{PREFIX}component": record.component,
    }
