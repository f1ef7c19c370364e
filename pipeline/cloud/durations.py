"""How long the jobs of an execution that has run were billed, in minutes, by step.

A step whose result came from the cache did not run and is left out.
"""

from __future__ import annotations

from typing import Any

from pipeline.cloud import deployed
from pipeline.cloud.prices import read_prices
from pipeline.cloud.session import Account
from pipeline.local import Execution

_JOBS = ("Processing", "Training")


def of_local(execution: Execution) -> dict[str, float]:
    """Of a run of this machine, with the start of a SageMaker job added to each."""
    start = read_prices().assumed("job_start_minutes")
    return {
        step.name: step.seconds / 60 + start
        for step in execution.steps.values()
        if step.type in _JOBS and step.status == "Succeeded" and not step.cached
    }


def of_cloud(account: Account) -> tuple[str, dict[str, float]]:
    """The id of the newest execution that succeeded in the account, and its minutes.

    A step's time includes waiting for its machine, which is not billed: a little too much.

    Raises:
        CloudError: There is none, or it cannot be read.
    """
    arn = deployed.newest(account, "Succeeded")
    minutes: dict[str, float] = {}
    for step in deployed.steps(account, arn):
        if step.get("StepStatus") == "Succeeded" and _is_job(step) and "CacheHitResult" not in step:
            minutes[step["StepName"]] = (step["EndTime"] - step["StartTime"]).total_seconds() / 60
    return deployed.short(arn), minutes


def _is_job(step: dict[str, Any]) -> bool:
    metadata: dict[str, Any] = step.get("Metadata") or {}
    return any(f"{kind}Job" in metadata for kind in _JOBS)
