"""Runs the steps of one execution: those that are ready side by side, the rest when they are.

A step is ready when every step before it has succeeded. A Condition runs one branch; the steps
of the other, and whatever waits for a skipped step, are skipped. After a failure nothing new is
started, and what runs already may end, so that its work is kept. All records and events are
made in the one thread that calls ``run``; jobs report to it through a queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.local import events
from pipeline.local.attempts import Outcome, StepRunner, Watcher
from pipeline.local.conditions import holds
from pipeline.local.definition import JOB_TYPES, Definition, Step, message_of
from pipeline.local.errors import PipelineError
from pipeline.local.expressions import as_text, resolve
from pipeline.local.jobs import JobError, JobStopped
from pipeline.local.processes import StopRequest
from pipeline.local.runs import Execution, now, save
from pipeline.local.scope import ExecutionScope


@dataclass(frozen=True)
class _Started:
    step: str
    attempt: int
    log: Path


@dataclass(frozen=True)
class _Line:
    step: str
    line: str


@dataclass(frozen=True)
class _AttemptFailed:
    step: str
    failure: JobError
    retry_in: float | None


@dataclass(frozen=True)
class _Ended:
    step: str
    result: Outcome | JobStopped | BaseException


_Message = _Started | _Line | _AttemptFailed | _Ended | None


class Scheduler:
    """Carries one execution to its end; ``execution`` is its current record."""

    def __init__(
        self,
        definition: Definition,
        execution: Execution,
        folder: Path,
        runner: StepRunner,
        scope: Callable[[Mapping[str, Mapping[str, object]]], ExecutionScope],
        listener: Callable[[events.Event], None],
        stop: StopRequest,
        max_parallel: int,
    ) -> None:
        self.execution = execution
        self._definition = definition
        self._folder = folder
        self._runner = runner
        self._scope = scope
        self._listener = listener
        self._stop = stop
        self._max_parallel = max_parallel
        # SimpleQueue, because a signal handler may put into it
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._running: dict[str, threading.Thread] = {}
        self._clocks: dict[str, float] = {}
        self._tails: dict[str, tuple[str, ...]] = {}

    def ask_to_stop(self) -> None:
        """Stop all jobs; asked again, at once. May be called from a signal handler."""
        self._stop.ask()
        self._messages.put(None)

    def run(self) -> Execution:
        """Run until nothing is left to do; the record is then Succeeded, Failed or Stopped."""
        try:
            self._advance()
            while self._running:
                self._handle(self._messages.get())
                self._advance()
        finally:
            self._abandon()
        self._finish()
        return self.execution

    def _advance(self) -> None:
        """Start whatever can be started now."""
        progress = True
        while progress and not self._is_over():
            progress = False
            for step in self._definition.steps.values():
                if self._status(step.name) == "NotStarted" and not self._is_over():
                    progress = self._try(step) or progress

    def _try(self, step: Step) -> bool:
        if any(self._status(name) == "Skipped" for name in step.depends_on) or (
            self._is_on_the_other_branch(step)
        ):
            self._record(step.name, status="Skipped")
            self._listener(events.StepSkipped(self.execution.id, step.name))
            return True
        if any(self._status(name) != "Succeeded" for name in step.depends_on):
            return False
        if step.type not in JOB_TYPES:
            self._decide(step)
            return True
        if len(self._running) >= self._max_parallel:
            return False
        self._start(step)
        return True

    def _is_on_the_other_branch(self, step: Step) -> bool:
        if step.branch is None:
            return False
        condition, needed = step.branch
        if self._status(condition) != "Succeeded":
            return False
        return self.execution.steps[condition].outputs.get("Outcome") != _outcome(needed)

    def _is_over(self) -> bool:
        return self._stop.asked.is_set() or any(
            record.status == "Failed" for record in self.execution.steps.values()
        )

    # Condition and Fail steps

    def _decide(self, step: Step) -> None:
        self._begin(step.name)
        self._listener(events.StepStarted(self.execution.id, step.name, 1))
        scope = self._scope(self._outputs())
        try:
            if step.type == "Fail":
                self._fail(step.name, as_text(resolve(message_of(step), scope)), None, ())
                return
            conditions = step.arguments.at("Conditions").items()
            outcome = all(holds(condition, scope) for condition in conditions)
        except PipelineError as error:
            self._fail(step.name, str(error), None, ())
            return
        self._succeed(step.name, Outcome({"Outcome": _outcome(outcome)}, cached=False))

    # Jobs

    def _start(self, step: Step) -> None:
        put, name = self._messages.put, step.name
        watcher = Watcher(
            started=lambda attempt, log: put(_Started(name, attempt, log)),
            line=lambda line: put(_Line(name, line)),
            failed=lambda failure, retry_in: put(_AttemptFailed(name, failure, retry_in)),
        )
        scope = self._scope(self._outputs())

        def work() -> None:
            try:
                put(_Ended(name, self._runner.run(step, scope, watcher)))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                put(_Ended(name, error))

        self._begin(name)
        thread = threading.Thread(target=work, name=f"step {name}")
        self._running[name] = thread
        thread.start()

    def _handle(self, message: _Message) -> None:
        identity = self.execution.id
        match message:
            case _Started(step, attempt, log):
                self._record(step, attempts=attempt, log=str(log))
                self._listener(events.StepStarted(identity, step, attempt))
            case _Line(step, line):
                self._listener(events.StepLog(identity, step, line))
            case _AttemptFailed(step, failure, retry_in):
                self._tails[step] = failure.log_tail
                if retry_in is not None:
                    self._listener(self._failed_event(step, str(failure), retry_in))
            case _Ended(step, result):
                self._running.pop(step).join()
                self._end(step, result)
            case None:
                pass

    def _end(self, step: str, result: Outcome | BaseException) -> None:
        if isinstance(result, Outcome):
            self._succeed(step, result)
        elif isinstance(result, JobStopped):
            self._record(step, status="Stopped", ended=now(), seconds=self._seconds(step))
            event = events.StepStopped(self.execution.id, step, self._seconds(step))
            self._listener(event)
        elif isinstance(result, PipelineError):
            log = self.execution.steps[step].log
            self._fail(step, str(result), Path(log) if log else None, self._tails.get(step, ()))
        else:
            self._record(step, status="Failed", ended=now(), failure_reason=repr(result))
            raise result

    # Records and events

    def _begin(self, step: str) -> None:
        self._clocks[step] = time.monotonic()
        self._record(step, status="Executing", started=now(), ended="", failure_reason=None)

    def _succeed(self, step: str, outcome: Outcome) -> None:
        self._record(
            step,
            status="Succeeded",
            ended=now(),
            seconds=self._seconds(step),
            cached=outcome.cached,
            outputs=outcome.properties,
        )
        seconds = self._seconds(step)
        self._listener(events.StepSucceeded(self.execution.id, step, seconds, outcome.cached))

    def _fail(self, step: str, reason: str, log: Path | None, tail: tuple[str, ...]) -> None:
        self._tails[step] = tail
        self._record(
            step,
            status="Failed",
            ended=now(),
            seconds=self._seconds(step),
            failure_reason=reason,
        )
        self._listener(self._failed_event(step, reason, None))

    def _failed_event(self, step: str, reason: str, retry_in: float | None) -> events.StepFailed:
        log = self.execution.steps[step].log
        return events.StepFailed(
            self.execution.id,
            step,
            self._seconds(step),
            reason,
            Path(log) if log else None,
            self._tails.get(step, ()),
            retry_in,
        )

    def _seconds(self, step: str) -> float:
        return round(time.monotonic() - self._clocks[step], 3)

    def _status(self, step: str) -> str:
        return self.execution.steps[step].status

    def _outputs(self) -> dict[str, Mapping[str, object]]:
        return {
            name: record.outputs
            for name, record in self.execution.steps.items()
            if record.status == "Succeeded"
        }

    def _record(self, step: str, **changes: object) -> None:
        self.execution = self.execution.with_step(step, **changes)
        save(self._folder, self.execution)

    def _finish(self) -> None:
        records = self.execution.steps.values()
        failed = next((record for record in records if record.status == "Failed"), None)
        if failed:
            status, reason = "Failed", f"Step {failed.name}: {failed.failure_reason}"
        elif self._stop.asked.is_set():
            status, reason = "Stopped", "Stopped by the user."
        else:
            status, reason = "Succeeded", None
        self.execution = replace(self.execution, status=status, ended=now(), failure_reason=reason)
        save(self._folder, self.execution)

    def _abandon(self) -> None:
        """After an error of our own, or the listener's: leave no job behind."""
        if not self._running:
            return
        self.ask_to_stop()
        for thread in self._running.values():
            thread.join()
        with suppress(PipelineError):  # it may be the record itself that cannot be written
            for step in self._running:
                self._record(step, status="Stopped", ended=now(), seconds=self._seconds(step))
        self._running.clear()


def _outcome(value: bool) -> str:
    return "True" if value else "False"
