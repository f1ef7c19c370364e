"""Where a promotion stands: an object in the target's deployments bucket, one for each version.

It is replaced only if it is still what was read (a conditional write), so that of two runners one
goes on and the other learns of it. Every state and every reason stays in its history.

Leaves out: what is done in a state (steps.py), and the history in the registry (versions.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, cast

from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.session import Account, CloudError

FORMAT = 1
State = Literal[
    "verify", "copy", "canary", "watch", "fleet", "roll-back", "done", "rolled-back", "refused"
]
ENDS: tuple[State, ...] = ("done", "rolled-back", "refused")
CURRENT = "current.json"


@dataclass(frozen=True)
class Entry:
    """A state that a promotion came to."""

    at: str
    state: State
    words: str


@dataclass(frozen=True)
class Record:
    """A promotion.

    Attributes:
        package: The version's ARN in the registry that it comes from.
        group: Its model package group.
        source: The environment that it comes from.
        target: The environment whose devices get it.
        component: The component's version, once the package was read.
        package_url: Where the package lies in the source.
        package_sha256: Of its ``package.json``, which names the hash of everything else.
        model_sha256: Of ``model.tar.gz``.
        expected_out_of_scope: The out-of-scope rate of its reference; None where it has none.
        registered: Its ARN in the target's registry, where that is another one.
        before: What canary and fleet had when it began, to go back to.
        deployments: Of canary and fleet, once they were made.
        since: When the present state began.
        watched: What the canary counted, when it was looked at last.
        holder: Who does the present step; empty when nobody does.
        held_until: When another may take it from there.
        driver: The state machine's execution that goes on with it by itself; empty for a person.
    """

    package: str
    group: str
    version: int
    source: str
    target: str
    started: str
    since: str
    state: State = "verify"
    reason: str = ""
    component: str = ""
    package_url: str = ""
    package_sha256: str = ""
    model_sha256: str = ""
    expected_out_of_scope: float | None = None
    registered: str = ""
    before: Mapping[str, str] = field(default_factory=dict[str, str])
    deployments: Mapping[str, str] = field(default_factory=dict[str, str])
    watched: Mapping[str, Any] = field(default_factory=dict[str, Any])
    history: tuple[Entry, ...] = ()
    updated: str = ""
    holder: str = ""
    held_until: str = ""
    driver: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    @property
    def name(self) -> str:
        """``slm-edge-dev-intents/7``"""
        return f"{self.group}/{self.version}"

    def to(self, state: State, words: str, at: datetime, **changes: Any) -> Record:
        """The record in its next state."""
        when = iso(at)
        entry = Entry(when, state, words)
        reason = words if state in ("roll-back", *ENDS) else ""
        return replace(
            self,
            state=state,
            reason=reason,
            since=when,
            history=(*self.history, entry),
            **changes,
        )


@dataclass(frozen=True)
class Stored:
    """A record as it was read, and the tag that allows to replace it."""

    record: Record
    tag: str


class Records:
    """The promotions into one target."""

    def __init__(self, target: Account) -> None:
        self._account = target
        self._bucket = Bucket(target, target.settings.deployments_bucket)

    def read(self, name: str) -> Stored | None:
        """The promotion of ``GROUP/VERSION``; None if it never began.

        Raises:
            CloudError: It could not be read, or is not one.
        """
        content, tag = self._bucket.read_tagged(self._key(name))
        return Stored(self._parse(name, content), tag) if content and tag else None

    def write(self, record: Record, tag: str | None, at: datetime) -> Stored:
        """Put ``record`` in the place of the one that had ``tag``; None if there was none.

        Raises:
            ConflictError: Somebody else has replaced it meanwhile.
            CloudError: It was refused.
        """
        record = replace(record, updated=iso(at))
        text = json.dumps({"format": FORMAT, **asdict(record)}, indent=2, sort_keys=True) + "\n"
        key = self._key(record.name)
        return Stored(record, self._bucket.replace(key, text.encode(), "application/json", tag))

    def all(self) -> list[Record]:
        """Every promotion, the newest first.

        Raises:
            CloudError: They could not be read.
        """
        prefix = f"{self._prefix}/"
        pages = self._account.pages(
            "s3",
            "list_objects_v2",
            f"list {self._bucket.address(prefix)}",
            Bucket=self._bucket.name,
            Prefix=prefix,
            ExpectedBucketOwner=self._account.settings.account,
        )
        keys = [str(one["Key"]) for page in pages for one in page.get("Contents", [])]
        names = [key.removeprefix(prefix).removesuffix(".json") for key in keys]
        found = [self.read(name) for name in names if f"{name}.json" != CURRENT]
        return sorted(
            (one.record for one in found if one), key=lambda one: one.started, reverse=True
        )

    def take_turn(self, record: Record) -> Record | None:
        """Make ``record`` the one that may change the target, unless another one is at it.

        Returns:
            The other one, which has been verified and has not ended.

        Raises:
            ConflictError: Another began at the same moment.
        """
        key = f"{self._prefix}/{CURRENT}"
        content, tag = self._bucket.read_tagged(key)
        name = str(json.loads(content)["promotion"]) if content else ""
        if name == record.name:
            return None
        other = self.read(name) if name else None
        if other is not None and other.record.state not in ("verify", *ENDS):
            return other.record
        turn = json.dumps({"promotion": record.name}).encode()
        self._bucket.replace(key, turn, "application/json", tag)
        return None

    @property
    def _prefix(self) -> str:
        return self._account.settings.promotions_prefix

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}.json"

    def _parse(self, name: str, content: bytes) -> Record:
        try:
            values: dict[str, Any] = json.loads(content)
            if values.pop("format") != FORMAT:
                raise ValueError("format")
            history = cast("list[dict[str, Any]]", values.pop("history"))
            return Record(**values, history=tuple(Entry(**one) for one in history))
        except (ValueError, KeyError, TypeError):
            raise CloudError(
                f"{self._bucket.address(self._key(name))} is no promotion's record of format "
                f"{FORMAT}: promote with the release that wrote it."
            ) from None


def iso(at: datetime) -> str:
    """In UTC, to the second."""
    return at.isoformat(timespec="seconds")
