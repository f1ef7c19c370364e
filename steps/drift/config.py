"""What the drift check is told: where windows and references lie, and what counts as drift."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from steps.contract import StepError

QUARTER_HOURS = 24 * 365.25 / 4


@dataclass(frozen=True)
class DriftConfig:
    """The step's arguments."""

    windows: str
    """A folder, or ``s3://BUCKET/PREFIX`` with ``<thing>/<yyyy>/<mm>/<dd>/<id>.json`` below it."""
    references: str
    """A folder or ``s3://BUCKET/PREFIX`` with ``<component version>.json``; or a package's folder,
    or a single file, which then serves every component version of its model version."""
    component: str
    until: datetime
    """The time of the check, UTC: windows that ended later than this are not looked at yet."""
    period_hours: int = 24
    """Windows are added up over this long, from midnight UTC on."""
    periods: int = 3
    """How many complete periods are looked at. Only the newest can raise an alarm."""
    grace_hours: float = 2.0
    """How long after its end a period is complete: devices send a window when it is over."""
    minimum_utterances: int = 200
    minimum_devices: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.period_hours <= 24 * 28:
            raise StepError(f"--period-hours {self.period_hours} is not 1 to 672: give hours.")
        if self.periods < 1:
            raise StepError(f"--periods {self.periods} is less than 1: name at least one.")
        if self.minimum_devices < 2:
            raise StepError(
                f"--min-devices {self.minimum_devices} is less than 2: one device alone cannot "
                "show how much devices differ."
            )

    @property
    def period(self) -> timedelta:
        return timedelta(hours=self.period_hours)

    @property
    def checks_per_quarter(self) -> float:
        """How often a quarter a newest complete period is tested for the first time."""
        return QUARTER_HOURS / self.period_hours

    def period_of(self, moment: datetime) -> datetime:
        """When the period that holds ``moment`` began."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return epoch + (moment - epoch) // self.period * self.period

    def complete_periods(self) -> list[datetime]:
        """When the periods that are looked at began, the oldest first."""
        newest = self.period_of(self.until - timedelta(hours=self.grace_hours)) - self.period
        return [newest - self.period * back for back in range(self.periods - 1, -1, -1)]


def parse_time(text: str) -> datetime:
    """A time with its zone, as UTC; what has no zone is UTC.

    Raises:
        ValueError: It is no time in ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
