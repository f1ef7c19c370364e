"""Figures of an execution: read where they are, missing where they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.local import Execution, StepRecord, runs
from pipeline.results import Figures, Registered, find_output, outputs, read_figures

BUCKET = "slm-test-bucket"


def execution(home: Path, documents: dict[str, tuple[str, Any]]) -> Execution:
    """An execution whose outputs hold one document each."""
    written: list[dict[str, Any]] = []
    for name, (file, content) in documents.items():
        folder = home / "s3" / BUCKET / "one" / name
        folder.mkdir(parents=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / file).write_text(text)
        uri = f"s3://{BUCKET}/one/{name}"
        written.append({"OutputName": name, "S3Output": {"S3Uri": uri}})
    step = StepRecord("All", "Processing", "All", outputs={"ProcessingOutputConfig": {"Outputs": written}})  # fmt: skip  # noqa: E501
    return Execution("abcdefghijkl", "Succeeded", runs.now(), {}, {"All": step})


def test_what_was_not_written_is_missing_and_not_an_error(tmp_path: Path):
    assert read_figures(tmp_path, execution(tmp_path, {})) == Figures()


def test_what_cannot_be_read_is_missing_and_not_an_error(tmp_path: Path):
    broken = execution(
        tmp_path,
        {
            "evaluation": ("evaluation.json", "not json"),
            "compiled": ("compilation.json", []),
            "registration": ("other.json", {}),
        },
    )
    assert read_figures(tmp_path, broken) == Figures()


def test_figures_of_other_shapes_are_left_out(tmp_path: Path):
    odd = {"figures": {"accuracy": 0.9, "out_of_scope_auroc": {"value": 0.8}}, "baseline": {}}
    figures = read_figures(tmp_path, execution(tmp_path, {"evaluation": ("evaluation.json", odd)}))
    own, baseline = figures.rows
    assert own.accuracy is None
    assert own.out_of_scope_auroc is not None
    assert (own.out_of_scope_auroc.value, own.out_of_scope_auroc.low) == (0.8, None)
    assert (baseline.name, baseline.accuracy) == ("baseline", None)


def test_a_model_that_missed_the_parity_gate_is_shown_as_rejected(tmp_path: Path):
    documents = {
        "registration": (
            "registration.json",
            {"group": "lights", "version": 4, "status": "PendingManualApproval"},
        ),
        "compiled": ("compilation.json", {"parity": {"accuracy": 0.8, "passed": 0}}),
    }
    figures = read_figures(tmp_path, execution(tmp_path, documents))
    assert figures.registered == Registered("lights", "4", "Rejected")


def test_an_output_is_found_in_the_newest_execution_that_has_it(tmp_path: Path):
    made = execution(tmp_path, {"compiled": ("model.onnx", "")})
    assert outputs(made) == {"compiled": f"s3://{BUCKET}/one/compiled"}
    folder = tmp_path / "executions" / made.id
    folder.mkdir(parents=True)
    runs.save(folder, made)
    assert find_output(tmp_path, "compiled") == tmp_path / "s3" / BUCKET / "one" / "compiled"
