from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steps.archive import pack
from steps.compile.__main__ import main, parse
from steps.compile.config import CompileConfig, CompilePaths
from steps.compile.job import compile_model
from steps.contract import StepError
from steps.registry import RegistryEntry, open_registry
from tests.compiled import write_evaluation, write_registration


@pytest.fixture
def paths(tiny_model: Path, tiny_prepared: Path, tmp_path: Path) -> CompilePaths:
    return CompilePaths(
        tiny_model,
        tiny_prepared,
        write_evaluation(tmp_path / "evaluation", tiny_model, tiny_prepared),
        write_registration(tmp_path / "registration"),
        tmp_path / "compiled",
    )


def test_the_record_has_what_the_gate_the_report_and_the_device_read(
    tiny_compiled: Path, read_json: Callable[[Path], Any]
) -> None:
    record = read_json(tiny_compiled / "compilation.json")
    assert {path.name for path in tiny_compiled.iterdir()} == {
        "model.onnx", "tokenizer.json", "intents.json", "selftest.json", "compilation.json",
        "reference.json",
    }  # fmt: skip
    assert "reference.json" not in record["files"]  # those are the device's
    described = {**record["files"], "reference.json": record["reference"]}
    for name, entry in described.items():
        data = (tiny_compiled / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert record["bytes"] == record["files"]["model.onnx"]["bytes"]
    assert (record["attention_nodes"], record["model_version"]) == (2, "7")
    assert record["parity"]["passed"] == 1
    assert record["parity"]["rows"] == 7
    # seven-bit weights: the same integers with and without the processor's help
    verdict = {"passed", "message"}
    assert record["parity_without_vnni"] == {
        name: value for name, value in record["parity"].items() if name not in verdict
    }
    assert record["neo"] == {"status": "not_requested"}
    for runtime in ("int8", "float32"):
        assert 0 < record["latency"][runtime]["median_ms"] <= record["latency"][runtime]["p95_ms"]
    assert set(record["versions"]) == {"numpy", "onnxruntime", "tokenizers"}


def test_a_model_unlike_the_trained_one_is_rejected_with_the_reason_and_ends_well(
    aws: Any,
    tiny_model: Path,
    tiny_prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_json: Callable[[Path], Any],
) -> None:
    inputs = tmp_path / "processing" / "input"
    inputs.mkdir(parents=True)
    archive = pack(tiny_model, inputs / "model" / "model.tar.gz")
    entry = RegistryEntry(
        archive,
        hashlib.sha256(archive.read_bytes()).hexdigest(),
        "execution-1",
        model_data_url="s3://models/execution-1/model.tar.gz",
    )
    package = open_registry("tiny").register(entry)
    write_registration(inputs / "registration", model_package=package.name, version=package.version)
    (inputs / "prepared").symlink_to(tiny_prepared)
    # the answers of another model stand in for a compilation that went wrong
    write_evaluation(inputs / "evaluation", tiny_model, tiny_prepared, shuffled=True)
    monkeypatch.setenv("SLM_ML_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["steps.compile", "--min-agreement", "0.99"])
    main()
    record = read_json(tmp_path / "processing" / "output" / "compiled" / "compilation.json")
    assert record["parity"]["passed"] == 0
    assert "is below MinAgreement 0.9900" in record["parity"]["message"]
    described = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    assert described["ModelApprovalStatus"] == "Rejected"
    assert record["parity"]["message"] in described["ApprovalDescription"]


def test_predictions_of_another_model_are_refused(paths: CompilePaths) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = paths.evaluation / "predictions.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("logits")
    other = pa.array([[1.0, 2.0]] * table.num_rows, pa.list_(pa.float32()))
    pq.write_table(table.set_column(index, "logits", other), path)
    with pytest.raises(StepError, match="it evaluated another model"):
        compile_model(paths, CompileConfig())
    assert not paths.output.exists()


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"model_package": "a", "group": "g", "version": "7"}']
)
def test_a_registration_that_register_did_not_write_is_refused(
    paths: CompilePaths, text: str
) -> None:
    (paths.registration / "registration.json").write_text(text)
    with pytest.raises(StepError, match="register the model again"):
        compile_model(paths, CompileConfig())


def test_missing_inputs_are_named(paths: CompilePaths, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="The registration of the model is missing"):
        compile_model(replace(paths, registration=tmp_path), CompileConfig())
    with pytest.raises(StepError, match="No model in"):
        compile_model(replace(paths, model=tmp_path), CompileConfig())


def test_a_tokenizer_that_does_not_fit_the_model_ends_the_step(
    paths: CompilePaths, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    rule = json.loads((model / "intents.json").read_text())
    (model / "intents.json").write_text(json.dumps({**rule, "max_length": 4096}))
    with pytest.raises(StepError, match="The compiled model cannot be loaded"):
        compile_model(replace(paths, model=model), CompileConfig())


@pytest.mark.parametrize(
    "arguments", [["--max-accuracy-drop", "much"], ["--min-agreement", "1.5"], ["--what"]]
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
