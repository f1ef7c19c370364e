"""What an execution and a month are estimated to cost, by ``prices.toml`` alone.

An execution's jobs are read from a definition: machine, count, volume and spot, with the values of
its parameters. Minutes are the table's assumption, or those of an execution that has run. Nothing
here calls AWS.

Leaves out: tax, support plans, data transfer to the internet, a VPC's endpoints, and what people
start besides the pipeline (Studio's apps, endpoints).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.cloud.monitored import DAYS_A_MONTH, HOURS_A_MONTH, Part, monitoring_cost
from pipeline.cloud.prices import Prices, read_prices
from pipeline.settings import Settings

_LAMBDA_GB = 0.125
DEVICES = 100
"""Of an estimate that is told of none."""
PROMOTION_GB = 0.5
"""Memory of the function that promotes; see cdk/promotion/promotion.py."""
STATES_A_STEP, STATES_AROUND = 3, 1
"""What the state machine enters for each step (the step, whether it is over, a pause) and, besides,
in each execution: the beginning; the end takes the place of a pause (cdk/promotion/machine.py)."""


@dataclass(frozen=True)
class StepCost:
    """One job.

    Attributes:
        usd: None where the machine has no price.
    """

    step: str
    title: str
    machine: str
    count: int
    spot: bool
    minutes: float
    usd: float | None


@dataclass(frozen=True)
class ExecutionCost:
    """An execution in which every step runs, once.

    Attributes:
        usd: Without the jobs that have no price.
        unpriced: Machines without a price.
    """

    steps: tuple[StepCost, ...]
    parts: tuple[Part, ...]

    @property
    def usd(self) -> float:
        return sum(step.usd or 0.0 for step in self.steps) + sum(part.usd for part in self.parts)

    @property
    def unpriced(self) -> tuple[str, ...]:
        return tuple(sorted({step.machine for step in self.steps if step.usd is None}))


@dataclass(frozen=True)
class MonthCost:
    """A month: what is there at rest, what watches, promotions, and some executions."""

    at_rest: tuple[Part, ...]
    monitoring: tuple[Part, ...]
    devices: int
    promotion: tuple[Part, ...]
    promotions: float
    execution: ExecutionCost
    executions: int
    budget: float
    notes: tuple[str, ...] = field(default=())

    @property
    def resting(self) -> float:
        return sum(part.usd for part in self.at_rest)

    @property
    def watching(self) -> float:
        return sum(part.usd for part in self.monitoring)

    @property
    def promoting(self) -> float:
        return sum(part.usd for part in self.promotion)

    @property
    def usd(self) -> float:
        executions = self.executions * self.execution.usd
        return self.resting + self.watching + self.promoting + executions


def execution_cost(
    definition: Mapping[str, Any],
    values: Mapping[str, object],
    measured: Mapping[str, float] | None = None,
) -> ExecutionCost:
    """Estimate one execution.

    Args:
        definition: Its steps.
        values: The value of every parameter.
        measured: Billed minutes by step, where known; the table's assumption elsewhere.
    """
    table = read_prices()
    steps = tuple(
        _step_cost(table, step, values, measured or {})
        for step in jobs(definition.get("Steps", []))
    )
    return ExecutionCost(steps, _around(table))


def jobs(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The steps that are jobs, those behind gates included."""
    for step in steps:
        arguments: dict[str, Any] = step.get("Arguments") or {}
        if step.get("Type") in ("Processing", "Training"):
            yield step
        elif step.get("Type") == "Condition":
            yield from jobs(arguments.get("IfSteps", []))
            yield from jobs(arguments.get("ElseSteps", []))


def _step_cost(
    table: Prices,
    step: Mapping[str, Any],
    values: Mapping[str, object],
    measured: Mapping[str, float],
) -> StepCost:
    arguments: Mapping[str, Any] = step["Arguments"]
    training = step["Type"] == "Training"
    cluster: Mapping[str, Any] = (
        arguments.get("ResourceConfig", {})
        if training
        else arguments.get("ProcessingResources", {}).get("ClusterConfig", {})
    )
    machine = str(_value(cluster.get("InstanceType", "unknown"), values))
    count = _count(_value(cluster.get("InstanceCount", 1), values))
    spot = training and bool(arguments.get("EnableManagedSpotTraining"))
    minutes = measured.get(step["Name"], assumed_minutes(step["Name"], values))
    price = table.instance_hours.get(machine)
    usd = None
    if price is not None:
        hourly = price.usd * (1 - table.assumed("spot_discount") if spot else 1.0)
        kind = "training" if training else "processing"
        volume = _count(_value(cluster.get("VolumeSizeInGB", 0), values))
        hourly += volume * table.usd(f"{kind}_volume_gb_month") / HOURS_A_MONTH
        usd = count * minutes / 60 * hourly
    title = step.get("DisplayName") or step["Name"]
    return StepCost(step["Name"], str(title), machine, count, spot, minutes, usd)


def assumed_minutes(step: str, values: Mapping[str, object]) -> float:
    """The billed minutes that the table assumes for a step."""
    table = read_prices()
    known = table.minutes.get(step)
    if known is None:
        return table.assumed("default_minutes")
    epochs = values.get("Epochs", 0)
    return known.minutes + known.minutes_an_epoch * (
        float(epochs) if isinstance(epochs, int | float) else 0.0
    )


def _value(expression: object, values: Mapping[str, object]) -> object:
    """What an argument is, once the parameters are known; itself if it is no parameter."""
    match expression:
        case {"Get": str(path)} if path.startswith("Parameters."):
            return values.get(path.removeprefix("Parameters."), "unknown")
        case _:
            return expression


def _count(value: object) -> int:
    return value if isinstance(value, int) else 1


