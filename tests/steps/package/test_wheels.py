from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from steps.contract import StepError
from steps.package.requirements import Pin, read_pins
from steps.package.wheels import ARCHITECTURES, fetch, find_wheels, main

NAMES = {"pure": "py3-none-any", "fast": "cp311-cp311-manylinux_2_17_{}"}


def write_wheel(folder: Path, name: str, tag: str) -> str:
    """A wheel that pip takes; returns its hash."""
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{name}.py", f"TAG = {tag!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Pin, ...]:
    """Distributions of an index of our own, which pip is set to."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return tuple(
        Pin(name, "1.0", frozenset(write_wheel(index, name, tag.format(a)) for a in ARCHITECTURES))
        for name, tag in NAMES.items()
    )


def test_the_wheels_of_both_architectures_are_fetched_once(
    pins: tuple[Pin, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    assert fetch(folder, pins) == 4
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.whl")} == {
        "x86_64/pure-1.0-py3-none-any.whl",
        "x86_64/fast-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "aarch64/pure-1.0-py3-none-any.whl",
        "aarch64/fast-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
    }
    found = find_wheels(folder, pins)
    assert found is not None
    assert {a: set(wheels) for a, wheels in found.items()} == {a: set(NAMES) for a in ARCHITECTURES}
    assert fetch(folder, pins) == 0


def test_what_is_not_wanted_is_removed_and_what_is_damaged_fetched_again(
    pins: tuple[Pin, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    fetch(folder, pins)
    (folder / "x86_64" / "old-0.9-py3-none-any.whl").write_bytes(b"old")
    (folder / "aarch64" / ".partial-killed").mkdir()
    damaged = folder / "x86_64" / "pure-1.0-py3-none-any.whl"
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert fetch(folder, pins) == 1
    assert len(list(folder.glob("*/*"))) == 4


def test_a_wheel_with_another_hash_is_refused(pins: tuple[Pin, ...], tmp_path: Path) -> None:
    altered = (Pin("pure", "1.0", frozenset({"0" * 64})), *pins[1:])
    with pytest.raises(StepError, match=r"pip could not fetch pure 1.0 for x86_64 .*Expected"):
        fetch(tmp_path / "wheels", altered)
    assert not list((tmp_path / "wheels").rglob("*.whl"))


def test_a_folder_that_lacks_a_wheel_is_named_and_no_folder_is_none(
    pins: tuple[Pin, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    assert find_wheels(folder, pins) is None
    fetch(folder, pins)
    next((folder / "aarch64").glob("fast*")).unlink()
    with pytest.raises(StepError, match=r"has no wheel of fast 1.0 for aarch64: run python -m"):
        find_wheels(folder, pins)


def test_the_command_says_what_it_could_not_get(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    environment = {"PATH": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "empty")}
    ended = subprocess.run(
        [sys.executable, "-m", "steps.package.wheels", str(tmp_path / "wheels")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: pip could not fetch ")
    assert ended.stderr.count("\n") == 1


def test_the_command_prints_what_it_did(
    pins: tuple[Pin, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "requirements.txt").write_text("".join(pin.line for pin in pins))
    monkeypatch.setattr(
        "steps.package.wheels.requirements_file", lambda: tmp_path / "requirements.txt"
    )
    assert main([str(tmp_path / "wheels")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("wheels is complete, 0 MB")
    assert main([str(tmp_path / "wheels")]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("numpy>=2\n", "has the line 'numpy>=2'"),
        ("numpy==2.4.6\n", "has the line 'numpy==2.4.6'"),
        (f"-r other --hash=sha256:{'0' * 64}\n", "has the line"),
        (f"a==1 --hash=sha256:{'0' * 64}\n" * 2, "names a twice"),
    ],
)
def test_a_list_of_another_form_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    with pytest.raises(StepError, match=sentence):
        read_pins(tmp_path / "requirements.txt")


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"requirements.txt cannot be read"):
        read_pins(tmp_path / "requirements.txt")
