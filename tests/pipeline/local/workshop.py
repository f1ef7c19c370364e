"""A small world for the runner's tests: a repository with tiny jobs, a home, and definitions.

Jobs are real modules, run by real processes. Each finds ``SLM_ML_ROOT`` like any step; the
bodies below begin with ``PRELUDE``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.local import Event, Execution, RunOptions, open_storage, run

PRELUDE = """
import json, os, pathlib, signal, sys, time
ml = pathlib.Path(os.environ["SLM_ML_ROOT"])
out = ml / "processing" / "output"
inp = ml / "processing" / "input"
"""
RESOURCES = {
    "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
}
ROLE = "arn:aws:iam::123456789012:role/pipeline"


def get(name: str) -> dict[str, str]:
    return {"Get": name}


def join(*values: object, on: str = "/") -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step: str, file: str, path: str) -> dict[str, Any]:
    return {
        "Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{file}"), "Path": path}
    }


def output_of(step: str, name: str) -> dict[str, str]:
    return get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri")


def run_address(*parts: str) -> dict[str, Any]:
    return join("s3://work-bucket/runs", get("Execution.PipelineExecutionId"), *parts)


def processing(
    name: str,
    *,
    module: str | None = None,
    arguments: list[object] | None = None,
    inputs: Mapping[str, object] | None = None,
    outputs: Mapping[str, object] | list[str] | None = None,
    environment: Mapping[str, object] | None = None,
    **step: Any,
) -> dict[str, Any]:
    """A Processing step that runs ``jobs.<module>`` (the step's name in lower case)."""
    if isinstance(outputs, list):
        outputs = {output: run_address(name, output) for output in outputs}
    body: dict[str, Any] = {
        "ProcessingResources": RESOURCES,
        "AppSpecification": {
            "ImageUri": "slm/processing:1",
            "ContainerEntrypoint": ["python", "-m", f"jobs.{module or name.lower()}"],
        },
        "RoleArn": ROLE,
    }
    if arguments:
        body["AppSpecification"]["ContainerArguments"] = arguments
    if inputs:
        body["ProcessingInputs"] = [
            {
                "InputName": key,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{key}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for key, uri in inputs.items()
        ]
    if outputs:
        body["ProcessingOutputConfig"] = {
            "Outputs": [
                {
                    "OutputName": key,
                    "S3Output": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/output/{key}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for key, uri in outputs.items()
            ]
        }
    if environment:
        body["Environment"] = dict(environment)
    return {"Name": name, "Type": "Processing", "Arguments": body, **step}


def training(
    name: str,
    *,
    channels: Mapping[str, object] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    metrics: Mapping[str, str] | None = None,
    checkpoints: object = None,
    **step: Any,
) -> dict[str, Any]:
    """A Training step that runs ``jobs.<name>``."""
    body: dict[str, Any] = {
        "AlgorithmSpecification": {
            "TrainingImage": "slm/training:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-m", f"jobs.{name.lower()}"],
        },
        "ResourceConfig": RESOURCES["ClusterConfig"],
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "OutputDataConfig": {"S3OutputPath": "s3://work-bucket/models"},
    }
    if metrics:
        body["AlgorithmSpecification"]["MetricDefinitions"] = [
            {"Name": key, "Regex": regex} for key, regex in metrics.items()
        ]
    if hyperparameters:
        body["HyperParameters"] = dict(hyperparameters)
    if channels:
        body["InputDataConfig"] = [
            {
                "ChannelName": key,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
                "InputMode": "File",
            }
            for key, uri in channels.items()
        ]
    if checkpoints:
        body["CheckpointConfig"] = {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"}
    return {"Name": name, "Type": "Training", "Arguments": body, **step}


def condition(
    name: str,
    conditions: list[dict[str, Any]],
    if_steps: list[dict[str, Any]] | None = None,
    else_steps: list[dict[str, Any]] | None = None,
    **step: Any,
) -> dict[str, Any]:
    body = {
        "Conditions": conditions,
        "IfSteps": if_steps or [],
        "ElseSteps": else_steps or [],
    }
    return {"Name": name, "Type": "Condition", "Arguments": body, **step}


def compare(kind: str, left: object, right: object) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def fail(name: str, message: object, **step: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}, **step}


def parameter(name: str, kind: str = "String", default: object = None, **more: Any) -> Any:
    declared = {"Name": name, "Type": kind, **more}
    return declared if default is None else {**declared, "DefaultValue": default}


def definition(*steps: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    document = {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": parameters or [],
        "PipelineExperimentConfig": {
            "ExperimentName": get("Execution.PipelineName"),
            "TrialName": get("Execution.PipelineExecutionId"),
        },
        "MlflowConfig": None,
        "Steps": list(steps),
    }
    return json.loads(json.dumps(document))


@dataclass
class Workshop:
    """A home and a repository in one temporary folder, and what was seen in it."""

    root: Path
    seen: list[Event] = field(default_factory=list)
    endpoint_url: str | None = None

    @property
    def home(self) -> Path:
        return self.root / ".slm"

    @property
    def source(self) -> Path:
        return self.root / "repository"

    def job(self, module: str, body: str) -> None:
        """Write the module ``jobs.<module>``."""
        folder = self.source / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / f"{module}.py").write_text(PRELUDE + body)

    def put(self, uri: str, files: Mapping[str, str]) -> None:
        """Store files below an address."""
        folder = self.root / "upload"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            storage = open_storage(self.home, self.endpoint_url)
            storage.upload(path, f"{uri}/{name}")

    def read(self, uri: str) -> str:
        return open_storage(self.home, self.endpoint_url).read(uri).decode()

    def options(self, **options: Any) -> RunOptions:
        parameters = options.pop("parameters", {})
        return RunOptions(
            home=self.home,
            source=self.source,
            parameters=parameters,
            endpoint_url=self.endpoint_url,
            **options,
        )

    def run(
        self,
        document: Mapping[str, Any],
        listener: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Execution:
        self.seen = []

        def listen(event: Event) -> None:
            self.seen.append(event)
            if listener:
                listener(event)

        return run(document, self.options(**options), listen)

    def statuses(self, execution: Execution) -> dict[str, str]:
        return {name: record.status for name, record in execution.steps.items()}

    def of_kind(self, kind: type) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]
