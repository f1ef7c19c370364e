from __future__ import annotations

from typing import Any

from pipeline.local import StepFailed, StepStarted
from pipeline.local.attempts import _Retries  # pyright: ignore[reportPrivateUsage]
from pipeline.local.definition import RetryPolicy
from tests.pipeline.local.workshop import Workshop, definition, processing, training

UNLUCKY = """
count = pathlib.Path(sys.argv[1]); n = int(count.read_text()) if count.exists() else 0
count.write_text(str(n + 1)); print("attempt", n + 1, flush=True)
if n < int(sys.argv[2]): os.kill(os.getpid(), getattr(signal, sys.argv[3]))
"""


def policy(*kinds: str, attempts: int = 3) -> dict[str, Any]:
    return {
        "ExceptionType": list(kinds),
        "IntervalSeconds": 0.01,
        "BackoffRate": 2.0,
        "MaxAttempts": attempts,
    }


def unlucky(workshop: Workshop, times: int, name: str = "SIGKILL", **step: Any) -> dict[str, Any]:
    workshop.job("unlucky", UNLUCKY)
    arguments: list[object] = [str(workshop.root / "count"), str(times), name]
    return definition(processing("Unlucky", arguments=arguments, **step))


def test_a_killed_job_is_tried_again(workshop: Workshop) -> None:
    policies = [policy("Step.THROTTLING"), policy("SageMaker.JOB_INTERNAL_ERROR")]
    execution = workshop.run(unlucky(workshop, 2, RetryPolicies=policies))

    record = execution.steps["Unlucky"]
    assert (execution.status, record.attempts) == ("Succeeded", 3)
    assert [event.attempt for event in workshop.of_kind(StepStarted)] == [1, 2, 3]
    assert [event.retry_in for event in workshop.of_kind(StepFailed)] == [0.01, 0.02]
    folder = workshop.home / "executions" / execution.id / "steps" / "Unlucky"
    logs = [(folder / f"attempt-{n}" / "log.txt").read_text() for n in (1, 2, 3)]
    assert logs == ["attempt 1\n", "attempt 2\n", "attempt 3\n"]


def test_attempts_run_out(workshop: Workshop) -> None:
    policies = [policy("SageMaker.JOB_INTERNAL_ERROR", attempts=1)]
    execution = workshop.run(unlucky(workshop, 9, RetryPolicies=policies))
    assert execution.steps["Unlucky"].attempts == 2
    assert execution.steps["Unlucky"].failure_reason == "The job was killed by signal 9."
    assert [event.retry_in for event in workshop.of_kind(StepFailed)] == [0.01, None]


def test_without_a_policy_nothing_is_tried_again(workshop: Workshop) -> None:
    assert workshop.run(unlucky(workshop, 1)).steps["Unlucky"].attempts == 1


def test_a_users_mistake_is_not_tried_again(workshop: Workshop) -> None:
    workshop.job("wrong", '(ml / "output" / "failure").write_text("Add rows."); sys.exit(1)')
    every = [policy("SageMaker.JOB_INTERNAL_ERROR", "Step.SERVICE_FAULT", "Step.THROTTLING")]
    execution = workshop.run(definition(training("Wrong", RetryPolicies=every)))
    assert execution.steps["Wrong"].attempts == 1


def test_a_step_that_caught_sigterm_counts_as_killed(workshop: Workshop) -> None:
    workshop.job("caught", "sys.exit(143)")
    execution = workshop.run(
        definition(
            processing("Caught", RetryPolicies=[policy("SageMaker.JOB_INTERNAL_ERROR", attempts=1)])
        )
    )
    assert execution.steps["Caught"].attempts == 2
    assert execution.steps["Caught"].failure_reason == "The job was killed by signal 15."


def test_each_policy_counts_for_itself_and_expires() -> None:
    from datetime import timedelta

    retries = _Retries(
        (
            RetryPolicy(frozenset({"A"}), interval=1, backoff_rate=3, max_attempts=2),
            RetryPolicy(frozenset({"B"}), expire_after=timedelta(minutes=-1)),
        )
    )
    assert [retries.delay_after("A") for _ in range(3)] == [1, 3, None]
    assert retries.delay_after("B") is None
    assert retries.delay_after(None) is None