def _around(table: Prices) -> tuple[Part, ...]:
    """What an execution costs besides its machines."""
    puts, gets = table.assumed("s3_puts_an_execution"), table.assumed("s3_gets_an_execution")
    requests = table.assumed("kms_requests_an_execution")
    return (
        Part(
            "requests to S3 and the key",
            puts / 1e3 * table.usd("s3_puts_1k")
            + gets / 1e3 * table.usd("s3_gets_1k")
            + requests / 1e4 * table.usd("kms_requests_10k"),
            f"{puts:.0f} writes, {gets:.0f} reads, {requests:.0f} uses of the key, assumed",
        ),
    )


def month_cost(
    settings: Settings, execution: ExecutionCost, executions: int = 10, devices: int = DEVICES
) -> MonthCost:
    """Estimate a month of an environment with a number of executions and of devices."""
    table = read_prices()
    return MonthCost(
        at_rest=tuple(_at_rest(table)),
        monitoring=monitoring_cost(settings, devices=devices, executions=executions),
        devices=devices,
        promotion=promotion_costs(table),
        promotions=table.assumed("promotions_a_month"),
        execution=execution,
        executions=executions,
        budget=settings.budget.monthly_usd,
        notes=tuple(_notes(table, settings)),
    )


def _at_rest(table: Prices) -> Iterator[Part]:
    key = table.usd("kms_key_month")
    yield Part("key", key, f"one; ${key:.2f} more from each of its first two yearly rotations")
    for name, size, price in (
        ("S3", "s3_gb", "s3_gb_month"),
        ("images in ECR", "ecr_gb", "ecr_gb_month"),
        ("logs kept", "logs_gb_kept", "logs_gb_month"),
    ):
        gigabytes = table.assumed(size)
        usd = table.usd(price)
        yield Part(name, gigabytes * usd, f"{gigabytes:g} GB, assumed, at ${usd:g} a GB")
    events = table.assumed("events_a_month")
    yield Part(
        "events",
        _events(table, events),
        f"{events:.0f} through EventBridge, Lambda, Scheduler, SQS and SNS, assumed",
    )
    beyond = max(0, 1 - table.free.action_budgets)
    yield Part(
        "budget and its action",
        beyond * DAYS_A_MONTH * table.usd("budget_action_day"),
        f"one; {table.free.action_budgets} with actions are free",
    )
    yield Part("roles, alarm topic, registry, pipeline", 0.0, "free; Studio's domain is, too")


def _events(table: Prices, events: float) -> float:
    """EventBridge's own events cost nothing; what they are handed on to does."""
    seconds = table.assumed("lambda_seconds")
    each = (
        table.usd("lambda_requests_1m") / 1e6
        + seconds * _LAMBDA_GB * table.usd("lambda_gb_second")
        + table.usd("scheduler_1m") / 1e6
        + table.usd("sqs_requests_1m") / 1e6
        + table.usd("sns_mails_100k") / 1e5
    )
    return events * each


def promotion_costs(table: Prices) -> tuple[Part, ...]:
    """What a month's promotions cost: the state machine's transitions, and the function's calls.

    Devices download what is promoted either way, and requests to S3 are too few to count.
    """
    count, each = table.assumed("promotions_a_month"), table.assumed("promotion_step_seconds")
    calls = count * table.assumed("promotion_steps")
    entered = calls * STATES_A_STEP + count * STATES_AROUND
    beyond = max(0.0, entered - table.free.state_transitions)
    often = f"{count:.0f} promotions, assumed"
    return (
        Part(
            "state transitions",
            beyond / 1e3 * table.usd("state_transitions_1k"),
            f"{entered:,.0f} of {often}; {table.free.state_transitions:,} are free",
        ),
        Part(
            "calls of the function",
            calls / 1e6 * table.usd("lambda_requests_1m")
            + calls * each * PROMOTION_GB * table.usd("lambda_gb_second"),
            f"{calls:,.0f} of {each:.0f} seconds, of {often}",
        ),
    )


def release_cost(table: Prices) -> tuple[Part, ...]:
    """What a release through the delivery pipeline costs besides the executions that it starts.

    The free minutes that every account has (100 of CodeBuild's small machine and 100 of
    CodePipeline's actions a month) are not counted; waiting for an approval costs nothing.
    """
    minutes = {
        size: table.assumed(f"release_{size}_minutes") for size in ("small", "medium", "arm")
    }
    builds = sum(minutes[size] * table.usd(f"codebuild_{size}_minute") for size in minutes)
    total = sum(minutes.values())
    how = ", ".join(f"{count:g} min {size}" for size, count in minutes.items())
    return (
        Part("builds", builds, f"{how}, assumed"),
        Part("pipeline", total * table.usd("codepipeline_minute"), f"{total:g} min of actions"),
    )


def _notes(table: Prices, settings: Settings) -> Iterator[str]:
    """What the sum does not say."""
    if settings.delivery.connection:
        parts = release_cost(table)
        each = "; ".join(f"{part.name} ${part.usd:.2f}: {part.how}" for part in parts)
        yield (
            f"a release through {settings.delivery_pipeline} costs "
            f"${sum(part.usd for part in parts):.2f} besides its executions ({each})"
        )
    if settings.region != table.region:
        yield f"these are prices of {table.region}; {settings.region} may differ by a fifth"
    if settings.network.subnets:
        yield "the endpoints or the NAT gateway of your VPC are not counted ($7 to $35 each)"
    if settings.studio.enabled:
        yield "Studio's apps are not counted: they cost by the hour while they are open"
    if settings.retraining.schedule:
        yield f"the schedule {settings.retraining.schedule} starts executions, too: count them"
