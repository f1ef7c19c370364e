"""A run of this machine whose files are as our steps leave them, small and at once."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.local import Execution, StepRecord, runs
from tests.steps.test_register import DATASET, write_evaluation, write_model

ID = "abcdefghijkl"
_BUCKET = "slm-pipeline-artifacts-local-000000000000-eu-west-1"


def write_run(home: Path, name: str = ID, **changes: object) -> Path:
    """Write an execution that succeeded into ``home``; returns the folder of its outputs."""
    from steps.archive import pack

    place = f"{_BUCKET}/executions/{name}"
    folder = home / "s3" / place
    pack(write_model(home / "scratch" / name), folder / "model" / "model.tar.gz")
    evaluation = write_evaluation(folder / "evaluation")
    content = json.loads((evaluation / "evaluation.json").read_text())
    content["figures"] = {
        "accuracy": {"value": 0.94, "low": 0.92, "high": 0.96},
        "out_of_scope_auroc": {"value": 0.98},
        "expected_calibration_error": {"value": 0.012},
    }
    (evaluation / "evaluation.json").write_text(json.dumps(content))
    documents = {
        "prepared/statistics.json": {"dataset_sha256": DATASET, "rows": {"train": 9}},
        "compiled/compilation.json": {
            "parity": {"accuracy": 0.938, "agreement": 0.99, "passed": 1},
            "latency": {"int8": {"median_ms": 1.31}},
            "bytes": 22_900_000,
        },
        "registration/registration.json": {"group": "g", "version": 4, "status": "Approved"},
        "package/package.json": {"version": "1.0.4"},
        "package/slm.edge.IntentModel.zip": "not really a zip",
    }
    for path, value in documents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(value))
    execution = Execution(
        **{
            "id": name,
            "status": "Succeeded",
            "started": runs.now(),
            "ended": runs.now(),
            "parameters": {},
            "steps": _steps(place),
            **changes,
        }  # pyright: ignore[reportArgumentType]
    )
    (home / "executions" / name).mkdir(parents=True)
    runs.save(home / "executions" / name, execution)
    return folder


def _steps(place: str) -> dict[str, StepRecord]:
    outputs = {
        "PrepareData": "prepared",
        "EvaluateModel": "evaluation",
        "CompileModel": "compiled",
        "RegisterModel": "registration",
        "PackageComponent": "package",
    }
    steps = {
        step: StepRecord(
            step,
            "Processing",
            step,
            "Succeeded",
            seconds=90.0,
            outputs={
                "ProcessingOutputConfig": {
                    "Outputs": [{"OutputName": name, "S3Output": {"S3Uri": f"s3://{place}/{name}"}}]
                }
            },
        )
        for step, name in outputs.items()
    }
    model = {"ModelArtifacts": {"S3ModelArtifacts": f"s3://{place}/model/model.tar.gz"}}
    steps["TrainModel"] = StepRecord(
        "TrainModel", "Training", "Train", "Succeeded", seconds=240.0, outputs=model
    )
    return steps
