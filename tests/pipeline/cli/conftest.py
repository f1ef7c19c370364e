"""A pipeline of three quick jobs that leaves what ours leaves, and a way to call ``slm``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli.app import app
from tests.pipeline.cloud.emulated import account, emulated, emulator  # noqa: F401 - fixtures

JOB = """
import json, os, pathlib, sys
root = pathlib.Path(os.environ["SLM_ML_ROOT"]) / "processing"
def write(output, file, value):
    (root / "output" / output).mkdir(parents=True, exist_ok=True)
    (root / "output" / output / file).write_text(json.dumps(value))
print("reading", sorted(p.name for p in (root / "input" / "raw").iterdir()))
if sys.argv[1] == "broken":
    print("about to fail")
    sys.exit("error: the oven is cold.")
value = lambda v: {"value": v, "low": v - 0.02, "high": v + 0.02}
write("evaluation", "evaluation.json", {
    "gate": {"accuracy": 0.94, "message": "accuracy 0.9400 is below MinAccuracy"},
    "figures": {"accuracy": value(0.94), "out_of_scope_auroc": value(0.981),
                "expected_calibration_error": value(0.012)},
    "baseline": {"name": "TF-IDF + linear SVM", "accuracy": value(0.88),
                 "out_of_scope_auroc": None},
    "champion": {"version": 3, "accuracy": value(0.91), "out_of_scope_auroc": value(0.97)}})
write("evaluation", "report.html", "report")
write("compiled", "compilation.json", {"parity": {"accuracy": 0.938, "agreement": 0.99},
    "latency": {"int8": {"median_ms": 1.31}}, "bytes": 22900000})
write("registration", "registration.json", {"group": "lights", "version": 4, "status": "Approved"})
write("package", "lights.zip", "zip")
"""
BUCKET = "slm-test-bucket"


def definition() -> dict[str, Any]:
    """One job that makes everything, a gate on its accuracy, and a Fail step."""
    place = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}", {"Get": "Execution.PipelineExecutionId"}]}}  # fmt: skip  # noqa: E501

    def output(name: str) -> dict[str, Any]:
        uri = {"Std:Join": {"On": "/", "Values": [place, name]}}
        local = f"/opt/ml/processing/output/{name}"
        s3 = {"S3Uri": uri, "LocalPath": local, "S3UploadMode": "EndOfJob"}
        return {"OutputName": name, "AppManaged": False, "S3Output": s3}

    names = ("evaluation", "compiled", "registration", "package")
    raw = {"S3Uri": {"Get": "Parameters.InputData"}, "LocalPath": "/opt/ml/processing/input/raw",
           "S3DataType": "S3Prefix", "S3InputMode": "File"}  # fmt: skip
    figure = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Bake.PropertyFiles.evaluation"}, "Path": "gate.accuracy"}}  # fmt: skip  # noqa: E501
    message = {"Std:Join": {"On": "", "Values": ["The gate is closed: accuracy ", figure, ", MinAccuracy ", {"Get": "Parameters.MinAccuracy"}, "."]}}  # fmt: skip  # noqa: E501
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "InputData", "Type": "String", "DefaultValue": f"s3://{BUCKET}/none"},
            {"Name": "Oven", "Type": "String", "DefaultValue": "warm"},
            {"Name": "MinAccuracy", "Type": "Float", "DefaultValue": 0.8},
        ],
        "Steps": [
            {
                "Name": "Bake",
                "Type": "Processing",
                "DisplayName": "Bake the cake",
                "CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"},
                "Arguments": {
                    "AppSpecification": {
                        "ImageUri": "none",
                        "ContainerEntrypoint": ["python", "-c", JOB],
                        "ContainerArguments": [{"Get": "Parameters.Oven"}],
                    },
                    "ProcessingInputs": [{"InputName": "raw", "AppManaged": False, "S3Input": raw}],
                    "ProcessingOutputConfig": {"Outputs": [output(name) for name in names]},
                    "ProcessingResources": {
                        "ClusterConfig": {
                            "InstanceType": "ml.m5.large",
                            "InstanceCount": 1,
                            "VolumeSizeInGB": 1,
                        }
                    },
                    "RoleArn": "arn:aws:iam::000000000000:role/none",
                },
                "PropertyFiles": [
                    {
                        "PropertyFileName": "evaluation",
                        "OutputName": "evaluation",
                        "FilePath": "evaluation.json",
                    }
                ],
            },
            {
                "Name": "Taste",
                "Type": "Condition",
                "DisplayName": "Taste it",
                "Arguments": {
                    "Conditions": [
                        {
                            "Type": "GreaterThanOrEqualTo",
                            "LeftValue": figure,
                            "RightValue": {"Get": "Parameters.MinAccuracy"},
                        }
                    ],
                    "IfSteps": [],
                    "ElseSteps": [
                        {
                            "Name": "Bland",
                            "Type": "Fail",
                            "DisplayName": "Too bland",
                            "Arguments": {"ErrorMessage": message},
                        }
                    ],
                },
            },
        ],
    }


@pytest.fixture
def definition_file(tmp_path: Path) -> Path:
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(definition()))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "utterances.jsonl").write_text('{"text": "hello", "intent": "greet"}\n')
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def slm(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call ``slm`` in this process, on a wide screen that is no terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
