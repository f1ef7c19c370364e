"""A dataset's manifest: only what it lists is read, and what it lists is there, whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from steps.contract import StepError
from steps.prepare.reading import find_files

ROW = b'{"text": "lights off", "intent": "off"}\n'


def entry(path: str, content: bytes = ROW) -> dict[str, Any]:
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def dataset(folder: Path, *entries: Any, **more: Any) -> Path:
    (folder / "utterances.jsonl").write_bytes(ROW)
    (folder / "manifest.json").write_text(
        json.dumps({"format": 1, "dataset": "home", "files": list(entries), **more})
    )
    return folder


def test_only_the_files_that_the_manifest_lists_are_read(tmp_path: Path):
    dataset(tmp_path, entry("utterances.jsonl"), entry("more/b.csv", b"text,intent\n"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.csv").write_bytes(b"text,intent\n")
    (tmp_path / "left-over.jsonl").write_bytes(b"of an earlier upload")
    assert [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)] == [
        "more/b.csv",
        "utterances.jsonl",
    ]


def test_without_a_manifest_the_folder_is_read_whole(tmp_path: Path):
    dataset(tmp_path, entry("utterances.jsonl"))
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "a.jsonl").write_bytes(ROW)
    assert [path.name for path in find_files(tmp_path)] == ["a.jsonl", "utterances.jsonl"]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("gone.jsonl")], "manifest.json names gone.jsonl, which is missing"),
        ([entry("s3://other-bucket/a.jsonl")], "names s3://other-bucket/a.jsonl, which is not in"),
        ([entry("../a.jsonl")], "names ../a.jsonl, which is not in the dataset's own folder"),
        ([entry("/etc/passwd")], "names /etc/passwd, which is not in"),
        ([entry("utterances.jsonl", b"other")], "utterances.jsonl is not the file that"),
        ([entry("utterances.jsonl", ROW[::-1])], "its size or SHA-256 differs"),
        ([{"path": "utterances.jsonl"}], "has an entry without path, bytes and sha256"),
        (["utterances.jsonl"], "has an entry without path, bytes and sha256"),
        ([], "is not a dataset's manifest"),
    ],
)
def test_a_manifest_that_does_not_hold_is_one_sentence(
    tmp_path: Path, entries: list[Any], said: str
):
    with pytest.raises(StepError) as error:
        find_files(dataset(tmp_path, *entries))
    assert said in str(error.value)
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("content", ["[]", '{"format": 2, "files": [1]}', "{", '"text"'])
def test_another_json_file_of_that_name_is_said_to_be_none(tmp_path: Path, content: str):
    dataset(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StepError, match=r"manifest\.json"):
        find_files(tmp_path)
