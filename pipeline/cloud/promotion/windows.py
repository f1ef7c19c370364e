"""What devices counted with a version: their windows in S3, read and added up.

Only what the devices of one group sent is looked at, and only since a moment: a version that was
there before starts anew. A window that arrived twice counts once; one that cannot be read, or does
not add up, is left out and counted as that. Windows hold counts, never text.

Leaves out: judging (verdict.py), and drift (steps/drift).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from pipeline.cloud.session import Account, MissingError

MILLISECONDS = (
    0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1000,
)  # fmt: skip
"""Lower edges of a window's latency histogram; a test compares them with edge/telemetry/bins.py."""
FAULTS = ("overload", "deadline", "internal", "other")
"""The errors that are the service's; the others are its clients'."""
LONGEST = 100_000  # bytes of a window; a device sends at most some ten thousand
ENOUGH = 500  # windows of the version before, the newest first
LOOK_BACK = timedelta(days=7)


@dataclass
class Counts:
    """What was counted with one component version.

    Attributes:
        utterances: Answered, whether or not their window may tell more of them.
        told: Of those, in windows that tell how they were answered.
        faults: Requests that the service failed.
        gave_up: Devices' reports that an update to the version went wrong.
        unreadable: Windows that were left out.
    """

    windows: int = 0
    devices: set[str] = field(default_factory=set[str])
    utterances: int = 0
    told: int = 0
    out_of_scope: int = 0
    faults: int = 0
    gave_up: int = 0
    unreadable: int = 0
    milliseconds: list[int] = field(default_factory=lambda: [0] * len(MILLISECONDS))

    @property
    def requests(self) -> int:
        return self.utterances + self.faults

    @property
    def error_rate(self) -> float | None:
        return self.faults / self.requests if self.requests else None

    @property
    def out_of_scope_rate(self) -> float | None:
        return self.out_of_scope / self.told if self.told else None

    @property
    def p99(self) -> float | None:
        """Milliseconds that 99 % of the answers took at most, within the histogram's bins."""
        return percentile(self.milliseconds, 0.99)

    def to_json(self) -> dict[str, Any]:
        """For the record; :meth:`of` reads it again."""
        return {**asdict(self), "devices": sorted(self.devices)}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Counts:
        known: dict[str, Any] = {**value, "devices": set(cast("list[str]", value["devices"]))}
        return cls(**known)


def percentile(counts: list[int], share: float) -> float | None:
    """Where ``share`` of a histogram lies below, as if a bin's values were spread evenly."""
    wanted = share * sum(counts)
    if not wanted:
        return None
    for place, count in enumerate(counts):
        if count and wanted <= count:
            low = MILLISECONDS[place]
            last = place + 1 == len(MILLISECONDS)
            high = 2 * low if last else MILLISECONDS[place + 1]
            return low + (high - low) * wanted / count
        wanted -= count
    return None


def read(
    account: Account, things: list[str], version: str, since: datetime, until: datetime
) -> Counts:
    """What ``things`` counted with ``version``, in windows that arrived from ``since`` on.

    Raises:
        CloudError: They could not be read.
    """
    counts = Counts()
    seen: set[str] = set()
    for thing in things:
        for key in _keys(account, thing, _days(since, until), since):
            _add(counts, seen, thing, version, _window(account, key))
    return counts


def read_before(account: Account, things: list[str], version: str, until: datetime) -> Counts:
    """The same of the version before, the newest windows, as many as are enough.

    Raises:
        CloudError: They could not be read.
    """
    counts = Counts()
    seen: set[str] = set()
    for day in reversed(_days(until - LOOK_BACK, until)):
        for thing in things:
            for key in _keys(account, thing, [day], until - LOOK_BACK):
                _add(counts, seen, thing, version, _window(account, key))
        if counts.windows >= ENOUGH:
            break
    return counts


def _days(first: datetime, last: datetime) -> list[str]:
    """As the keys have them, in UTC."""
    days = (last.date() - first.date()).days + 1
    return [f"{first.date() + timedelta(days=n):%Y/%m/%d}" for n in range(days)]


def _keys(account: Account, thing: str, days: list[str], since: datetime) -> Iterator[str]:
    settings = account.settings
    for day in days:
        prefix = f"{settings.telemetry_prefix}/{thing}/{day}/"
        for page in account.pages(
            "s3",
            "list_objects_v2",
            f"list s3://{settings.processed_bucket}/{prefix}",
            Bucket=settings.processed_bucket,
            Prefix=prefix,
            ExpectedBucketOwner=settings.account,
        ):
            for one in page.get("Contents", []):
                if one["LastModified"] >= since and one["Size"] <= LONGEST:
                    yield one["Key"]


def _window(account: Account, key: str) -> Any:
    settings = account.settings
    doing = f"read s3://{settings.processed_bucket}/{key}"
    try:
        answer = account.call(
            "s3",
            "get_object",
            doing,
            Bucket=settings.processed_bucket,
            Key=key,
            ExpectedBucketOwner=settings.account,
        )
    except MissingError:  # expired between the listing and now
        return None
    with account.errors(doing):
        content = answer["Body"].read()
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _add(counts: Counts, seen: set[str], thing: str, version: str, window: Any) -> None:
    try:
        read = _Window.of(window, version)
    except (KeyError, TypeError, ValueError, AttributeError):
        counts.unreadable += 1
        return
    if read.id in seen:
        return
    seen.add(read.id)
    counts.gave_up += read.gave_up
    if read.version != version:
        return
    counts.windows += 1
    counts.devices.add(thing)
    counts.utterances += read.utterances
    counts.faults += read.faults
    counts.told += read.told
    counts.out_of_scope += read.out_of_scope
    counts.milliseconds = [
        a + b for a, b in zip(counts.milliseconds, read.milliseconds, strict=True)
    ]


@dataclass(frozen=True)
class _Window:
    """One window, as far as it is looked at."""

    id: str
    version: str
    utterances: int
    faults: int
    told: int
    out_of_scope: int
    milliseconds: list[int]
    gave_up: int

    @classmethod
    def of(cls, value: Any, version: str) -> _Window:
        """Read a window.

        Raises:
            KeyError: Something is missing; and the like for what is of another type.
        """
        utterances = _count(value["utterances"])
        counts: Any = value["counts"]
        errors: dict[str, Any] = value["errors"]
        told, outside, milliseconds = 0, 0, [0] * len(MILLISECONDS)
        if counts is not None:
            told, outside = utterances, _count(counts["out_of_scope"])
            milliseconds = [_count(one) for one in cast("list[Any]", counts["milliseconds"])]
            if len(milliseconds) != len(MILLISECONDS) or sum(milliseconds) != utterances:
                raise ValueError("milliseconds")
            if outside > utterances:
                raise ValueError("out_of_scope")
        reports: list[dict[str, Any]] = value.get("reports", [])
        return cls(
            id=str(value["id"]),
            version=str(value["component"]),
            utterances=utterances,
            faults=sum(_count(errors.get(kind, 0)) for kind in FAULTS),
            told=told,
            out_of_scope=outside,
            milliseconds=milliseconds,
            gave_up=sum(one.get("version") == version for one in reports),
        )


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise ValueError("count")
    return value
