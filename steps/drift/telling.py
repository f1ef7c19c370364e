"""Tells the account: four metrics of every check, and an event for each version that drifts.

The event is what retraining listens to; its detail names the environment and the pipeline, so that
another environment in the same account is not started. What it leaves out: whether to retrain.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steps.contract import StepError
from steps.drift.aws import client, errors
from steps.drift.checking import DRIFT

SOURCE, DETAIL_TYPE = "slm-edge", "Model Drift Detected"


@dataclass(frozen=True)
class Teller:
    """Whom to tell, as the definition says in the job's environment."""

    environment: str
    pipeline: str
    model_package_group: str
    metric_namespace: str
    report: str

    @classmethod
    def of(cls, variables: Mapping[str, str] = os.environ) -> Teller:
        """Read ``SLM_ENVIRONMENT``, ``SLM_PIPELINE``, ``SLM_MODEL_PACKAGE_GROUP``,
        ``SLM_METRIC_NAMESPACE`` and ``SLM_REPORT``.

        Raises:
            StepError: One is not set.
        """
        names = ("ENVIRONMENT", "PIPELINE", "MODEL_PACKAGE_GROUP", "METRIC_NAMESPACE", "REPORT")
        values = [variables.get(f"SLM_{name}", "") for name in names]
        for name, value in zip(names, values, strict=True):
            if not value:
                raise StepError(
                    f"SLM_{name} is not set, so that nobody can be told: deploy the drift pipeline "
                    "again, or set SLM_REGISTRY to mlflow on a machine without an account."
                )
        return cls(*values)

    def tell(self, drift: Mapping[str, Any]) -> int:
        """Put the metrics and events of ``drift.json``; returns how many events.

        Raises:
            StepError: The account refused one.
        """
        with errors(f"put metrics into {self.metric_namespace}"):
            client("cloudwatch").put_metric_data(
                Namespace=self.metric_namespace,
                MetricData=[
                    {"MetricName": name, "Value": float(value), "Unit": unit}
                    for name, value, unit in (
                        ("DriftFigures", drift["figures_over"], "Count"),
                        ("DriftUtterances", drift["utterances"], "Count"),
                        ("DevicesBehind", drift["fleet"]["behind"], "Count"),
                        ("LatencyP95", drift["fleet"]["p95_milliseconds"], "Milliseconds"),
                    )
                    if value is not None
                ],
            )
        events = [self._event(drift, one) for one in drift["versions"] if one["status"] == DRIFT]
        for start in range(0, len(events), 10):  # as many as one call takes
            with errors("put the event of a drift"):
                answer = client("events").put_events(Entries=events[start : start + 10])
            if answer.get("FailedEntryCount"):
                refused = [entry for entry in answer["Entries"] if entry.get("ErrorCode")]
                raise StepError(
                    f"EventBridge refused the event of a drift: {refused[0]['ErrorCode']}; check "
                    "the role's permission to put events, then start the check again."
                )
        return len(events)

    def _event(self, drift: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
        period = version["periods"][-1]
        detail = {
            "environment": self.environment,
            "pipeline": self.pipeline,
            "modelPackageGroup": self.model_package_group,
            "component": drift["component"],
            "version": version["version"],
            "period": {"start": period["start"], "end": period["end"]},
            "utterances": period["utterances"],
            "figures": [
                {key: figure[key] for key in ("name", "statistic", "threshold")}
                for figure in period["figures"]
                if figure["status"] == DRIFT
            ],
            "report": self.report,
        }
        return {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
