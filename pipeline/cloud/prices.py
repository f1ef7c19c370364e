"""The price table, ``prices.toml``: dated, for one region, every price with its source."""

from __future__ import annotations

import functools
import tomllib
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

TABLE = Path(__file__).with_name("prices.toml")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Entry):
    """US dollars for one unit; ``source`` is a key of the table's sources."""

    usd: float = Field(ge=0)
    source: str


class Assumption(_Entry):
    """A size, a count or a share that nobody has measured here, with its reason."""

    value: float = Field(ge=0)
    why: str = Field(min_length=1)


class Minutes(_Entry):
    """Billed minutes of a step: a part that is there once, and one for each epoch."""

    minutes: float = Field(gt=0)
    minutes_an_epoch: float = Field(default=0.0, ge=0)


class Free(_Entry):
    """What every account gets for good."""

    metrics: int
    metric_requests: int
    alarm_metrics: int
    dashboards: int
    logs_gb: float
    action_budgets: int
    state_transitions: int


class Prices(_Entry):
    """The whole table."""

    date: date
    region: str
    sources: dict[str, str]
    instance_hours: dict[str, Price]
    prices: dict[str, Price]
    free: Free
    assumptions: dict[str, Assumption]
    minutes: dict[str, Minutes]

    @model_validator(mode="after")
    def _names_a_source_for_every_price(self) -> Prices:
        for name, price in {**self.instance_hours, **self.prices}.items():
            if price.source not in self.sources:
                raise ValueError(f"{name}: source {price.source!r} is not one of the sources")
        return self

    def usd(self, name: str) -> float:
        """The price called ``name``."""
        return self.prices[name].usd

    def assumed(self, name: str) -> float:
        """The assumption called ``name``."""
        return self.assumptions[name].value


@functools.cache
def read_prices() -> Prices:
    """The table that is shipped."""
    return Prices.model_validate(tomllib.loads(TABLE.read_text(encoding="utf-8")))
