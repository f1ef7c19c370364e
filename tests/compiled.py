"""Compiles the tiny model once for every test that needs a *compiled* folder."""

from __future__ import annotations

import json
from pathlib import Path

REGISTRATION = {
    "model_package": "arn:aws:sagemaker:eu-west-1:123456789012:model-package/tiny/7",
    "group": "tiny",
    "version": 7,
    "status": "PendingManualApproval",
    "registry": "sagemaker",
}


def write_registration(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "registration.json").write_text(json.dumps({**REGISTRATION, **changes}))
    return folder


def write_evaluation(folder: Path, model: Path, prepared: Path, *, shuffled: bool = False) -> Path:
    """``predictions.parquet`` of the tiny model; ``shuffled`` gives its answers to other rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from steps.intent_model import load, logits_of

    rows = pq.read_table(prepared / "test.parquet").to_pylist()
    logits = logits_of(load(model)[0], [row["input_ids"] for row in rows]).numpy()
    if shuffled:
        logits = logits[::-1] * 0.5
    table = pa.table(
        {
            "text": [row["text"] for row in rows],
            "label": pa.array([row["label"] for row in rows], pa.int32()),
            "predicted": pa.array(logits.argmax(axis=1).tolist(), pa.int32()),
            "logits": pa.array(list(logits), pa.list_(pa.float32())),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "predictions.parquet")
    return folder


def write_compiled(root: Path, model: Path, prepared: Path) -> Path:
    """The *compiled* folder of the tiny model, under bounds that it meets."""
    from steps.compile.config import CompileConfig, CompilePaths
    from steps.compile.job import compile_model
    from steps.compile.parity import Bounds

    paths = CompilePaths(
        model,
        prepared,
        write_evaluation(root / "evaluation", model, prepared),
        write_registration(root / "registration"),
        root / "compiled",
    )
    # ten rows of an untrained model: one of them on the fence must not fail every test here
    compile_model(paths, CompileConfig(Bounds(0.5, 0.5, 0.5)))
    return paths.output
