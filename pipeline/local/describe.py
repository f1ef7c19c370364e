"""The properties of a job, in the form of the responses of DescribeProcessingJob and
DescribeTrainingJob: what ``Steps.<name>.<property>`` refers to.

Called with unresolved arguments it gives the skeleton against which references are checked
before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
"""Names of environment variables whose values are kept out of records and cache keys."""

_PROCESSING = (
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "NetworkConfig",
    "RoleArn",
    "ExperimentConfig",
)
_TRAINING = (
    "AlgorithmSpecification",
    "HyperParameters",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "ExperimentConfig",
)


@dataclass(frozen=True)
class JobFacts:
    """What is known of a job once it has ended; times in ISO 8601, seconds rounded."""

    name: str = ""
    started: str = ""
    ended: str = ""
    seconds: int = 0
    metrics: tuple[tuple[str, float], ...] = ()


def job_arn(kind: str, name: str) -> str:
    """The name that a job would have in an account, with no account in it."""
    return f"arn:aws:sagemaker:local:000000000000:{kind.lower()}-job/{name}"


def describe(kind: str, arguments: Mapping[str, object], facts: JobFacts) -> dict[str, object]:
    """The properties of a Processing or Training job that succeeded."""
    if kind == "Processing":
        return {
            **_copied(arguments, _PROCESSING),
            "ProcessingJobName": facts.name,
            "ProcessingJobArn": job_arn(kind, facts.name),
            "ProcessingJobStatus": "Completed",
            "CreationTime": facts.started,
            "ProcessingStartTime": facts.started,
            "ProcessingEndTime": facts.ended,
            "LastModifiedTime": facts.ended,
        }
    output = cast("Mapping[str, object]", arguments.get("OutputDataConfig") or {})
    metrics: Sequence[object] = [
        {"MetricName": name, "Value": value, "Timestamp": facts.ended}
        for name, value in facts.metrics
    ]
    return {
        **_copied(arguments, _TRAINING),
        "TrainingJobName": facts.name,
        "TrainingJobArn": job_arn(kind, facts.name),
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {
            "S3ModelArtifacts": model_address(str(output.get("S3OutputPath")), facts.name)
        },
        "FinalMetricDataList": metrics,
        "CreationTime": facts.started,
        "TrainingStartTime": facts.started,
        "TrainingEndTime": facts.ended,
        "LastModifiedTime": facts.ended,
        "TrainingTimeInSeconds": facts.seconds,
        "BillableTimeInSeconds": facts.seconds,
    }


def model_address(output_path: str, job: str) -> str:
    """Where SageMaker puts a Training job's model."""
    return f"{output_path.rstrip('/')}/{job}/output/model.tar.gz"


def _copied(arguments: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    properties = {key: arguments[key] for key in keys if key in arguments}
    environment = cast("Mapping[str, object]", arguments.get("Environment") or {})
    shown = {key: value for key, value in environment.items() if not SECRET.search(key)}
    return {**properties, "Environment": shown} if shown else properties
