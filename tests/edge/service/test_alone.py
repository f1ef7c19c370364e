"""The component's folder serves with nothing of the project in reach, and bad folders do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from benchmarks.serving import Service
from tests.edge.packages import new_key, real_draft

NAMES = ("model.onnx", "tokenizer.json", "intents.json", "selftest.json", "compilation.json")


def test_the_component_s_folder_alone_on_the_path_serves(
    tiny_compiled: Path, tmp_path: Path
) -> None:
    component = real_draft("1.0.1", tiny_compiled).write_folder(tmp_path / "component", new_key())
    packages = sysconfig.get_path("purelib")
    # -S: no .pth file adds the checkout, which an editable installation would
    command = [sys.executable, "-S", "-P", "-B"]
    environment = {**os.environ, "PYTHONPATH": f"{component}{os.pathsep}{packages}"}
    found = subprocess.run(
        [*command, "-c", "import edge, importlib.util as u; print(edge.__file__); "
         "print([n for n in ('steps', 'pipeline', 'cdk', 'benchmarks') if u.find_spec(n)])"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert found == [str(component / "edge" / "__init__.py"), "[]"]
    asked = {"text": "play some jazz"}
    with Service(tiny_compiled, tmp_path) as ours:
        expected = ours.ask(asked)
    with Service(
        component / "model", tmp_path, runtime=environment["PYTHONPATH"], interpreter=command
    ) as alone:
        assert alone.ask(asked) == expected
        assert json.loads(expected[1])["model_version"] == "7"
    assert not list(component.rglob("*.pyc"))


def serve(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "serve", "--listen", "127.0.0.1:0"]
    return subprocess.run(
        [*command, "--model", str(folder)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "altered", "swapped"])
def test_a_folder_whose_files_are_not_its_own_is_one_sentence(
    tiny_compiled: Path, tmp_path: Path, name: str, damage: str
) -> None:
    from edge.classifier import IntentClassifier
    from edge.errors import ModelError

    folder = Path(shutil.copytree(tiny_compiled, tmp_path / "model"))
    path = folder / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "swapped":
        other = folder / NAMES[(NAMES.index(name) + 1) % 3]
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        middle = len(data) // 2
        changed = data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]
        path.write_bytes({"empty": b"", "half": data[:middle], "altered": changed}[damage])
    with pytest.raises(ModelError) as refused:
        IntentClassifier.load(folder)
    assert "\n" not in str(refused.value)
    # the same without the record of hashes: what is no model is refused for what it is
    (folder / "compilation.json").unlink()
    if damage != "altered":
        with pytest.raises(ModelError) as refused:
            IntentClassifier.load(folder)
        assert "\n" not in str(refused.value)


def test_the_service_does_not_start_with_another_model_s_answers(
    tiny_compiled: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_compiled, tmp_path / "model"))
    path = folder / "selftest.json"
    questions = json.loads(path.read_text())
    for case in questions["cases"]:
        case["energy"] += 5
    path.write_text(json.dumps(questions))
    ended = serve(folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: The model in ")
    assert ended.stderr.count("\n") == 1
