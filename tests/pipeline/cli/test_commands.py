"""The other commands of ``slm``: show, runs, report, predict, import and ui."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.definition import definition_json
from pipeline.settings import Settings
from tests.pipeline.cli.conftest import definition


@pytest.fixture
def made(slm, home, data, definition_file) -> Path:
    """A home in which an execution has succeeded."""
    done = slm("run", "--home", home, "--data", data, "--definition", definition_file)
    assert done.exit_code == 0, done.output
    return home


def test_show_lists_steps_gates_and_parameters(slm, definition_file):
    done = slm("show", "--definition", definition_file)
    assert done.exit_code == 0, done.output
    for word in ("Bake", "Taste", "Bland", "MinAccuracy", "0.8"):
        assert word in done.stdout


def test_show_json_is_the_definition_itself(slm):
    done = slm("show", "--json")
    assert done.stdout == definition_json(Settings.load("local"))


def test_show_json_of_a_file_and_its_diagram(slm, definition_file, tmp_path):
    picture = tmp_path / "picture.svg"
    done = slm("show", "--definition", definition_file, "--json", "--diagram", picture)
    assert json.loads(done.stdout) == definition()
    assert "Bake the cake" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--diagram", "picture.gif"), "picture.gif is neither .svg nor .png"),
        (("--diagram", "no/such/folder.svg"), "cannot be written: No such file"),
        (("--definition", "{broken}"), "is not a pipeline definition: its steps"),
        (("--env", "qa"), "'qa' is not one of"),
    ],
)
def test_show_refuses_in_one_sentence(slm, definition_file, tmp_path, words, said):
    broken = tmp_path / "broken.json"
    broken.write_text('{"Steps": [1]}')
    given = [word.format(broken=broken) for word in words]
    if "--env" not in given:
        given = ["--definition", str(definition_file), *given]
    done = slm("show", *given)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


def test_runs_lists_executions_with_status_and_accuracy(slm, made, data, definition_file):
    slm("run", "--home", made, "--data", data, "--definition", definition_file, "--set", "Oven=broken")  # fmt: skip  # noqa: E501
    done = slm("runs", "--home", made)
    newest, oldest = done.stdout.splitlines()[1:]
    assert "Failed" in newest
    assert "94.0%" not in newest
    assert "Succeeded" in oldest
    assert "94.0%" in oldest


def test_runs_of_an_empty_home_says_how_to_start(slm, home):
    done = slm("runs", "--home", home)
    assert (done.exit_code, "start with slm run" in done.stdout) == (0, True)


def test_report_names_the_file_of_the_newest_or_named_execution(slm, made, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    done = slm("report", "--home", made, "--open")
    path = Path(done.stdout.strip())
    assert json.loads(path.read_text()) == "report"
    assert opened == [path.absolute().as_uri()]
    execution = path.parts[-3]
    assert slm("report", execution, "--home", made).stdout == done.stdout


def test_report_without_an_execution_is_a_usage_error(slm, home, made):
    done = slm("report", "--home", home / "other")
    assert (done.exit_code, "has an output evaluation yet" in done.stderr) == (2, True)
    assert slm("report", "aaaaaaaaaaaa", "--home", made).exit_code == 2


def test_an_execution_that_failed_early_has_no_report(slm, home, data, definition_file):
    slm("run", "--home", home, "--data", data, "--definition", definition_file, "--set", "Oven=broken")  # fmt: skip  # noqa: E501
    execution = next((home / "executions").iterdir()).name
    done = slm("report", execution, "--home", home)
    assert (done.exit_code, f"{execution} has no output evaluation" in done.stderr) == (2, True)


def test_import_prints_what_to_type_next(slm, home, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("q,label\nhello,greet\nwho wrote hamlet,out_of_scope\n")
    done = slm("import", "csv", file, "--text", "q", "--intent", "label", "--home", home)
    out = home / "data" / "mine"
    assert done.stdout == (
        f"1 utterances in 1 intents and 1 out of scope: {out}\nnext: slm run --data {out}\n"
    )
    (tmp_path / "data_full.json").write_text('{"train": [["hello", "greet"]]}')
    assert slm("import", "clinc150", tmp_path, "--out", tmp_path / "c").exit_code == 0
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,category\nhello,greet\n")
    assert slm("import", "banking77", tmp_path, "--out", tmp_path / "b").exit_code == 0
    assert (tmp_path / "b" / "utterances.jsonl").exists()


def test_import_of_what_is_not_there_is_one_sentence(slm, home, tmp_path):
    done = slm("import", "clinc150", tmp_path / "none.json", "--home", home)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "none.json cannot be read" in done.stderr


def test_predict_needs_a_model_that_is_there(slm, home, tmp_path):
    pytest.importorskip("onnxruntime")
    done = slm("predict", "hello", "--home", home)
    assert (done.exit_code, "start with slm run" in done.stderr) == (2, True)
    done = slm("predict", "hello", "--model", tmp_path)
    assert (done.exit_code, "has no model.onnx" in done.stderr) == (1, True)


class Classifier:
    """Stands in for the compiled model, which takes a pipeline run to make."""

    def predict(self, text: str):
        from edge.classifier import Candidate, InputError, Prediction

        if text == "\ud800":
            raise InputError("Utterance 0 is not valid Unicode.")
        outside = "hamlet" in text
        intent = "out_of_scope" if outside else "lights_off"
        return Prediction(intent, 0.97, outside, 9.0, (Candidate("lights_off", 0.97),), "4")


def test_predict_answers_arguments_and_lines(slm, monkeypatch, tmp_path):
    edge = pytest.importorskip("edge.classifier")
    monkeypatch.setattr(edge.IntentClassifier, "load", lambda folder: Classifier())
    done = slm("predict", "kill the lamp", "who wrote hamlet", "--model", tmp_path)
    first, second = done.stdout.splitlines()
    assert first.split()[:2] == ["lights_off", "97%"]
    assert second.startswith("out_of_scope")
    assert "nearest is lights_off, 97%" in second
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    piped = CliRunner().invoke(
        app, ["predict", "--json", "--model", str(tmp_path)], input="kill the lamp\n\n"
    )
    (line,) = piped.stdout.splitlines()
    assert json.loads(line)["text"] == "kill the lamp"
    assert json.loads(line)["top"] == [{"intent": "lights_off", "confidence": 0.97}]
    refused = slm("predict", "\ud800", "--model", tmp_path)
    assert (refused.exit_code, "not valid Unicode" in refused.stderr) == (1, True)


def test_predict_on_a_terminal_without_words_says_what_to_type(slm, monkeypatch):
    from pipeline.cli import app as module

    monkeypatch.setattr(module, "sys", type("Sys", (), {"stdin": type("In", (), {"isatty": staticmethod(lambda: True)})}))  # fmt: skip  # noqa: E501
    done = slm("predict")
    assert (done.exit_code, "Give an utterance" in done.stderr) == (2, True)


def test_ui_opens_mlflow_on_the_homes_database(slm, home, monkeypatch):
    done = slm("ui", "--home", home)
    assert (done.exit_code, "mlflow.db does not exist yet" in done.stderr) == (2, True)
    home.mkdir()
    (home / "mlflow.db").touch()
    called: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    assert slm("ui", "--home", home, "--port", "5005").exit_code == 0
    assert called[0][1:4] == ["-m", "mlflow", "ui"]
    assert f"sqlite:///{home.absolute().as_posix()}/mlflow.db" in called[0]


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make ``package`` look as if it were not installed."""
    import_module = importlib.import_module

    def missing(name: str, *rest: object):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return import_module(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("sagemaker", ("show", "--json"), "slm-edge[local]"),
        ("matplotlib", ("show", "--definition", "{file}", "--diagram", "a.png"), "[local]"),
    ],
)
def test_a_missing_package_is_one_sentence_with_its_extra(
    slm, monkeypatch, definition_file, package, words, extra
):
    hide(monkeypatch, package)
    done = slm(*(word.format(file=definition_file) for word in words))
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output
    assert f"This needs {package}: pip install" in done.stderr
    assert extra in done.stderr


