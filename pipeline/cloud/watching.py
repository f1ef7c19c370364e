"""An execution in the account, told as the events of the local runner.

Whoever listens to a run of this machine can therefore listen to one in the account. The service is
asked every few seconds; being throttled only makes that rarer, up to once a minute.

Leaves out: stopping an execution.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.cloud import deployed
from pipeline.cloud.session import Account, CloudError, CredentialsError, ThrottledError
from pipeline.local import (
    Event,
    Execution,
    ExecutionEnded,
    ExecutionStarted,
    StepFailed,
    StepRecord,
    StepSkipped,
    StepStarted,
    StepStopped,
    StepSucceeded,
)
from pipeline.local.runs import ExecutionStatus

PACE_SECONDS = 5.0
SLOWEST_SECONDS = 60.0
LOG_LINES = 12
_LOG_GROUPS = {
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
}
_ENDED: tuple[ExecutionStatus, ...] = ("Succeeded", "Failed", "Stopped")
Listener = Callable[[Event], None]


def watch(
    account: Account,
    arn: str,
    listener: Listener,
    note: Callable[[str], None],
    pace: float = PACE_SECONDS,
) -> Execution:
    """Follow an execution to its end and return what it came to.

    Args:
        listener: Told every event.
        note: Told, in a sentence, why nothing is heard for a while.
        pace: Seconds between two questions.

    Raises:
        CloudError: It cannot be watched (any longer); it goes on all the same.
    """
    follower = _Follower(account, arn)
    wait = pace
    while True:
        try:
            for event in follower.news():
                listener(event)
            wait = pace
        except ThrottledError as error:
            wait = min(SLOWEST_SECONDS, 2 * wait)
            note(f"{error} Asking again in {wait:.0f} s.")
        except CredentialsError as error:
            raise CloudError(f"{error} Execution {deployed.short(arn)} goes on.") from None
        if follower.ended is not None:
            return follower.ended
        time.sleep(wait)


class _Follower:
    """Compares what the service says now with what it said before."""

    def __init__(self, account: Account, arn: str) -> None:
        self._account = account
        self._arn = arn
        self._id = deployed.short(arn)
        self._execution: Execution | None = None
        self._seen: dict[str, tuple[str, int]] = {}
        self.ended: Execution | None = None

    def news(self) -> Iterator[Event]:
        """The events since the last time.

        Raises:
            CloudError: The service could not be asked.
        """
        described = deployed.describe(self._account, self._arn)
        if self._execution is None:
            self._execution = self._begin(described)
            yield ExecutionStarted(self._execution, resumed=False)
        # asked for after the status: the steps of an execution that has ended are then final
        for step in deployed.steps(self._account, self._arn):
            yield from self._step(step)
        status = described["PipelineExecutionStatus"]
        if status in _ENDED:
            for name in self._execution.steps.keys() - self._seen.keys():
                yield StepSkipped(self._id, name)
            self.ended = Execution(
                id=self._id,
                status=status,
                started=self._execution.started,
                ended=_iso(described.get("LastModifiedTime")),
                parameters={},
                steps=self._execution.steps,
                pipeline=self._execution.pipeline,
                failure_reason=described.get("FailureReason") or None,
            )
            yield ExecutionEnded(self.ended)

    def _begin(self, described: Mapping[str, Any]) -> Execution:
        definition = deployed.definition_of(self._account, self._arn)
        steps = {
            step["Name"]: StepRecord(
                step["Name"], step["Type"], step.get("DisplayName") or step["Name"]
            )
            for step in _walk(definition.get("Steps", []))
        }
        return Execution(
            id=self._id,
            status="Executing",
            started=_iso(described.get("CreationTime")),
            parameters={},
            steps=steps,
            pipeline=self._account.settings.pipeline_name,
        )

    def _step(self, step: Mapping[str, Any]) -> Iterator[Event]:
        """What is new of one step."""
        assert self._execution is not None  # noqa: S101 - for the type checker
        name, status = str(step["StepName"]), str(step.get("StepStatus", "Starting"))
        attempt = max(1, int(step.get("AttemptCount") or 1))
        before = self._seen.get(name)
        if name not in self._execution.steps or before == (status, attempt):
            return
        started, ended = step.get("StartTime"), step.get("EndTime")
        match status:
            case "Starting" | "Executing" | "Stopping":
                running = _seconds(started, datetime.now(UTC))
                if before is None or before[1] != attempt or before[0] in _ENDED:
                    yield StepStarted(self._id, name, attempt, running)
            case "Succeeded":
                cached = "CacheHitResult" in step
                yield StepSucceeded(self._id, name, _seconds(started, ended), cached)
            case "Stopped":
                yield StepStopped(self._id, name, _seconds(started, ended))
            case _:
                yield self._failed(name, step)
        # only now: what could not be told, because its log was throttled, is told again
        self._seen[name] = (status, attempt)

    def _failed(self, name: str, step: Mapping[str, Any]) -> StepFailed:
        metadata: Mapping[str, Any] = step.get("Metadata") or {}
        fail: Mapping[str, Any] = metadata.get("Fail") or {}
        reason = step.get("FailureReason") or fail.get("ErrorMessage") or "AWS gives no reason."
        return StepFailed(
            self._id,
            name,
            _seconds(step.get("StartTime"), step.get("EndTime")),
            " ".join(str(reason).split()),
            log=None,
            log_tail=log_tail(self._account, metadata),
        )


def log_tail(account: Account, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The last lines that a step's job logged; none where there is no job or no log.

    Args:
        metadata: The step's, which names its job.

    Raises:
        ThrottledError: Ask again.
    """
    found = log_of(metadata)
    if found is None:
        return ()
    group, job = found
    doing = f"read the log of {job}"
    try:
        streams = account.call(
            "logs",
            "describe_log_streams",
            doing,
            logGroupName=group,
            logStreamNamePrefix=f"{job}/",
        )["logStreams"]
        if not streams:
            return ()
        # several machines: the one that wrote last knows most
        last = max(streams, key=lambda stream: stream.get("lastEventTimestamp", 0))
        events = account.call(
            "logs",
            "get_log_events",
            doing,
            logGroupName=group,
            logStreamName=last["logStreamName"],
            limit=LOG_LINES,
            startFromHead=False,
        )["events"]
    except ThrottledError:
        raise
    except CloudError as error:  # the reason is told all the same
        return (f"({error})",)
    return tuple(str(event["message"]).rstrip() for event in events)


def log_of(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """The log group and the name of a step's job; None where it has none."""
    for kind, group in _LOG_GROUPS.items():
        job: Mapping[str, Any] = metadata.get(kind) or {}
        if job.get("Arn"):
            return group, str(job["Arn"]).rpartition("/")[2]
    return None


def _walk(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _walk(step["Arguments"].get("IfSteps", []))
            yield from _walk(step["Arguments"].get("ElseSteps", []))


def _seconds(start: datetime | None, end: datetime | None) -> float:
    if start is None or end is None:
        return 0.0
    return max(0.0, (end - start).total_seconds())


def _iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds") if moment else ""
