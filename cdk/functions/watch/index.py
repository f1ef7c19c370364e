"""Counts the executions that have been running for too long, every hour.

The Lambda function behind an hourly rule. SageMaker counts executions that start and that end, but
says nothing of one that does neither, so this asks: an execution of our pipelines that began more
than ``STUCK_HOURS`` ago and still runs is stuck. The count goes to CloudWatch, zeros included, so
that an alarm which reads nothing is known from one that reads nothing wrong; the names go to the
log.

Leaves out: stopping what is stuck. A person decides that, with the runbook.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]

METRIC = "StuckExecutions"
RUNNING = ("Executing", "Stopping")
LOOKED_BACK = timedelta(days=30)
"""Older executions are not asked about: SageMaker ends a job after 28 days at the latest."""


@dataclass(frozen=True)
class Config:
    """What the stack sets in the function's environment."""

    pipelines: tuple[str, ...]
    stuck_after: timedelta
    namespace: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Config:
        return cls(
            pipelines=tuple(environment["PIPELINES"].split()),
            stuck_after=timedelta(hours=int(environment["STUCK_HOURS"])),
            namespace=environment["NAMESPACE"],
        )


def handler(_event: Mapping[str, Any], _context: object) -> dict[str, list[str]]:
    """Publish how many executions are stuck; returns their ARNs."""
    config = Config.of(os.environ)
    sagemaker, now = _client("sagemaker"), datetime.now(UTC)
    stuck = [
        arn for pipeline in config.pipelines for arn in find_stuck(pipeline, sagemaker, config, now)
    ]
    _client("cloudwatch").put_metric_data(
        Namespace=config.namespace,
        MetricData=[{"MetricName": METRIC, "Timestamp": now, "Value": len(stuck), "Unit": "Count"}],
    )
    print(json.dumps({"stuck": stuck}))
    return {"stuck": stuck}


def find_stuck(pipeline: str, sagemaker: Any, config: Config, now: datetime) -> Iterator[str]:
    """The ARNs of a pipeline's executions that are."""
    try:
        pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=pipeline,
            CreatedAfter=now - LOOKED_BACK,
            CreatedBefore=now - config.stuck_after,
        )
        for page in pages:
            for one in page["PipelineExecutionSummaries"]:
                since = now - one["StartTime"]
                if one["PipelineExecutionStatus"] in RUNNING and since > config.stuck_after:
                    yield str(one["PipelineExecutionArn"])
    except sagemaker.exceptions.ResourceNotFound:
        return  # not deployed yet, or removed: nothing of it runs


def _client(service: str) -> Any:
    boto: Any = boto3
    return boto.client(service)
