"""The step over folders: its three files, its gate, its refusals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steps.archive import pack
from steps.contract import StepError, run_step
from steps.evaluate import __main__ as command
from steps.evaluate import robustness
from steps.evaluate.config import EvaluationConfig, EvaluationPaths
from steps.evaluate.evaluate import evaluate
from steps.registry import RegistryEntry, open_registry
from tests.steps.evaluate.test_champion import Shelf, tiny_archive
from tests.steps.registries import use_mlflow

__all__ = ["tiny_archive"]
OPEN = EvaluationConfig(
    min_accuracy=0.0, min_out_of_scope_auroc=0.0, max_calibration_error=1.0
)  # an untrained encoder holds no better bounds


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_model, tiny_prepared):
    """One evaluation of the tiny model, and the folder it was written to."""
    output = tmp_path_factory.mktemp("evaluation")
    return evaluate(EvaluationPaths(tiny_model, tiny_prepared, output), OPEN), output


@pytest.fixture
def prepared(tmp_path, tiny_prepared):
    """A copy of the prepared folder that a test may spoil."""
    return shutil.copytree(tiny_prepared, tmp_path / "prepared")


def rewrite(prepared: Path, change) -> None:
    path = prepared / "test.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def in_scope_only(table: pa.Table) -> pa.Table:
    return table.filter(pa.compute.greater_equal(table["label"], 0))


def test_the_evaluation_has_the_sections_that_others_read(done, read_json):
    evaluation, output = done
    written = read_json(output / "evaluation.json")
    assert written == json.loads(json.dumps(evaluation))
    assert written.keys() == {
        "multiclass_classification_metrics", "gate", "checks", "figures", "intents", "baseline",
        "champion", "regression", "robustness", "latency", "provenance",
    }  # fmt: skip
    assert written["gate"].keys() == {
        "accuracy", "macro_f1", "out_of_scope_auroc", "out_of_scope_rows",
        "expected_calibration_error", "champion_p_value", "regression_pass_rate",
        "regression_cases", "lost_intents", "passed", "message",
    }  # fmt: skip
    assert written["gate"]["passed"] == 1
    assert written["gate"]["champion_p_value"] == 1.0
    assert "NaN" not in (output / "evaluation.json").read_text()


def test_sagemaker_finds_its_model_quality_metrics(done):
    section = done[0]["multiclass_classification_metrics"]
    confusion = section["confusion_matrix"]
    assert sorted(confusion) == ["lights_off", "play_music", "weather"]
    assert sum(sum(row.values()) for row in confusion.values()) == 6
    right = sum(row.get(intent, 0) for intent, row in confusion.items())
    assert section["accuracy"]["value"] == pytest.approx(right / 6)
    for name in ("weighted_precision", "weighted_recall", "weighted_f1", "weighted_f0_5"):
        assert section[name].keys() == {"value", "standard_deviation"}
    assert section["accuracy_best_constant_classifier"]["value"] == pytest.approx(1 / 3)


def test_predictions_are_in_the_order_of_the_test_split(done, tiny_prepared):
    table = pq.read_table(done[1] / "predictions.parquet")
    test = pq.read_table(tiny_prepared / "test.parquet")
    assert table["text"].to_pylist() == test["text"].to_pylist()
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("text", "string"), ("intent", "string"), ("label", "int32"), ("predicted", "int32"),
        ("energy", "float"), ("confidence", "float"), ("logits", "list<element: float>"),
    ]  # fmt: skip
    logits = np.array(table["logits"].to_pylist())
    assert logits.argmax(axis=1).tolist() == table["predicted"].to_pylist()
    energies = np.log(np.exp(logits.astype(float)).sum(axis=1))
    np.testing.assert_allclose(table["energy"].to_numpy(), energies, rtol=1e-5)


def test_an_evaluation_repeats_itself(done, tmp_path, tiny_model, tiny_prepared):
    again = evaluate(EvaluationPaths(tiny_model, tiny_prepared, tmp_path), OPEN)
    for section in ("figures", "gate", "intents", "robustness"):
        assert again[section] == done[0][section]
    assert (tmp_path / "predictions.parquet").read_bytes() == (
        done[1] / "predictions.parquet"
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.json", "predictions.parquet", "report.html",
    ]  # fmt: skip


def test_without_out_of_scope_rows_their_figures_are_null_and_the_gate_has_zeros(
    tmp_path, prepared, tiny_model
):
    rewrite(prepared, in_scope_only)
    evaluation = evaluate(EvaluationPaths(tiny_model, prepared, tmp_path / "out"), OPEN)
    figures, gate = evaluation["figures"], evaluation["gate"]
    assert figures["out_of_scope_auroc"] is None
    assert figures["out_of_scope_recall"] is None
    assert evaluation["baseline"]["out_of_scope_auroc"] is None
    assert (gate["out_of_scope_auroc"], gate["out_of_scope_rows"], gate["passed"]) == (0.0, 0, 1)
    assert "not measured" in (tmp_path / "out" / "report.html").read_text()
    assert any("not measured" in line for line in command.summary(evaluation))


def test_a_model_without_a_threshold_rejects_nothing(tmp_path, tiny_model, tiny_prepared):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    rule = json.loads((model / "intents.json").read_text())
    (model / "intents.json").write_text(json.dumps(rule | {"energy_threshold": None}))
    evaluation = evaluate(EvaluationPaths(model, tiny_prepared, tmp_path / "out"), OPEN)
    assert evaluation["figures"]["out_of_scope_recall"] == 0.0
    assert evaluation["figures"]["out_of_scope_precision"] is None
    assert evaluation["figures"]["energy_threshold"] is None
    assert "rejects nothing" in (tmp_path / "out" / "report.html").read_text()


def test_the_champion_is_compared_on_the_same_rows(
    tmp_path, monkeypatch, tiny_archive, tiny_model, tiny_prepared
):
    monkeypatch.setattr("steps.registry.open_registry", lambda group: Shelf(tiny_archive))
    config = EvaluationConfig(
        min_accuracy=0, min_out_of_scope_auroc=0, max_calibration_error=1,
        model_package_group="intents",
    )  # fmt: skip
    evaluation = evaluate(EvaluationPaths(tiny_model, tiny_prepared, tmp_path), config)
    found = evaluation["champion"]
    assert found["version"] == 3
    assert found["p_value"] == evaluation["gate"]["champion_p_value"] == 1.0
    assert found["accuracy"] == evaluation["figures"]["accuracy"]
    assert found["out_of_scope_auroc"] == evaluation["figures"]["out_of_scope_auroc"]
    assert "Champion: version 3" in (tmp_path / "report.html").read_text()


def test_the_newest_approved_model_of_mlflow_is_the_champion(
    tmp_path, monkeypatch, tiny_archive, tiny_model, tiny_prepared
):
    use_mlflow(tmp_path, monkeypatch)
    registry = open_registry("slm-intents")
    entry = RegistryEntry(tiny_archive, "0" * 64, "first", status="Approved")
    sha256 = hashlib.sha256(tiny_archive.read_bytes()).hexdigest()
    package = registry.register(replace(entry, model_sha256=sha256))
    config = EvaluationConfig(model_package_group="slm-intents")
    evaluation = evaluate(EvaluationPaths(tiny_model, tiny_prepared, tmp_path / "out"), config)
    assert evaluation["champion"]["name"] == package.name
    assert evaluation["champion"]["p_value"] == 1.0


def test_a_group_without_an_approved_model_is_said_in_the_log(
    tmp_path, monkeypatch, capsys, tiny_model, tiny_prepared
):
    monkeypatch.setattr("steps.registry.open_registry", lambda group: Shelf(None))
    config = EvaluationConfig(model_package_group="intents")
    evaluation = evaluate(EvaluationPaths(tiny_model, tiny_prepared, tmp_path), config)
    assert evaluation["champion"] is None
    assert evaluation["gate"]["champion_p_value"] == 1.0
    assert "intents has no approved model" in capsys.readouterr().out


def spoil(kind: str, prepared: Path) -> None:
    test = prepared / "test.parquet"
    if kind == "missing":
        test.unlink()
    elif kind == "not parquet":
        test.write_bytes(b"text,intent\n")
    elif kind == "no column":
        rewrite(prepared, lambda table: table.drop_columns(["input_ids"]))
    elif kind == "no row":
        rewrite(prepared, lambda table: table.slice(0, 0))
    elif kind == "only out of scope":
        rewrite(prepared, lambda t: t.filter(pa.compute.less(t["label"], 0)))
    elif kind == "another tokenizer":
        ids = pa.array([[101, 400_000, 102]] * 7, pa.list_(pa.int32()))
        rewrite(prepared, lambda t: t.set_column(3, "input_ids", ids))
    elif kind == "other intents":
        (prepared / "intents.json").write_text('{"intents": ["weather", "timer"]}')
    elif kind == "no list":
        (prepared / "intents.json").write_text("[]")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist; run prepare first"),
        ("not parquet", "cannot be read"),
        ("no column", "has no column input_ids"),
        ("no row", "has no in-scope row"),
        ("only out of scope", "has no in-scope row"),
        ("another tokenizer", "prepared with another tokenizer"),
        ("other intents", "have different intents"),
        ("no list", "have different intents"),
    ],
)
def test_data_that_do_not_fit_are_refused_and_nothing_is_written(
    kind, sentence, tmp_path, prepared, tiny_model
):
    spoil(kind, prepared)
    output = tmp_path / "out"
    with pytest.raises(StepError, match=sentence):
        evaluate(EvaluationPaths(tiny_model, prepared, output), OPEN)
    assert not output.exists()


def test_the_order_of_intents_counts(tmp_path, prepared, tiny_model):
    names = ["weather", "play_music", "lights_off"]
    (prepared / "intents.json").write_text(json.dumps({"intents": names}))
    with pytest.raises(StepError, match="the order alone"):
        evaluate(EvaluationPaths(tiny_model, prepared, tmp_path / "out"), OPEN)


def container(root: Path, tiny_model: Path, tiny_prepared: Path) -> Path:
    inputs = root / "processing" / "input"
    shutil.copytree(tiny_prepared, inputs / "prepared")
    pack(tiny_model, inputs / "model" / "model.tar.gz")
    return root


def test_a_closed_gate_is_a_result_and_not_an_error(
    tmp_path, monkeypatch, capsys, tiny_model, tiny_prepared
):
    root = container(tmp_path / "ml", tiny_model, tiny_prepared)
    monkeypatch.setenv("SLM_ML_ROOT", str(root))
    monkeypatch.setattr(sys, "argv", ["evaluate", "--min-accuracy", "0.999", "--seed", "4"])
    monkeypatch.setattr(robustness, "SAMPLE", 3)
    with pytest.raises(SystemExit) as ended:
        run_step(command.main, root / "output" / "message")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "gate closed: accuracy" in printed
    assert "is below MinAccuracy 0.9990" in printed
    gate = json.loads((root / "processing/output/evaluation/evaluation.json").read_text())["gate"]
    assert gate["passed"] == 0


def test_a_tampered_model_ends_the_process_with_one_sentence(tmp_path, tiny_prepared, repository):
    root = tmp_path / "ml"
    inputs = root / "processing" / "input"
    shutil.copytree(tiny_prepared, inputs / "prepared")
    (inputs / "model").mkdir()
    (inputs / "model" / "model.tar.gz").write_bytes(b"\x1f\x8bnot an archive")
    ended = subprocess.run(
        [sys.executable, "-m", "steps.evaluate"],
        cwd=repository,
        env=os.environ | {"SLM_ML_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    sentence = (root / "output" / "message").read_text()
    assert "is not a readable model archive" in sentence
    assert not list((root / "processing" / "output").rglob("*.*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--min-accuracy", "7"],
        ["--min-accuracy", "high"],
        ["--seed", "x"],
        ["--no"],
        ["--max-lost-intents", "-1"],
    ],
)
def test_a_wrong_argument_is_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.parse(arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_arguments_arrive_as_the_pipelines_strings():
    config = command.parse(
        ["--model-package-group", "intents", "--min-champion-p-value", "0.1", "--seed", "3"]
    )
    assert config == EvaluationConfig(
        model_package_group="intents", min_champion_p_value=0.1, seed=3
    )
