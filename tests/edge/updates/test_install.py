"""What may be installed, and that whatever may not leaves everything as it was."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edge.package.errors import PackageError
from edge.settings import Settings
from edge.updates.errors import BusyError, TestFailedError, UpdateError, VersionError
from edge.updates.files import locked
from edge.updates.install import Outcome, install
from edge.updates.state import Root, State
from tests.edge.packages import Device, draft, new_key
from tests.edge.updates.serving import ENVIRONMENT
from tests.edge.updates.serving import install as install_by_command


def put(device: Device, package: Path, **options: bool) -> Outcome:
    settings = Settings.read(device.config).updates
    return install(Root(device.root), package, settings, **options)


def confirm(device: Device, *versions: str) -> None:
    for version in versions:
        put(device, device.package(version))
        Root(device.root).change(lambda state, v=version: state.confirm(v))


def test_the_first_serves_and_the_next_is_on_trial(device: Device) -> None:
    first = put(device, device.package("1.0.1"))
    assert first.sentence == "1.0.1 is installed and serves at the next start."
    assert put(device, device.package("1.0.2")).sentence.startswith("1.0.2 is installed and on tr")
    state = device.state()
    assert (state["serving"], state["candidate"]) == ("1.0.1", "1.0.2")
    note = json.loads((device.root / "versions" / "1.0.2" / "installed.json").read_text())
    assert note["python"] == sys.executable
    assert device.versions() == ["1.0.1", "1.0.2"]


def test_what_serves_already_is_no_error_and_withdraws_a_candidate(device: Device) -> None:
    package = device.package("1.0.1")
    put(device, package)
    assert put(device, package) == Outcome("1.0.1", False, "1.0.1 serves already.")
    waiting = device.package("1.0.2")
    put(device, waiting)
    assert put(device, waiting).sentence == "1.0.2 is on trial already."
    assert put(device, package).sentence == "1.0.1 serves on; 1.0.2 is withdrawn."
    assert device.state()["candidate"] is None


def test_an_older_version_needs_to_be_meant(device: Device) -> None:
    confirm(device, "1.0.3", "1.0.5")
    with pytest.raises(VersionError, match=r"1\.0\.4 is older than 1\.0\.5, which was confirmed"):
        put(device, device.package("1.0.4"))
    assert device.versions() == ["1.0.3", "1.0.5"]
    assert put(device, device.package("1.0.4"), allow_downgrade=True).installed


def test_the_version_before_may_come_back(device: Device) -> None:
    before = device.package("1.0.3")
    put(device, before)
    Root(device.root).change(lambda state: state.confirm("1.0.3"))
    confirm(device, "1.0.5")
    assert put(device, before).installed
    assert device.state()["candidate"] == "1.0.3"


def test_another_package_under_a_known_version_is_refused(device: Device) -> None:
    put(device, device.package("1.0.1"))
    other = draft("1.0.1", behaviour={"answer_seconds": 1}).write(device.home / "o", device.key)
    with pytest.raises(VersionError, match=r"Another package is installed as 1\.0\.1"):
        put(device, other)


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ({"selftest": "fails"}, "Its self-test failed, it is not installed: The model answers"),
        ({"selftest": "dies"}, "Its self-test failed, it is not installed: it ended with -6"),
    ],
)
def test_a_model_that_answers_otherwise_is_not_installed(
    device: Device, behaviour: dict[str, str], sentence: str
) -> None:
    put(device, device.package("1.0.1"))
    with pytest.raises(TestFailedError, match=sentence):
        put(device, device.package("1.0.2", **behaviour))
    state = device.state()
    assert (state["serving"], state["candidate"]) == ("1.0.1", None)
    assert [report["kind"] for report in state["reports"]] == ["self_test"]
    assert device.versions() == ["1.0.1"]


def test_a_self_test_that_does_not_end_is_ended(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.updates.install.TEST_SECONDS", 0.3)
    with pytest.raises(TestFailedError, match="did not end within"):
        put(device, device.package("1.0.1", selftest_seconds=60))
    assert not device.versions()


def test_a_version_that_failed_here_is_not_tried_again_unless_told(device: Device) -> None:
    put(device, device.package("1.0.1"))
    package = device.package("1.0.2")
    put(device, package)
    Root(device.root).change(lambda s: s.fail_candidate("1.0.2", "crash", "It ended with 7."))
    again = put(device, package)
    assert not again.installed
    assert again.sentence == (
        "1.0.2 failed here and is not tried again without --again, 1.0.1 serves on: "
        "It ended with 7."
    )
    assert put(device, package, again=True).installed
    assert device.state()["refused"] == {}


@pytest.mark.parametrize("damage", ["stranger", "altered", "unsigned", "machine", "requires"])
def test_a_package_that_is_not_good_changes_nothing(device: Device, damage: str) -> None:
    put(device, device.package("1.0.1"))
    before = device.state()
    made = draft("1.0.2")
    key = device.key
    if damage == "stranger":
        key = new_key()
    elif damage == "altered":
        made.files["model/model.onnx"] = b"x" * len(made.files["model/model.onnx"])
    elif damage == "unsigned":
        key = None
    elif damage == "machine":
        made.manifest["architectures"] = ["s390x"]
    else:
        made.manifest["requires"] = {"numpy": "0.0.1"}
    with pytest.raises(PackageError):
        put(device, made.write(device.home / "bad", key))
    assert device.state() == before
    assert device.versions() == ["1.0.1"]


def test_what_an_installation_left_unfinished_is_removed(device: Device) -> None:
    put(device, device.package("1.0.1"))
    for name in (".partial-1.0.9", "1.0.7"):
        (device.root / "versions" / name / "edge").mkdir(parents=True)
    put(device, device.package("1.0.2"))
    assert device.versions() == ["1.0.1", "1.0.2"]


def test_two_installations_at_once_are_refused(device: Device) -> None:
    device.root.mkdir()
    with (
        locked(device.root / "install.lock"),
        pytest.raises(BusyError, match="Another installation works on"),
    ):
        put(device, device.package("1.0.1"))


def test_a_full_disk_changes_nothing(device: Device) -> None:
    """A limit on a file's size stands in for the disk: the same error at the same place."""
    put(device, device.package("1.0.1"))
    before = device.state()
    made = draft("1.0.2")
    made.add("model/large.bin", os.urandom(400_000))
    package = made.write(device.home / "large", device.key)
    command = [sys.executable, "-m", "edge", "install", "--root", device.root]
    command += ["--config", device.config, "--package", package]
    ended = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {device.root} cannot take {package} (File too large)")
    assert ended.stderr.count("\n") == 1
    assert device.state() == before
    assert device.versions() == ["1.0.1"]
    assert put(device, package).installed


def test_a_root_that_cannot_be_written_is_named(device: Device) -> None:
    device.root.write_text("a file")
    with pytest.raises(UpdateError, match="cannot be made"):
        put(device, device.package("1.0.1"))


def test_a_clock_in_1970_does_not_matter(device: Device) -> None:
    package = device.package("1.0.1")
    os.utime(package, (0, 0))
    put(device, package)
    for path in device.root.rglob("*"):
        os.utime(path, (0, 0))
    assert put(device, device.package("1.0.2")).installed


def test_unsigned_packages_need_a_configuration_that_allows_them(tmp_path: Path) -> None:
    device = Device(tmp_path, new_key())
    package = draft("1.0.1").write(tmp_path / "unsigned", None)
    device.configure(updates="allow_unsigned = true")
    with pytest.raises(PackageError, match="has no signature"):  # there are keys: they count
        put(device, package)
    for path in device.trusted.glob("*.pem"):
        path.unlink()
    assert put(device, package).installed


def test_the_command_says_what_it_did(device: Device) -> None:
    done = install_by_command(device, device.package("1.0.1").parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1.0.1 is installed and serves at the next start.\n"
    assert Root(device.root).read() == State(serving="1.0.1")
