"""A package is good, or refused in one sentence before anything of it is run."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edge.package.check import open_package
from edge.package.errors import AlteredError, PackageError, SignatureError, UnsafeError
from edge.package.signature import TrustedKeys
from tests.edge.packages import draft, new_key, trust


def judge(path: Path, trusted: Path) -> None:
    with open_package(path) as package:
        package.check_signature(TrustedKeys.read(trusted))
        package.check_machine()
        package.check_files()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_signed_package_is_good_zipped_and_unpacked(tmp_path: Path, kind: str) -> None:
    key = new_key(kind)
    trusted = trust(tmp_path / "trusted", key)
    judge(draft().write(tmp_path / "zip", key), trusted)
    judge(draft().write_folder(tmp_path / "folder", key), trusted)


def test_a_stranger_s_signature_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    trusted = trust(tmp_path / "trusted", new_key())
    with pytest.raises(SignatureError, match="stranger"):
        judge(draft().write(tmp_path / "stranger", new_key()), trusted)
    with pytest.raises(SignatureError, match="has no signature"):
        judge(draft().write(tmp_path / "unsigned", None), trusted)


def test_a_manifest_that_was_altered_after_signing_is_refused(tmp_path: Path) -> None:
    key = new_key()
    folder = draft().write_folder(tmp_path / "folder", key)
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"1.0.1", b"1.0.9"))
    with pytest.raises(SignatureError):
        judge(folder, trust(tmp_path / "trusted", key))


@pytest.mark.parametrize("how", ["altered", "missing", "swapped", "added", "link"])
def test_files_that_are_not_those_that_were_signed_are_refused(tmp_path: Path, how: str) -> None:
    key = new_key()
    folder = draft().write_folder(tmp_path / "folder", key)
    model, other = folder / "model/model.onnx", folder / "model/behaviour.json"
    if how == "altered":
        model.write_bytes(b"\0" * model.stat().st_size)
    elif how == "missing":
        model.unlink()
    elif how == "swapped":
        content = model.read_bytes()
        model.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif how == "added":
        (folder / "edge/more.py").write_text("")
    else:
        (folder / "edge/more.py").symlink_to("/etc/passwd")
    with pytest.raises((AlteredError, UnsafeError)):
        judge(folder, trust(tmp_path / "trusted", key))


@pytest.mark.parametrize("name", ["../outside.py", "/tmp/outside.py", "edge/../../outside.py"])
def test_a_member_with_a_path_out_of_the_package_is_refused(tmp_path: Path, name: str) -> None:
    key = new_key()
    path = draft().write(tmp_path / "zip", key)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(PackageError):
        judge(path, trust(tmp_path / "trusted", key))


def test_a_truncated_zip_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    key = new_key()
    path = draft().write(tmp_path / "zip", key)
    whole, trusted = path.read_bytes(), trust(tmp_path / "trusted", key)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(PackageError):
            judge(path, trusted)


def test_what_is_unpacked_is_a_good_package_again(tmp_path: Path) -> None:
    key = new_key()
    target = tmp_path / "unpacked"
    target.mkdir()
    with open_package(draft().write(tmp_path / "zip", key)) as package:
        package.unpack(target)
    judge(target, trust(tmp_path / "trusted", key))


def test_what_a_power_cut_left_of_the_installer_s_note_is_no_part_of_a_version(
    tmp_path: Path,
) -> None:
    key = new_key()
    folder = draft().write_folder(tmp_path / "folder", key)
    (folder / ".installed.json.new").write_bytes(b'{"pyth')
    judge(folder, trust(tmp_path / "trusted", key))
    target = tmp_path / "unpacked"
    target.mkdir()
    with open_package(folder) as package:
        package.unpack(target)
    assert not (target / ".installed.json.new").exists()
