"""What the commands for an account print: estimates, versions, a watched execution."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.watching import Watcher
from pipeline.cloud import deployed, watching
from pipeline.cloud.approving import Version
from pipeline.cloud.costs import ExecutionCost, MonthCost, Part, StepCost
from pipeline.cloud.prices import read_prices
from pipeline.cloud.session import Account
from pipeline.local import Execution

_FIGURES = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("macro_f1", "macro F1", "{:.1%}"),
    ("out_of_scope_auroc", "out-of-scope AUROC", "{:.3f}"),
    ("expected_calibration_error", "calibration error", "{:.3f}"),
    ("champion_p_value", "p-value against the champion", "{:.3f}"),
    ("regression_pass_rate", "regression set", "{:.1%}"),
)
_FACTS = ("execution_id", "base_model", "dataset_sha256", "commit")


def options(env: str, endpoint_url: str | None = None) -> str:
    """The options that the next command needs, too."""
    endpoint = f" --endpoint-url {endpoint_url}" if endpoint_url else ""
    return (f" --env {env}" if env != "dev" else "") + endpoint


def print_estimate(cost: ExecutionCost, env: str) -> None:
    """One line before an execution is started."""
    table = read_prices()
    unknown = f", and {', '.join(cost.unpriced)}, which has no price" if cost.unpriced else ""
    _line(
        f"estimate   ${cost.usd:.2f}{unknown} (prices of {table.region}, {table.date}; "
        f"slm costs{options(env)} shows the parts)"
    )


def print_started(arn: str, env: str, endpoint_url: str | None) -> None:
    """What was started, and what to do next."""
    _line(f"execution  {arn}")
    _line(f"next       slm watch {deployed.short(arn)}{options(env, endpoint_url)}")


def watch(account: Account, arn: str, env: str) -> str:
    """Show an execution until it ends and say why it ended; returns its status.

    Raises:
        CloudError: It cannot be watched.
    """
    console = Console(highlight=False)
    with Watcher(console) as watcher:
        try:
            execution = watching.watch(
                account,
                arn,
                watcher,
                lambda sentence: console.print(sentence, style="dim", markup=False, soft_wrap=True),
            )
        except KeyboardInterrupt:
            execution = None
    if execution is None:
        name, place = deployed.short(arn), options(env, account.endpoint_url)
        _error(f"Stopped watching; execution {name} goes on.")
        _error(f"go on    slm watch {name}{place}")
        _error(f"stop it  aws sagemaker stop-pipeline-execution --pipeline-execution-arn {arn}")
        return "Stopped"
    if execution.status == "Succeeded":
        _line(f"\nnext     slm approve{options(env, account.endpoint_url)}")
    else:
        _print_end(watcher, execution)
    return execution.status


def _print_end(watcher: Watcher, execution: Execution) -> None:
    """Say on the error output why an execution ended."""
    if execution.status == "Stopped":
        _error(f"\nExecution {execution.id} was stopped.")
        return
    failure = watcher.failures[-1] if watcher.failures else None
    if failure is None:
        _error(f"\nerror: {execution.failure_reason or 'the execution failed, without a reason'}")
        return
    _error("")
    for line in failure.log_tail:
        _error(f"  | {line}", style="dim")
    _error(f"error: {watcher.title(failure.step)} failed: {failure.reason}")


def print_version(version: Version, champion: Version | None) -> None:
    """A version's figures beside those of the one that is approved now."""
    _line(
        f"version {version.number} of {version.group}, {version.status}, "
        f"{version.created:%Y-%m-%d %H:%M} UTC"
    )
    beside = champion if champion is not None and champion.arn != version.arn else None
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for title in ("", f"version {version.number}", *_beside(beside)):
        table.add_column(title, no_wrap=True)
    for name, title, form in _FIGURES:
        if name in version.metrics:
            table.add_row(
                title,
                form.format(version.metrics[name]),
                *([_figure(beside, name, form)] if beside else []),
            )
    if table.row_count:
        _console().print(table)
    else:
        _line("nobody has measured it")
    for name in _FACTS:
        if name in version.properties:
            _line(f"{name:<16}{version.properties[name]}")
    if version.reason:
        _line(f"{'said':<16}{version.reason}")


