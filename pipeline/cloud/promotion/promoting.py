"""One step of a promotion at a time, by one runner at a time, of one version at a time.

Whoever promotes (the function in the account, a person's ``slm promote``, or both at once) calls
``begin`` once and then ``advance`` until it has ended. A step is claimed in the record before it is
begun, for a few minutes: another runner waits meanwhile, and takes over when they are past. Two
versions do not reach the devices at once: the later one waits, and its runner helps the earlier to
its end. So nothing depends on a particular runner staying alive.

What is left half done is done again, from the beginning of its step; the registry is written before
the record, so that its history lacks nothing of what the record says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipeline.cloud.promotion import steps, versions
from pipeline.cloud.promotion.artifacts import RefusedError
from pipeline.cloud.promotion.record import Record, Records, Stored, iso
from pipeline.cloud.promotion.steps import SOON, Place, Step
from pipeline.cloud.session import Account, CloudError, ConflictError, MissingError

CLAIM = timedelta(minutes=15)
"""As long as the function may run: nobody else then does its step at the same time."""


@dataclass(frozen=True)
class Look:
    """Where a promotion stands after a step.

    Attributes:
        words: What was done, or what it waits for.
        wait: Seconds until the next step makes sense.
    """

    record: Record
    words: str
    wait: float


class Promoter:
    """Takes versions from one account to the devices of another, or of the same."""

    def __init__(
        self,
        source: Account,
        target: Account,
        *,
        name: str,
        drives: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Args:
        name: Tells this runner from others, and is kept in the record.
        drives: It goes on until the end by itself, as the account's state machine does.
        """
        self._place = Place(source, target, now)
        self._records = Records(target)
        self._name = name
        self._driver = name if drives else ""

    def begin(self, arn: str, *, again: bool = False) -> Record:
        """Start the promotion of a version, or find the one that there is.

        One that was refused starts anew, because what was wrong may have been put right; one that
        was rolled back only ``again``; one that is done is done.

        Raises:
            CloudError: There is no such version, or something was refused.
        """
        version = versions.read(self._place.source, arn)
        stored = self._records.read(f"{version.group}/{version.number}")
        now, words = self._place.now(), f"by {self._name}"
        if stored is None:
            source, target = self._place.source.settings, self._place.target.settings
            record = Record(
                package=version.arn,
                group=version.group,
                version=version.number,
                source=source.environment,
                target=target.environment,
                started=iso(now),
                since=iso(now),
                driver=self._driver,
            ).to("verify", words, now)
            with contextlib.suppress(ConflictError):  # another began it at the same moment
                return self._records.write(record, None, now).record
            return self._read(record.name).record
        restart = ("refused", "rolled-back") if again else ("refused",)
        if stored.record.state not in restart:
            return stored.record
        record = stored.record.to(
            "verify", words, now, component="", before={}, deployments={}, watched={},
            driver=self._driver,
        )  # fmt: skip
        with contextlib.suppress(ConflictError):
            return self._records.write(record, stored.tag, now).record
        return self._read(record.name).record

    def advance(self, name: str) -> Look:
        """Do the next step of ``GROUP/VERSION``.

        Raises:
            CloudError: It could not be done; the promotion can be taken up again.
        """
        stored = self._read(name)
        record = stored.record
        if record.ended:
            return Look(record, record.reason, 0)
        if self._is_anothers(record):
            return Look(record, f"{record.holder} is at it", SOON)
        try:
            if record.state == "copy" and (other := self._records.take_turn(record)):
                return self._help(record, other)
            return self._do(self._claim(stored))
        except ConflictError:  # also when it took longer than the claim
            return Look(record, "another is at it", SOON)
        except BaseException:  # whatever it is: another need not wait for the claim to end
            self._release(name)
            raise

    def _help(self, record: Record, other: Record) -> Look:
        """What ``record`` waits for is brought to its end, in case that nobody else does it."""
        words, wait = f"{other.state} since {other.since}", SOON
        if other.source == record.source:
            look = self.advance(other.name)
            words, wait = look.words, look.wait
        return Look(record, f"waits for {other.name}: {words}", wait)

    def _do(self, claimed: Stored) -> Look:
        record = claimed.record
        try:
            step = steps.STEPS[record.state](self._place, record)
        except RefusedError as refusal:
            words = str(refusal)
            step = Step(record.to("refused", words, self._place.now()), words)
        if step.record.state != record.state:
            self._tell(step.record)
        stored = self._write(step.record, claimed.tag)
        return Look(stored.record, step.words, step.wait)

    def _tell(self, record: Record) -> None:
        """Write the history into the registry, and into the target's where that is another."""
        places = [(self._place.source, record.package)]
        if record.registered:
            places.append((self._place.target, record.registered))
        for account, arn in places:
            with contextlib.suppress(MissingError):  # the record tells of it all the same
                versions.note(account, versions.read(account, arn), versions.history(record))

    def _claim(self, stored: Stored) -> Stored:
        now = self._place.now()
        driver = self._driver or stored.record.driver
        claimed = replace(
            stored.record, holder=self._name, driver=driver, held_until=iso(now + CLAIM)
        )
        return self._records.write(claimed, stored.tag, now)

    def _write(self, record: Record, tag: str) -> Stored:
        free = replace(record, holder="", held_until="")
        return self._records.write(free, tag, self._place.now())

    def _release(self, name: str) -> None:
        with contextlib.suppress(CloudError):
            stored = self._read(name)
            if stored.record.holder == self._name:
                self._write(stored.record, stored.tag)

    def _is_anothers(self, record: Record) -> bool:
        if not record.holder or record.holder == self._name:
            return False
        return datetime.fromisoformat(record.held_until) > self._place.now()

    def _read(self, name: str) -> Stored:
        stored = self._records.read(name)
        if stored is None:
            raise MissingError(
                f"There is no promotion of {name} in {self._place.target.place}: begin it with "
                "slm promote."
            )
        return stored