def test_mlflow_that_is_not_installed_is_named(slm, home, monkeypatch):
    home.mkdir()
    (home / "mlflow.db").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = slm("ui", "--home", home)
    assert (done.exit_code, "pip install 'slm-edge[processing]'" in done.stderr) == (1, True)


def test_a_bug_keeps_its_traceback(slm, monkeypatch, home):
    def broken(home: Path) -> None:
        raise ModuleNotFoundError("No module named 'pipeline.nothing'", name="pipeline.nothing")

    monkeypatch.setattr("pipeline.cli.showing.print_executions", broken)
    assert isinstance(slm("runs", "--home", home).exception, ModuleNotFoundError)


def test_interrupting_a_command_exits_with_130(slm, monkeypatch, home):
    def interrupted(home: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.cli.showing.print_executions", interrupted)
    assert slm("runs", "--home", home).exit_code == 130


def test_slm_says_which_extra_it_lacks_before_anything_is_imported(repository):
    program = "import sys; sys.modules['typer'] = None\nfrom pipeline.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: slm needs typer: pip install 'slm-edge[local]'.\n"


def test_help_starts_without_the_heavy_libraries(repository):
    program = (
        "import sys; from pipeline.cli.app import app\n"
        "heavy = {'sagemaker', 'boto3', 'mlflow', 'onnxruntime', 'torch', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
