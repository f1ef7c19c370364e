"""Bad packages at a device that serves: each is refused in one sentence, and it serves on."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cli import main
from tests.edge.packages import Device, Draft, draft, new_key
from tests.edge.updates.serving import Crowd, Supervised, install, wait_for


def missing(made: Draft) -> None:
    del made.files["model/model.onnx"]


def truncated(made: Draft) -> None:
    made.files["model/model.onnx"] = made.files["model/model.onnx"][:100]


def swapped(made: Draft) -> None:
    files = made.files
    one, other = "model/model.onnx", "model/behaviour.json"
    files[one], files[other] = files[other], files[one]


def altered(made: Draft) -> None:
    made.files["edge/service/__main__.py"] = b"import os; os.abort()\n"


def added(made: Draft) -> None:
    made.files["sitecustomize.py"] = b"import os; os.abort()\n"


def of_another_device(made: Draft) -> None:
    made.manifest["architectures"] = ["riscv64"]


DAMAGES: list[Callable[[Draft], None]] = [
    missing, truncated, swapped, altered, added, of_another_device,
]  # fmt: skip


def bad_packages(device: Device) -> dict[str, Path]:
    """By what is wrong with them."""
    found: dict[str, Path] = {}
    for damage in DAMAGES:
        made = draft("1.0.9")
        damage(made)
        found[damage.__name__] = made.write(device.home / damage.__name__, device.key)
    found["older"] = device.package("1.0.1")
    found["same number"] = device.package("1.0.2", answer_seconds=1)
    found["stranger's"] = draft("1.0.9").write(device.home / "stranger", new_key("ecdsa"))
    found["unsigned"] = draft("1.0.9").write(device.home / "unsigned", None)
    found["half a zip"] = path = draft("1.0.9").write(device.home / "half", device.key)
    path.write_bytes(path.read_bytes()[:-500])
    found["no zip"] = device.home / "no.zip"
    found["no zip"].write_bytes(os.urandom(5000))
    found["empty"] = device.home / "empty.zip"
    found["empty"].touch()
    found["nothing"] = device.home / "nothing.zip"
    found["a folder"] = device.home / "a folder"
    found["a folder"].mkdir()
    found["another manifest"] = path = draft("1.0.9").write(device.home / "other", device.key)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "[" * 100_000)
    found["fails its test"] = device.package("1.0.9", selftest="fails")
    return found


def test_a_device_serves_on_whatever_it_is_given(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(device, device.package("1.0.2")).returncode == 0
    options = ["--root", str(device.root), "--config", str(device.config)]
    with Supervised(device) as supervised:
        supervised.settles("1.0.2")
        state = device.state()
        with Crowd(device) as crowd:
            for name, package in bad_packages(device).items():
                code = main(["install", "--package", str(package), *options])
                said = capsys.readouterr()
                assert (code, said.out) == (1, ""), name
                assert said.err.startswith("error: "), name
                assert said.err.count("\n") == 1, name
                answered = len(crowd.versions)
                wait_for(lambda seen=answered: len(crowd.versions) > seen)
        assert supervised.stop() == 0
    assert (crowd.refused, crowd.cut, crowd.wrong) == (0, 0, [])
    assert set(crowd.versions) == {"1.0.2"}
    after = device.state()
    assert [report["kind"] for report in after.pop("reports")] == ["self_test"]
    state.pop("reports")
    assert after == state
    assert device.versions() == ["1.0.2"]
