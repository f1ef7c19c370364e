"""A dataset's manifest: what it names, and that the same folder gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from pipeline.datasets_manifest import (
    differences,
    manifest_of,
    read_manifest,
    write_manifest,
)
from pipeline.local.errors import PipelineError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "My Data!"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.jsonl").write_text("b")
    (folder / "deep" / "a.parquet").write_text("a")
    (folder / "README.md").write_text("what it is")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "c.csv").write_text("c")
    return folder


def test_every_file_is_named_with_its_size_and_hash(folder: Path):
    manifest = manifest_of(folder)
    assert manifest["format"] == 1
    assert manifest["dataset"] == "my-data"
    assert manifest["files"][1] == {
        "path": "b.jsonl",
        "bytes": 1,
        "sha256": hashlib.sha256(b"b").hexdigest(),
    }
    assert [f["path"] for f in manifest["files"]] == ["README.md", "b.jsonl", "deep/a.parquet"]


def test_the_hash_of_the_dataset_is_that_of_what_sha256sum_prints(folder: Path):
    printed = subprocess.run(
        ["sha256sum", "README.md", "b.jsonl", "deep/a.parquet"],
        cwd=folder,
        capture_output=True,
        check=True,
    ).stdout
    assert manifest_of(folder)["dataset_sha256"] == hashlib.sha256(printed).hexdigest()


def test_writing_twice_gives_the_same_bytes_and_the_manifest_does_not_name_itself(folder: Path):
    first = write_manifest(folder).read_bytes()
    assert write_manifest(folder).read_bytes() == first
    assert read_manifest(folder) == manifest_of(folder) == json.loads(first)


def test_differences_name_what_changed_went_and_came(folder: Path):
    before = manifest_of(folder)
    (folder / "b.jsonl").write_text("changed")
    (folder / "README.md").unlink()
    (folder / "new.csv").write_text("new")
    assert differences(before, manifest_of(folder)) == ["README.md", "b.jsonl", "new.csv"]


@pytest.mark.parametrize("name", ["", "Home", "a/b", "..", "a" * 64, "-a"])
def test_a_name_that_is_none_is_refused(folder: Path, name: str):
    with pytest.raises(UsageError, match="is not the name of a dataset"):
        manifest_of(folder, name)


def test_a_folder_without_data_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="is not a folder"):
        manifest_of(tmp_path / "none")
    (tmp_path / "README.md").write_text("only words")
    with pytest.raises(UsageError, match=r"holds no \.jsonl"):
        manifest_of(tmp_path, "words")


def test_without_a_manifest_there_is_none(folder: Path):
    assert read_manifest(folder) is None


@pytest.mark.parametrize(
    "content", ["no json", "[]", '{"format": 2, "files": []}', '{"format": 1}']
)
def test_what_is_no_manifest_is_refused(folder: Path, content: str):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(PipelineError, match=r"manifest.json (cannot be read|is not a manifest)"):
        read_manifest(folder)


def test_a_file_that_cannot_be_read_or_written_is_one_sentence(folder: Path, monkeypatch):
    (folder / "manifest.json").mkdir()
    with pytest.raises(PipelineError, match=r"manifest.json cannot be written"):
        write_manifest(folder)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hashlib.file_digest", refuse)
    with pytest.raises(PipelineError, match=r"cannot be read: Permission denied"):
        manifest_of(folder)
