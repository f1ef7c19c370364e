"""Importing published datasets: splits kept, out of scope named, nothing half-written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import (
    DatasetError,
    Imported,
    import_banking77,
    import_clinc150,
    import_csv,
)
from pipeline.datasets_manifest import manifest_of, read_manifest

CLINC = {
    "train": [["play jazz", "play_music"], ["what's the weather", "weather"]],
    "val": [["some rock please", "play_music"]],
    "test": [["is it cold out", "weather"]],
    "oos_train": [["who wrote hamlet", "oos"]],
    "oos_val": [["what is two plus two", "oos"]],
    "oos_test": [["how tall is everest", "oos"]],
}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_clinc(folder: Path, content: Any = CLINC) -> Path:
    path = folder / "data_full.json"
    path.write_text(json.dumps(content))
    return path


def write_csv(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize("given", ["file", "folder"])
def test_clinc150_keeps_its_splits_and_names_out_of_scope(tmp_path: Path, given: str):
    file = write_clinc(tmp_path)
    out = tmp_path / "out"
    imported = import_clinc150(file if given == "file" else tmp_path, out)
    assert imported == Imported(out, rows=7, intents=2, out_of_scope=3)
    rows = rows_of(out)
    assert rows[0] == {"text": "play jazz", "intent": "play_music", "split": "train"}
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert [r["split"] for r in rows if r["intent"] == "out_of_scope"] == [
        "train", "validation", "test",
    ]  # fmt: skip


def test_banking77_leaves_validation_to_prepare(tmp_path: Path):
    write_csv(tmp_path / "train.csv", [["text", "category"], ["my card, where is it?", "card"]])
    write_csv(tmp_path / "test.csv", [["text", "category"], ["top up failed", "top_up"]])
    imported = import_banking77(tmp_path, tmp_path / "out")
    assert (imported.rows, imported.intents, imported.out_of_scope) == (2, 2, 0)
    assert [row["split"] for row in rows_of(imported.folder)] == ["train", "test"]


def test_any_csv_is_read_by_the_names_of_its_columns(tmp_path: Path):
    before = csv.field_size_limit()  # the process's; other tests may have raised it
    long = "long " * 200_000  # 1 MB, which prepare will refuse with a reason
    file = write_csv(
        tmp_path / "mine.csv",
        [["id", "Frage", "Absicht"], ["1", "wie spät ist es", "zeit"], ["2", long, "zeit"]],
    )
    imported = import_csv(file, tmp_path / "out", text="Frage", intent="Absicht")
    assert rows_of(imported.folder)[0] == {"text": "wie spät ist es", "intent": "zeit"}
    assert rows_of(imported.folder)[1]["text"] == long
    assert csv.field_size_limit() == before


def test_importing_again_replaces_what_was_imported_but_nothing_else(tmp_path: Path):
    file = write_clinc(tmp_path)
    out = tmp_path / "out"
    import_clinc150(file, out)
    assert import_clinc150(file, out).rows == 7
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="holds something else"):
        import_clinc150(file, out)
    assert (out / "notes.txt").read_text() == "mine"


def test_importing_again_keeps_the_regression_set_and_names_it_in_the_manifest(tmp_path: Path):
    file = write_clinc(tmp_path)
    out = tmp_path / "out"
    import_clinc150(file, out)
    case = '{"kind": "must_reject", "text": "who wrote faust"}\n'
    (out / "regression.jsonl").write_text(case)
    assert import_clinc150(file, out).rows == 7
    assert (out / "regression.jsonl").read_text() == case
    manifest = read_manifest(out)
    assert manifest is not None
    assert [f["path"] for f in manifest["files"]] == ["regression.jsonl", "utterances.jsonl"]
    assert manifest == manifest_of(out)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "it has no split train"),
        ({"train": [["only text"]]}, r"row 0 of train is not \[text, intent\]"),
        ({"train": [], "dev": []}, "'dev' is not one of its splits"),
        ({"train": []}, "no rows"),
    ],
)
def test_what_is_not_clinc150_is_refused_and_nothing_is_left(tmp_path: Path, content, said):
    file = write_clinc(tmp_path, content)
    with pytest.raises(DatasetError, match=said):
        import_clinc150(file, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data_full.json"]


def test_files_that_are_missing_or_not_what_their_name_says_are_named(tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match=r"data_full\.json cannot be read: No such file"):
        import_clinc150(tmp_path, out)
    with pytest.raises(DatasetError, match=r"train\.csv cannot be read: No such file"):
        import_banking77(tmp_path, out)
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x80\x81 not json")
    with pytest.raises(DatasetError, match="is not JSON"):
        import_clinc150(broken, out)
    broken.write_bytes(b"text,intent\ncaf\xe9,drinks\n")
    with pytest.raises(DatasetError, match="is not UTF-8"):
        import_csv(broken, out, text="text", intent="intent")
    broken.write_text('text,intent\n"never closed,drinks\n')
    with pytest.raises(DatasetError, match="is not CSV"):
        import_csv(broken, out, text="text", intent="intent")
    assert not out.exists()


def test_a_missing_column_and_a_short_row_are_named(tmp_path: Path):
    file = write_csv(tmp_path / "mine.csv", [["utterance", "label"], ["hello"]])
    with pytest.raises(DatasetError, match="no column 'text': it has utterance, label"):
        import_csv(file, tmp_path / "out", text="text", intent="label")
    with pytest.raises(DatasetError, match="line 2: the row is too short"):
        import_csv(file, tmp_path / "out", text="utterance", intent="label")
    empty = write_csv(tmp_path / "empty.csv", [])
    with pytest.raises(DatasetError, match="it has none"):
        import_csv(empty, tmp_path / "out", text="text", intent="intent")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    file = write_clinc(tmp_path)
    with pytest.raises(DatasetError, match="cannot be written: Not a directory"):
        import_clinc150(file, file / "below" / "a" / "file")


def test_what_was_imported_has_a_manifest_that_agrees_with_it(tmp_path: Path):
    source = tmp_path / "rows.csv"
    source.write_text("text,intent\nlights off,off\n")
    done = import_csv(source, tmp_path / "My Home", text="text", intent="intent")
    assert read_manifest(done.folder) == manifest_of(done.folder)
    assert manifest_of(done.folder)["dataset"] == "my-home"
    again = import_csv(source, tmp_path / "My Home", text="text", intent="intent")
    assert again.folder == done.folder, "an import replaces its own"
