"""Events as AWS and the drift check send them, and whether a rule's pattern is about one.

Sources: "Events sent from SageMaker AI" and "Amazon S3 object created" in the EventBridge
reference, "Automating Step Functions event delivery" in the Step Functions developer guide; the
drift event is steps/drift's.
"""

from __future__ import annotations

import json
from typing import Any

from moto.events.models import EventPattern

ACCOUNT, REGION = "111111111111", "eu-west-1"
SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
RAW = f"slm-intents-raw-dev-{ACCOUNT}-{REGION}"


def fits(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether a rule with this pattern sees the event, as the emulator of EventBridge decides."""
    return EventPattern.load(json.dumps(pattern)).matches_event(event)


def _event(source: str, kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": "2026-11-23T12:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def created(key: str, *, bucket: str = RAW, kind: str = "Object Created") -> dict[str, Any]:
    """What S3 tells of an object."""
    thing = {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184"}
    detail = {"version": "0", "bucket": {"name": bucket}, "object": thing, "reason": "PutObject"}
    return _event("aws.s3", kind, detail)


def ended(status: str, pipeline: str = "slm-edge-dev") -> dict[str, Any]:
    """What SageMaker tells of an execution whose status changed."""
    arn = f"{SAGEMAKER}:pipeline/{pipeline}"
    detail = {
        "pipelineArn": arn,
        "pipelineExecutionArn": f"{arn}/execution/abc123",
        "currentPipelineExecutionStatus": status,
        "previousPipelineExecutionStatus": "Executing",
    }
    kind = "SageMaker Model Building Pipeline Execution Status Change"
    return _event("aws.sagemaker", kind, detail)


def step_ended(status: str, pipeline: str = "slm-edge-dev") -> dict[str, Any]:
    """What it tells of a step."""
    arn = f"{SAGEMAKER}:pipeline/{pipeline}"
    detail = {
        "pipelineArn": arn,
        "pipelineExecutionArn": f"{arn}/execution/abc123",
        "stepName": "TrainModel",
        "stepType": "Training",
        "currentStepStatus": status,
        "previousStepStatus": "Executing",
    }
    kind = "SageMaker Model Building Pipeline Execution Step Status Change"
    return _event("aws.sagemaker", kind, detail)


def judged(status: str, group: str = "slm-edge-dev-intents") -> dict[str, Any]:
    """What it tells of a model package whose approval changed."""
    detail = {
        "ModelPackageGroupName": group,
        "ModelPackageVersion": 3,
        "ModelPackageArn": f"{SAGEMAKER}:model-package/{group}/3",
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": status,
    }
    return _event("aws.sagemaker", "SageMaker Model Package State Change", detail)


def machine_ended(status: str, machine: str = "slm-edge-dev-promotion") -> dict[str, Any]:
    """What Step Functions tells of an execution whose status changed."""
    states = f"arn:aws:states:{REGION}:{ACCOUNT}"
    detail = {
        "executionArn": f"{states}:execution:{machine}:slm-edge-dev-intents-3",
        "stateMachineArn": f"{states}:stateMachine:{machine}",
        "name": "slm-edge-dev-intents-3",
        "status": status,
        "error": "rolled-back",
        "cause": "the canary left too many requests without an answer",
    }
    return _event("aws.states", "Step Functions Execution Status Change", detail)


def drifted(source: str = "slm-edge", kind: str = "Model Drift Detected", **detail: Any) -> Any:
    """What the drift check tells."""
    said = {
        "environment": "dev",
        "pipeline": "slm-edge-dev",
        "modelPackageGroup": "slm-edge-dev-intents",
        "component": "slm.edge.IntentModel",
        "version": "1.0.3",
        "period": {"start": "2026-11-23T00:00:00Z", "end": "2026-11-24T00:00:00Z"},
        "utterances": 4210,
        "figures": [
            {"name": "out_of_scope", "statistic": 0.21, "threshold": 0.04},
            {"name": "energy", "statistic": 0.32, "threshold": 0.1},
        ],
        "report": "s3://slm-pipeline-artifacts-dev/executions/abc/CheckDrift/drift/drift.html",
    }
    return _event(source, kind, said | detail)
