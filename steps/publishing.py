"""Figures of a job for CloudWatch, where there is an account to chart them.

A chart is never worth a model: what cannot be published is said, and the job goes on. The
definition names the namespace in ``SLM_METRIC_NAMESPACE``; pipeline/monitoring.py lists every
metric. None has a dimension, because each combination of dimensions is paid for as a metric.

Leaves out: the drift check's metrics, which an alarm reads, so that it fails without them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from steps.registry import REGISTRY_VARIABLE

NAMESPACE_VARIABLE = "SLM_METRIC_NAMESPACE"


def publish(figures: Mapping[str, float | None]) -> None:
    """Put one value of each metric; those that were not measured are left out."""
    namespace = os.environ.get(NAMESPACE_VARIABLE, "")
    known = {name: value for name, value in figures.items() if value is not None}
    if not namespace or not known or os.environ.get(REGISTRY_VARIABLE, "sagemaker") != "sagemaker":
        return
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        boto3.client("cloudwatch").put_metric_data(
            Namespace=namespace,
            MetricData=[{"MetricName": name, "Value": value} for name, value in known.items()],
        )
    except (BotoCoreError, ClientError) as error:
        print(f"warning: the figures are not charted in {namespace}: {error}", flush=True)
