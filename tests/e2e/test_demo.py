"""One command turns the bundled sample into a packaged int8 classifier, by a genuine pipeline."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from tests.docs.commands import commands
from tests.e2e.conftest import Slm

pytestmark = pytest.mark.e2e


def test_every_step_succeeds_and_leaves_its_folder(demo: Slm):
    (execution,) = demo.executions()
    assert execution["status"] == "Succeeded"
    statuses = {name: step["status"] for name, step in execution["steps"].items()}
    assert {name for name, status in statuses.items() if status != "Succeeded"} == {
        "QualityGateClosed",
        "ParityGateClosed",
    }
    for name, files in {
        "prepared": [
            "train.parquet",
            "quarantine.parquet",
            "statistics.json",
            "data_docs",
            "regression.jsonl",
        ],
        "evaluation": ["evaluation.json", "report.html", "predictions.parquet"],
        "compiled": ["model.onnx", "tokenizer.json", "intents.json", "compilation.json"],
        "package": ["recipe.json", "manifest.json"],
    }.items():
        folder = demo.output(name)
        assert [file for file in files if not (folder / file).exists()] == []


def test_the_model_is_visibly_better_than_bag_of_words(demo: Slm, read_json):
    evaluation = read_json(demo.output("evaluation") / "evaluation.json")
    assert evaluation["gate"]["passed"] == 1
    assert evaluation["gate"]["accuracy"] > evaluation["baseline"]["accuracy"]["value"] + 0.03


def test_the_model_holds_the_regression_set_before_and_after_compiling(demo: Slm, read_json):
    evaluation = read_json(demo.output("evaluation") / "evaluation.json")
    compilation = read_json(demo.output("compiled") / "compilation.json")
    found, compiled = evaluation["regression"], compilation["regression"]
    failures = "\n".join(json.dumps(case) for case in [*found["failures"], *compiled["lost"]])
    print(f"regression set: {found['pass_rate']:.1%}, compiled {compiled['pass_rate']:.1%}")
    print(failures)
    (check,) = [c for c in evaluation["checks"] if c["parameter"] == "MinRegressionPassRate"]
    assert (check["measured"], check["holds"]) == (True, True), failures
    assert compiled["pass_rate"] >= check["bound"], failures
    assert "Regression set" in (demo.output("evaluation") / "report.html").read_text()


def test_the_compiled_model_is_small_and_answers_as_the_trained_one(demo: Slm, read_json):
    compiled = demo.output("compiled")
    compilation = read_json(compiled / "compilation.json")
    assert compilation["attention_nodes"] == 6
    assert compilation["parity"]["passed"] == 1
    assert (compiled / "model.onnx").stat().st_size <= 24_000_000


def test_the_packaged_zip_answers_with_nothing_but_the_edge_dependencies(demo: Slm, tmp_path: Path):
    (archive,) = demo.output("package").glob(f"*-{platform.machine()}.zip")
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path)
    program = (
        "import json, sys; from edge.classifier import IntentClassifier; import pathlib;"
        "folder = next(pathlib.Path('.').rglob('model.onnx')).parent;"
        "answer = IntentClassifier.load(folder).predict('switch off the lamp in the kitchen');"
        "print(json.dumps([answer.intent, answer.confidence, 'torch' in sys.modules]))"
    )
    roots = sorted({path.parent.parent for path in tmp_path.rglob("edge/classifier.py")})
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(roots[0])},
        capture_output=True,
        text=True,
        check=True,
    )
    intent, confidence, torch_loaded = json.loads(result.stdout)
    assert intent == "lights_off"
    assert 0 < confidence <= 1
    assert torch_loaded is False


def test_predict_answers_from_the_newest_execution(demo: Slm):
    answer = demo("predict", "could you play some music please", "what is the capital of peru")
    assert "out_of_scope" in answer.stdout
    assert "music" in answer.stdout


def test_unchanged_it_is_reused_whole_and_registered_once(demo: Slm):
    demo("run")
    again = demo.executions()[-1]
    jobs = [step for step in again["steps"].values() if step["type"] in ("Processing", "Training")]
    assert [step["cached"] for step in jobs] == [True] * 6
    first = json.loads((demo.output("registration", 0) / "registration.json").read_text())
    second = json.loads((demo.output("registration") / "registration.json").read_text())
    assert first["version"] == second["version"]


def test_a_closed_gate_fails_with_figure_and_bound_and_registers_nothing(demo: Slm):
    result = demo("run", "--set", "MinAccuracy=0.999", exit_code=1)
    record = demo.executions()[-1]
    assert record["status"] == "Failed"
    assert "MinAccuracy" in record["failure_reason"]
    assert "0.999" in record["failure_reason"]
    assert "Traceback" not in result.stdout + result.stderr
    assert record["steps"]["QualityGateClosed"]["status"] == "Failed"
    assert record["steps"]["TrainModel"]["cached"]
    for name in ("RegisterModel", "CompileModel", "PackageComponent"):
        assert record["steps"][name]["status"] == "Skipped"


LOOKING = ("runs", "show", "report", "predict", "import csv")


def test_every_command_of_a_page_that_looks_at_a_run_works_on_the_demo(
    demo: Slm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = (demo.repository / "data/smart_home/utterances.jsonl").read_text().splitlines()
    with (tmp_path / "tickets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance", "category"])
        writer.writerows([row["text"], row["intent"]] for row in map(json.loads, rows[::9]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    typed = {command.words for command in commands(demo.repository) if command.program == "slm"}
    looking = [w for w in sorted(typed) if " ".join(w[1:3]).startswith(LOOKING)]
    assert len(looking) >= 5
    for words in looking:
        takes_home = words[1] != "show"
        home = ["--home", str(demo.home)] if takes_home else []
        done = CliRunner().invoke(app, [*words[1:], *home])
        assert done.exit_code == 0, (words, done.output)
        assert done.output.strip(), words
