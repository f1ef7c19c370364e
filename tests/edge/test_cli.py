from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from edge.updates.state import Root


def test_predict_prints_one_json_object_an_utterance(
    tiny_compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", "--model", str(tiny_compiled), "--top-k", "1", "lamp off", "some rock"]
    assert main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert all(len(line["top"]) == 1 for line in lines)


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_predict_without_words_reads_lines(
    tiny_compiled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"lamp off\n\nsome rock\n"))
    assert main(["predict", "--model", str(tiny_compiled)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr(sys, "stdin", Stdin(b"lamp \xff off\n"))
    assert main(["predict", "--model", str(tiny_compiled)]) == 1
    assert capsys.readouterr().err == "error: Line 1 of the input is not UTF-8.\n"


def test_predict_ends_with_a_sentence_for_what_it_refuses(
    tiny_compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", str(tmp_path), "lamp off"]) == 1
    assert capsys.readouterr().err == f"error: The model folder {tmp_path} has no model.onnx.\n"
    assert main(["predict", "--model", str(tiny_compiled), " "]) == 1


def test_predict_asks_the_model_that_serves_in_a_state_root(
    tiny_compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Root(tmp_path / "state")
    assert main(["predict", "--root", str(root.path), "lamp off"]) == 1
    assert capsys.readouterr().err.startswith(f"error: Nothing is installed in {root.path}: ")
    root.folder("1.0.7").mkdir(parents=True)
    (root.folder("1.0.7") / "model").symlink_to(tiny_compiled)
    root.change(lambda state: replace(state, serving="1.0.7"))
    assert main(["predict", "--root", str(root.path), "lamp off"]) == 0
    assert json.loads(capsys.readouterr().out)["model_version"] == "7"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["serve", "--model", "a", "--root", "b"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, tiny_compiled: Path) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge.classifier.IntentClassifier.load", interrupt)
    assert main(["predict", "--model", str(tiny_compiled), "x"]) == 130


def test_the_commands_and_the_settings_import_nothing_heavy(repository: Path) -> None:
    code = (
        "import sys, edge.cli, edge.settings, edge.service.listening\n"
        "edge.cli.build_parser()\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers', 'uvicorn', 'asyncio', 'cryptography'}\n"
        "found = heavy & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)


def test_the_module_is_the_command(repository: Path) -> None:
    command = [sys.executable, "-m", "edge", "predict", "--help"]
    shown = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: slm-edge predict")
