"""Approves or rejects a registered version, after its figures were shown.

A version that the parity gate rejected stays rejected: its compiled form is not the model that was
measured. One that a person rejected may be approved later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.local.errors import UsageError

PENDING, APPROVED, REJECTED = "PendingManualApproval", "Approved", "Rejected"
_METRIC = "metric."
_PARITY = "Parity gate:"  # how steps/compile begins its reason
_TEXT = 1024  # characters of ApprovalDescription


@dataclass(frozen=True)
class Version:
    """A model package.

    Attributes:
        metrics: The figures of its evaluation, by name.
        properties: What else was recorded: commit, data, parameters.
        reason: What was said when its status changed last.
    """

    arn: str
    group: str
    number: int
    status: str
    reason: str
    created: datetime
    metrics: Mapping[str, float]
    properties: Mapping[str, str]


def find(account: Account, given: str | None) -> Version:
    """The version that a user named by number or ARN; the newest pending one when by neither.

    Raises:
        UsageError: It is neither.
        CloudError: There is none.
    """
    group = account.settings.model_package_group
    if given is None:
        for arn in _arns(account, PENDING):
            return _read(account, arn)
        raise CloudError(
            f"No version of {group} waits for approval in {account.place}: name one by its number."
        )
    if given.isdecimal():
        arn = f"{account.settings.model_package_group_arn}/{given}"
        arn = arn.replace(":model-package-group/", ":model-package/")
    elif re.fullmatch(r"arn:[a-z-]+:sagemaker:[a-z0-9-]+:[0-9]{12}:model-package/.+/[0-9]+", given):
        arn = given
    else:
        raise UsageError(f"{given!r} is not a version: give its number or its ARN.")
    try:
        return _read(account, arn)
    except MissingError:
        raise MissingError(
            f"There is no version {given} of {group} in {account.place}: check --env."
        ) from None


def champion(account: Account) -> Version | None:
    """The newest approved version; None when nothing is approved yet."""
    for arn in _arns(account, APPROVED):
        return _read(account, arn)
    return None


def check_approval(version: Version) -> None:
    """Refuse to approve what is approved, or what the parity gate rejected.

    Raises:
        CloudError: It is.
    """
    if version.status == APPROVED:
        raise CloudError(f"Version {version.number} of {version.group} is approved already.")
    if version.status == REJECTED and version.reason.startswith(_PARITY):
        raise CloudError(
            f"Version {version.number} of {version.group} was rejected by the parity gate "
            f"({version.reason.removeprefix(_PARITY).strip().rstrip('.')}): train again, or run "
            "the pipeline with other bounds."
        )


def check_rejection(version: Version) -> None:
    """Refuse to reject what is rejected.

    Raises:
        CloudError: It is.
    """
    if version.status == REJECTED:
        said = f" ({version.reason.rstrip('.')})" if version.reason else ""
        raise CloudError(f"Version {version.number} of {version.group} is rejected already{said}.")


def decide(account: Account, version: Version, status: str, words: str) -> None:
    """Set a version's status; ``words``, if any, is the note or reason that is kept with it.

    Raises:
        CloudError: It was refused.
    """
    verb = "approve" if status == APPROVED else "reject"
    described = _describe(account, version.arn)
    account.call(
        "sagemaker",
        "update_model_package",
        f"{verb} version {version.number} of {version.group}",
        ModelPackageArn=version.arn,
        ModelApprovalStatus=status,
        # unchanged, and said so: an emulator drops what is left out
        CustomerMetadataProperties=described.get("CustomerMetadataProperties", {}),
        **({"ApprovalDescription": words[:_TEXT]} if words else {}),
    )


def _arns(account: Account, status: str) -> Iterator[str]:
    """The versions with a status, the newest first; none where there is no group."""
    group = account.settings.model_package_group
    try:
        for page in account.pages(
            "sagemaker",
            "list_model_packages",
            f"list the versions of {group}",
            ModelPackageGroupName=group,
            ModelApprovalStatus=status,
            SortBy="CreationTime",
            SortOrder="Descending",
        ):
            yield from (one["ModelPackageArn"] for one in page["ModelPackageSummaryList"])
    except MissingError:
        return


def _describe(account: Account, arn: str) -> dict[str, Any]:
    return account.call(
        "sagemaker", "describe_model_package", f"read version {arn}", ModelPackageName=arn
    )


def _read(account: Account, arn: str) -> Version:
    described = _describe(account, arn)
    properties: dict[str, str] = described.get("CustomerMetadataProperties", {})
    return Version(
        arn=described["ModelPackageArn"],
        group=described.get("ModelPackageGroupName", account.settings.model_package_group),
        number=int(described.get("ModelPackageVersion", 0)),
        status=described["ModelApprovalStatus"],
        reason=described.get("ApprovalDescription") or "",
        created=described["CreationTime"].astimezone(UTC),
        metrics=dict(_metrics(properties)),
        properties={k: v for k, v in properties.items() if not k.startswith(_METRIC)},
    )


def _metrics(properties: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for key, value in properties.items():
        if key.startswith(_METRIC):
            try:
                yield key.removeprefix(_METRIC), float(value)
            except ValueError:  # somebody else's property of that name
                continue