def _beside(champion: Version | None) -> Iterator[str]:
    if champion is not None:
        yield f"approved: version {champion.number}"


def _figure(version: Version, name: str, form: str) -> str:
    return form.format(version.metrics[name]) if name in version.metrics else "–"


def print_costs(month: MonthCost, name: str, whose: str) -> None:
    """The parts of an execution and of a month, and the budget."""
    prices = read_prices()
    console = _console()
    _line(
        f"{name}: prices of {prices.region} as known on {prices.date}, in US dollars; "
        f"minutes {whose}."
    )
    _line("")
    console.print(_execution_table(month.execution))
    _line("")
    table = _table("at rest, a month", "USD", "")
    for part in month.at_rest:
        table.add_row(part.name, f"{part.usd:.2f}", Text(part.how, "dim"))
    table.add_row("at rest", f"{month.resting:.2f}", "", style="bold")
    table.add_section()
    for part in month.monitoring:
        table.add_row(part.name, f"{part.usd:.2f}", Text(part.how, "dim"))
    watched = Text(f"with {month.devices} devices", "dim")
    table.add_row("monitoring", f"{month.watching:.2f}", watched, style="bold")
    table.add_section()
    for part in month.promotion:
        table.add_row(part.name, f"{part.usd:.2f}", Text(part.how, "dim"))
    often = Text(f"{month.promotions:.0f} a month, assumed", "dim")
    table.add_row("promotion", f"{month.promoting:.2f}", often, style="bold")
    table.add_section()
    each = f"at ${month.execution.usd:.2f}"
    count = month.executions
    table.add_row(
        f"{count} execution{'s' if count != 1 else ''}",
        f"{count * month.execution.usd:.2f}",
        Text(each, "dim"),
    )
    share = f"{month.usd / month.budget:.0%} of the budget of ${month.budget:.2f}"
    table.add_row("a month", f"{month.usd:.2f}", share, style="bold")
    console.print(table)
    for note in _notes(month):
        _line(note)


def _execution_table(cost: ExecutionCost) -> Table:
    table = _table("step", "USD", "")
    for step in cost.steps:
        usd = "no price" if step.usd is None else f"{step.usd:.3f}"
        table.add_row(step.title, usd, Text(_machine(step), "dim"))
    for part in cost.parts:
        table.add_row(*_row(part))
    table.add_row("an execution", f"{cost.usd:.3f}", "", style="bold")
    return table


def _row(part: Part) -> tuple[str, str, Text]:
    return part.name, f"{part.usd:.3f}", Text(part.how, "dim")


def _machine(step: StepCost) -> str:
    count = f"{step.count} × " if step.count != 1 else ""
    discount = read_prices().assumed("spot_discount")
    spot = f", spot at {1 - discount:.0%} of the price (assumed)" if step.spot else ""
    return f"{step.minutes:.1f} min of {count}{step.machine}{spot}"


def _notes(month: MonthCost) -> Iterator[str]:
    if month.usd > month.budget:
        yield f"This is above the budget by ${month.usd - month.budget:.2f}."
    for note in month.notes:
        yield f"Note: {note}."
    yield "Sources and assumptions stand in pipeline/cloud/prices.toml; tax is left out."


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number < 2, justify="right" if number == 1 else "left")
    return table


def _console() -> Console:
    return Console(highlight=False)


def _line(text: str) -> None:
    _console().print(text, markup=False, soft_wrap=True)


def _error(text: str, style: str | None = None) -> None:
    Console(stderr=True, highlight=False).print(text, style=style, markup=False, soft_wrap=True)
