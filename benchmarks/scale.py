"""What a million devices and a thousand million utterances ask of an account: arithmetic, no run.

``python -m benchmarks.scale`` prints the tables of docs/scale.md, which a test compares with that
page. A window's size is measured on simulated windows; rates and sizes of ours are the measured
ones that the page names; quotas and prices are published ones, below with their sources, those of
S3 in pipeline/cloud/prices.toml. It leaves out what it costs to make a model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from benchmarks.devices import Fleet, encode, read_outcomes
from pipeline.cloud.prices import read_prices
from pipeline.sections import Edge

DEVICES = 1_000_000
UTTERANCES = 30.0
"""Of a device in a day, in the mean: as in benchmarks/drift.py."""
ROWS = 1_000_000_000
DAY, MONTH = 86_400, 30 * 86_400  # seconds
HOUR = 3_600

# AWS General Reference, "AWS IoT Core endpoints and quotas" (default quotas of large regions)
CONNECTIONS = 500_000  # at the same time, an account; adjustable
CONNECTS = 500  # a second, an account; adjustable
PUBLISHES = 20_000  # inbound, a second, an account; adjustable
# S3 user guide, "Best practices design patterns": a second, of one partitioned prefix
PUTS, GETS = 3_500, 5_500
METRIC_PUTS = 500  # PutMetricData a second, an account ("CloudWatch quotas"); adjustable
# AWS::GreengrassV2::Deployment IoTJobExecutionsRolloutConfig, MaximumPerMinute
ROLLOUT = 1_000
METERED = 5 * 1024  # bytes of a message, of a rule's action and of a record that are billed as one

# List prices of us-east-1, in US dollars, read before; check them before you rely on them:
# aws.amazon.com/iot-core/pricing, /cloudwatch/pricing, /kinesis/data-firehose/pricing and
# /s3/pricing (out to the internet, by TB of a month)
CONNECTED = 0.08  # a million minutes
MESSAGES = ((1e9, 1.00), (4e9, 0.80), (math.inf, 0.70))  # a million, up to so many
RULES = 0.15  # a million started, and the same for a million actions
METRIC_REQUESTS = 0.01  # a thousand PutMetricData
FIREHOSE_GB = 0.029
OUT_TB = ((10, 90.0), (40, 85.0), (100, 70.0), (math.inf, 50.0))

METRIC_ACTIONS = 3  # of the topic rule, beside the one that stores (cdk/edge/telemetry.py)
COMPONENT_MB = 75.0  # docs/sizing.md: the zip with its wheels
PREPARE_SECONDS = 36.3  # docs/results.md: a million rows on two cores
PREPARE_GB = (0.59, 0.62)  # the same, at its highest, for one and for two million rows


def staircase(amount: float, steps: tuple[tuple[float, float], ...]) -> float:
    """The price of an amount whose units get cheaper in steps."""
    total = 0.0
    for size, price in steps:
        part = min(amount, size)
        total += part * price
        amount -= part
    return total


def window_bytes(hours: int) -> float:
    """Mean size of a window of so many hours, as devices send it; made of simulated counts."""
    fleet = Fleet(read_outcomes(), 200, UTTERANCES * hours / 24, np.random.default_rng(0))
    windows = fleet.windows(datetime(2026, 11, 23, tzinfo=UTC), size=10**6)
    sizes = [len(json.dumps(encode(window), separators=(",", ":"))) for window in windows]
    return float(np.mean(sizes))


def telemetry(hours: int) -> Iterator[tuple[str, str]]:
    """Rates and monthly costs of a fleet whose windows are so long."""
    prices, size = read_prices(), window_bytes(hours)
    rate = DEVICES / (hours * HOUR)
    monthly = DEVICES * MONTH / (hours * HOUR)
    billed = monthly * math.ceil(size / METERED)
    days = Edge().telemetry_days
    yield "a window", f"{size / 1000:.1f} kB"
    yield "windows a second", f"{rate:,.0f}, {rate / PUBLISHES:.1%} of the quota of {PUBLISHES:,}"
    yield "PUTs a second, an object each", f"{rate:,.0f}, {rate / PUTS:.1%} of a prefix's {PUTS:,}"
    yield "objects a day", f"{DEVICES * 24 / hours:,.0f}"
    read = DEVICES * 24 / hours / GETS / HOUR
    yield "to GET a day's objects, at the most a prefix gives", f"{read:.2f} hours"
    yield "messages, a month", f"${staircase(billed, MESSAGES) / 1e6:,.0f}"
    actions = 1 + METRIC_ACTIONS
    yield f"a rule with {actions} actions, a month", f"${billed * (1 + actions) * RULES / 1e6:,.0f}"
    puts = rate * METRIC_ACTIONS
    yield (
        "requests to CloudWatch a second",
        f"{puts:,.0f}, {puts / METRIC_PUTS:.0%} of the quota of {METRIC_PUTS}",
    )
    metrics = monthly * METRIC_ACTIONS / 1000 * METRIC_REQUESTS
    yield "requests to CloudWatch, a month", f"${metrics:,.0f}"
    yield "PUTs, a month", f"${monthly / 1000 * prices.usd('s3_puts_1k'):,.0f}"
    yield "GETs of the daily check, a month", f"${monthly / 1000 * prices.usd('s3_gets_1k'):,.0f}"
    stream = billed * METERED / 1e9 * FIREHOSE_GB
    yield "or a stream that writes large files, a month", f"${stream:,.0f}"
    kept = DEVICES * 24 / hours * days * size / 1e9
    yield (
        f"kept for {days} days",
        f"{kept:,.0f} GB, ${kept * prices.usd('s3_gb_month'):,.0f} a month",
    )


def fleet() -> Iterator[tuple[str, str]]:
    """What does not depend on how long a window is."""
    yield (
        "connections at once",
        f"{DEVICES:,}, {DEVICES / CONNECTIONS:.0f} times the quota of {CONNECTIONS:,}",
    )
    yield "all connect again, at the quota", f"{DEVICES / CONNECTS / 60:.0f} minutes"
    connected = DEVICES * MONTH / 60 / 1e6 * CONNECTED
    yield "connected, a month", f"${connected:,.0f}"
    yield "a version to all, at the most a minute", f"{DEVICES / ROLLOUT / 60:.1f} hours"
    out = DEVICES * COMPONENT_MB / 1e6
    yield "a version out of S3", f"{out:,.0f} TB, ${staircase(out, OUT_TB):,.0f}"


def utterances() -> Iterator[tuple[str, str]]:
    """A thousand million utterances, said and as rows of a dataset."""
    yield "the fleet says them in", f"{ROWS / (DEVICES * UTTERANCES):.0f} days"
    hours = ROWS / 1e6 * PREPARE_SECONDS / HOUR
    price = read_prices().instance_hours["ml.r5.2xlarge"].usd
    yield "prepare, one job as it is", f"{hours:.1f} hours, ${hours * price:.2f} on ml.r5.2xlarge"
    one, two = PREPARE_GB
    yield (
        "its memory, if it goes on as from 1 to 2 million",
        f"{one + (two - one) * ROWS / 1e6:.0f} GB",
    )


def table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    """Rows in two columns below a title."""
    found = list(rows)
    width = max(len(name) for name, _ in found)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in found)])


def main() -> None:
    """Print all tables."""
    print(table(f"{DEVICES:,} devices, a window an hour", telemetry(1)), end="\n\n")
    print(table(f"{DEVICES:,} devices, a window a day", telemetry(24)), end="\n\n")
    print(table("the fleet", fleet()), end="\n\n")
    print(table(f"{ROWS:,} utterances", utterances()))


if __name__ == "__main__":
    main()
