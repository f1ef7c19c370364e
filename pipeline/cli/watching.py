"""Shows an execution while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.local import (
    Event,
    Execution,
    ExecutionEnded,
    ExecutionStarted,
    StepFailed,
    StepLog,
    StepSkipped,
    StepStarted,
    StepStopped,
    StepSucceeded,
)

_STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "done": "green",
    "cached": "green",
    "skipped": "dim",
    "failed": "bold red",
    "stopped": "yellow",
    "retrying": "yellow",
}
_SIGNS = {
    "waiting": "·",
    "running": "▸",
    "done": "✓",
    "cached": "✓",
    "skipped": "–",
    "failed": "✗",
    "stopped": "■",
    "retrying": "↻",
}


def duration(seconds: float) -> str:
    """``4.2 s`` or ``3 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


@dataclass
class _Line:
    """What is known of a step."""

    title: str
    is_fail: bool
    state: str = "waiting"
    since: float = 0.0
    seconds: float | None = None
    log: str = ""


class Watcher:
    """A listener for :func:`pipeline.local.run`; use it as a context manager.

    Attributes:
        failures: What failed, in order; the last one ended the execution.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, _Line] = {}
        self._id = ""
        self._live: Live | None = None
        self.failures: list[StepFailed] = []
        if console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=console, refresh_per_second=8, transient=False
            )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case ExecutionStarted(execution, resumed):
                self._begin(execution, resumed)
            case StepStarted(_, step, attempt, running):
                line = self._lines[step]
                line.state, line.since, line.seconds = "running", time.monotonic() - running, None
                again = f", attempt {attempt}" if attempt > 1 else ""
                if not line.is_fail:
                    self._say(f"{line.title}: started{again}")
            case StepLog(_, step, text):
                self._lines[step].log = text
            case StepSucceeded(_, step, seconds, cached):
                self._end(step, "cached" if cached else "done", seconds)
            case StepSkipped(_, step):
                self._lines[step].state = "skipped"
            case StepStopped(_, step, seconds):
                self._end(step, "stopped", seconds)
            case StepFailed():
                self._failed(event)
            case ExecutionEnded():
                pass

    def _begin(self, execution: Execution, resumed: bool) -> None:
        self._id = execution.id
        states = {"Succeeded": "done", "Skipped": "skipped"}
        for step in execution.steps.values():
            self._lines[step.name] = _Line(
                step.display_name or step.name,
                step.type == "Fail",
                states.get(step.status, "waiting"),
                seconds=step.seconds if step.status == "Succeeded" else None,
            )
        self._say(f"execution {execution.id}{' resumed' if resumed else ''}")

    def _end(self, step: str, state: str, seconds: float) -> None:
        line = self._lines[step]
        line.state, line.seconds = state, seconds
        self._say(f"{line.title}: {state}, {duration(seconds)}")

    def _failed(self, event: StepFailed) -> None:
        self.failures.append(event)
        state = "failed" if event.retry_in is None else "retrying"
        self._end(event.step, state, event.seconds)
        if event.retry_in is not None:
            self._say(f"  {event.reason} Again in {event.retry_in:.0f} s.")

    def _say(self, line: str) -> None:
        if self._live is None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def title(self, step: str) -> str:
        """What a step is called on the screen."""
        return self._lines[step].title if step in self._lines else step

    def _table(self) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=26)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        running = ""
        for line in self._lines.values():
            if line.is_fail and line.state in {"waiting", "skipped"}:
                continue  # a Fail step that is not reached is no step to the reader
            style = _STYLES[line.state]
            seconds = line.seconds
            if line.state == "running":
                seconds = time.monotonic() - line.since
                running = line.log or running
            shown = duration(seconds) if seconds is not None else ""
            table.add_row(
                Text(_SIGNS[line.state], style), Text(line.title), Text(line.state, style), shown
            )
        last = Text(running.strip() or " ", style="dim", no_wrap=True, overflow="ellipsis")
        return Group(Text.from_markup(f"execution [bold]{escape(self._id)}[/]"), table, last)
