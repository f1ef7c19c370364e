"""The whole step: what comes in goes out or to quarantine, and bad data is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steps.contract import StepError
from steps.prepare.__main__ import main, parse
from steps.prepare.config import PrepareConfig
from steps.prepare.job import _account, prepare

Row = dict[str, Any]
INTENTS = ("lights", "music", "out_of_scope")
WHATS = ["please", "now", "in the hall", "at eight", "again", "for me", "quickly", "tonight",
         "upstairs", "for the party", "one more time", "before dinner"]  # fmt: skip


def some_rows() -> list[Row]:
    """Twelve clean, distinct rows an intent."""
    return [
        {"text": f"{intent.replace('_', ' ')} {what}", "intent": intent}
        for intent in INTENTS
        for what in WHATS
    ]


def write_jsonl(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    return folder


def run(raw: Path, out: Path, **settings: Any) -> dict[str, list[Row]]:
    """The prepared splits and the quarantine, as lists of rows."""
    prepare(raw, None, out, PrepareConfig(**settings))
    names = ("train", "validation", "test", "quarantine")
    tables = {name: pq.read_table(out / f"{name}.parquet").to_pylist() for name in names}
    rows_in = json.loads((out / "statistics.json").read_text())["rows_in"]
    assert rows_in == sum(map(len, tables.values()))
    return tables


def reasons(tables: dict[str, list[Row]]) -> Counter[str]:
    return Counter(row["reason"] for row in tables["quarantine"])


def test_a_prepared_folder_has_the_shape_of_the_contract(raw: Path, out: Path) -> None:
    rows = [*some_rows(), {"text": "Lights, PLEASE!", "intent": "lights", "locale": "en"}]
    write_jsonl(raw / "a.jsonl", rows)
    tables = run(raw, out, max_length=6)
    assert sorted(path.name for path in out.iterdir()) == [
        "data_docs", "intents.json", "quarantine.parquet", "statistics.json", "test.parquet",
        "train.parquet", "validation.json", "validation.parquet",
    ]  # fmt: skip
    assert json.loads((out / "intents.json").read_text()) == {"intents": ["lights", "music"]}
    schema = pq.read_schema(out / "train.parquet")
    assert schema.field("label").type == pa.int32()
    assert schema.field("input_ids").type == pa.list_(pa.int32())
    labels = {row["intent"]: row["label"] for split in tables.values() for row in split
              if "label" in row}  # fmt: skip
    assert labels == {"lights": 0, "music": 1, "out_of_scope": -1}
    for split in ("train", "validation", "test"):
        for row in tables[split]:
            assert row["input_ids"][0] == 101
            assert row["input_ids"][-1] == 102
            assert row["tokens"] == len(row["input_ids"]) <= 6
            assert row["characters"] == len(row["text"])
            assert len(row["row"]) == 16
    assert {row["intent"] for row in tables["validation"]} == set(INTENTS)
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["rows"] == {k: len(tables[k]) for k in ("train", "validation", "test")}
    assert statistics["pad_id"] == 0
    assert statistics["max_length"] == 6
    assert statistics["base_model"] == "all-MiniLM-L6-v2"
    assert len(statistics["dataset_sha256"]) == len(statistics["tokenizer_sha256"]) == 64
    train = statistics["splits"]["train"]
    assert sum(train["tokens"]["counts"]) == sum(train["characters"]["counts"]) == train["rows"]
    validation = json.loads((out / "validation.json").read_text())
    assert validation["success"] is True
    assert {record["suite"] for record in validation["expectations"]} == {
        "rows", "intents", "dataset",
    }  # fmt: skip
    pages = [page.read_text() for page in (out / "data_docs").rglob("*.html")]
    assert len(pages) >= 7
    assert not any("great-expectations-web-assets" in page for page in pages)


def test_every_bad_row_goes_to_quarantine_with_its_reason(raw: Path, out: Path) -> None:
    write_jsonl(raw / "good.jsonl", some_rows())
    (raw / "bad.csv").write_bytes(
        b'text,intent,split\n"=HYPERLINK(""http://x"",""y"")",music,\n' + b"caf\xe9,music,\n"
        b"  ,music,\n\x00\xe2\x80\x8b,music,\nwhat,,\nwho,music,holdout\n"
        + b"m" * 1_000_000 + b",music,\nmusic  Again,music,\n=cmd|' /C calc'!A0,music,\n"
        b"nul\x00s are dropped,music,\n"
    )  # fmt: skip
    (raw / "worse.jsonl").write_bytes(
        b'{"text": "fine", "intent": "music"}\nnonsense\n\xff\xfe\n{"text": "a"}\n'
        b'{"text": "half \\ud800", "intent": "music"}\n{"text": null, "intent": "music"}\n'
    )
    tables = run(raw, out)
    assert reasons(tables) == {
        "formula": 2, "undecodable": 3, "empty": 3, "no_intent": 1, "unknown_split": 1,
        "over_long": 1, "normalised_duplicate": 1, "malformed": 1, "missing_column": 1,
    }  # fmt: skip
    kept = {row["text"] for split in ("train", "validation", "test") for row in tables[split]}
    assert {"nuls are dropped", "fine"} <= kept
    places = {(row["file"], row["line"]): row for row in tables["quarantine"]}
    assert places["bad.csv", 3]["text"] == r"caf\udce9"
    assert len(places["bad.csv", 8]["text"]) == 1_000_000
    assert places["worse.jsonl", 2]["text"] == "nonsense"
    assert places["worse.jsonl", 5]["text"] == r"half \ud800"
    # every reason but the harmless one counts as refused: a warning, not yet an error
    validation = json.loads((out / "validation.json").read_text())
    assert any("refused_share" in f["message"] for f in validation["failures"])


def test_published_splits_are_kept_and_leaks_taken_out(raw: Path, out: Path) -> None:
    rows = [row | {"split": "train"} for row in some_rows()]
    rows += [
        {"text": "music please", "intent": "music", "split": "test"},
        {"text": "Music, again!", "intent": "music", "split": "dev"},
        {"text": "music now", "intent": "music", "split": "val"},
        {"text": "MUSIC now", "intent": "music", "split": "test"},
        {"text": "lights now", "intent": "lights", "split": "train"},
        {"text": "fresh lights", "intent": "lights", "split": "test"},
    ]
    write_jsonl(raw / "a.jsonl", rows)
    tables = run(raw, out)
    assert {row["text"] for row in tables["test"]} == {"music please", "MUSIC now", "fresh lights"}
    assert {row["text"] for row in tables["validation"]} == {"Music, again!"}
    assert reasons(tables) == {"also_in_test": 3, "also_in_validation": 1, "exact_duplicate": 1}
    gone = {(row["line"], row["reason"]) for row in tables["quarantine"]}
    assert (39, "also_in_test") in gone  # the validation row that also stands in test


def test_conflicting_labels_all_go_also_across_splits(raw: Path, out: Path) -> None:
    rows = [
        *some_rows(),
        {"text": "dim it", "intent": "lights", "split": "test"},
        {"text": "Dim it.", "intent": "music"},
        {"text": "dim it", "intent": "music"},
        {"text": "bright", "intent": "lights", "split": "test"},
    ]
    write_jsonl(raw / "a.jsonl", rows)
    tables = run(raw, out)
    assert reasons(tables) == {"conflicting_labels": 3}
    assert [row["text"] for row in tables["test"]] == ["bright"]


def test_the_same_input_gives_the_same_bytes_in_any_file_order(raw: Path, tmp_path: Path) -> None:
    rows = [
        *some_rows(),
        {"text": "Turn it down", "intent": "music"},
        {"text": "turn it DOWN!", "intent": "music"},
    ]
    write_jsonl(raw / "a.jsonl", rows[:20])
    write_jsonl(raw / "b.jsonl", rows[20:])
    turned = tmp_path / "turned"
    write_jsonl(turned / "a.jsonl", rows[:19:-1])
    write_jsonl(turned / "b.jsonl", rows[19::-1])
    for number, source in enumerate((raw, raw, turned)):
        (tmp_path / str(number)).mkdir()
        run(source, tmp_path / str(number))
    for name in ("train", "validation", "test"):
        first, second, third = (
            (tmp_path / str(number) / f"{name}.parquet").read_bytes() for number in range(3)
        )
        assert first == second == third
    first, third = (json.loads((tmp_path / n / "statistics.json").read_text()) for n in "02")
    assert first == third


def test_many_buckets_and_batches_give_what_one_gives(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_jsonl(raw / "a.jsonl", some_rows() * 2)
    results = []
    for folder in (tmp_path / "one", tmp_path / "many"):
        folder.mkdir()
        tables = run(raw, folder)
        tables["quarantine"].sort(key=lambda row: row["line"])  # the rest keeps its order, too
        results.append(tables)
        monkeypatch.setattr("steps.prepare.buckets._BUCKET_BYTES", 100)
        monkeypatch.setattr("steps.prepare.buckets._FLUSH_ROWS", 7)
        monkeypatch.setattr("steps.prepare.quarantine._FLUSH_ROWS", 3)
        monkeypatch.setattr("steps.prepare.job._BATCH", 4)
        monkeypatch.setattr("steps.prepare.job.SAMPLE_ROWS", 5)
        monkeypatch.setattr("steps.prepare.scanning._PROGRESS_ROWS", 20)
        monkeypatch.setattr("steps.prepare.writing._ROW_GROUP", 5)
    assert results[0] == results[1]
    assert reasons(results[0]) == {"exact_duplicate": 36}
    told = capsys.readouterr().out
    assert "read 60 rows (" in told
    assert "tokenized 20 rows (" in told
    assert json.loads((tmp_path / "many" / "validation.json").read_text())["sample_rows"] == 5


def test_one_conflict_in_three_rows_fails_with_the_numbers(raw: Path, out: Path) -> None:
    rows = some_rows()
    conflicts = [row | {"intent": "music"} for row in rows[:6]]
    write_jsonl(raw / "a.jsonl", rows + conflicts)
    with pytest.raises(StepError, match=r"12 of 42 rows \(28\.6%\) have a text that also") as error:
        run(raw, out)
    assert "--max-conflict-share 0.2" in str(error.value)
    assert "expect_column_values_to_be_between on 'conflict_share'" in str(error.value)
    assert sorted(path.name for path in out.iterdir()) == [
        "data_docs", "quarantine.parquet", "validation.json",
    ]  # fmt: skip
    assert json.loads((out / "validation.json").read_text())["success"] is False
    assert pq.read_metadata(out / "quarantine.parquet").num_rows == 12
    tables = run(raw, out, max_conflict_share=0.3)
    assert reasons(tables) == {"conflicting_labels": 12}


def test_an_intent_with_too_few_examples_is_named(raw: Path, out: Path) -> None:
    rows = [*some_rows(), {"text": "open it", "intent": "door"}]
    write_jsonl(raw / "a.jsonl", rows)
    with pytest.raises(StepError, match="'door' has 1 example to learn from and needs 5: add"):
        run(raw, out)
    write_jsonl(raw / "b.jsonl", [{"text": f"blind {n}", "intent": "blind"} for n in "ab"])
    with pytest.raises(StepError, match=r"'door' has 1 example .* 5, and 1 more intents have too"):
        run(raw, out)
    assert len(run(raw, out, min_examples=1)["train"]) > 0


def test_one_intent_only_is_an_error(raw: Path, out: Path) -> None:
    write_jsonl(raw / "a.jsonl", [row for row in some_rows() if row["intent"] != "music"])
    with pytest.raises(StepError, match="one intent only, 'lights': add utterances of another"):
        run(raw, out)
    write_jsonl(raw / "a.jsonl", [row for row in some_rows() if row["intent"] == "out_of_scope"])
    with pytest.raises(StepError, match="no intent besides out_of_scope"):
        run(raw, out)


def test_data_without_a_usable_row_is_an_error(raw: Path, out: Path) -> None:
    write_jsonl(raw / "a.jsonl", [{"text": " ", "intent": "a"}, {"text": "a", "intent": ""}])
    with pytest.raises(StepError, match=r"2 of 2 rows cannot be used .1 empty, 1 no_intent"):
        run(raw, out)
    write_jsonl(raw / "a.jsonl", [])
    with pytest.raises(StepError, match="The data has no rows"):
        run(raw, out)


def test_a_failed_job_leaves_an_earlier_result_alone(raw: Path, out: Path) -> None:
    write_jsonl(raw / "a.jsonl", some_rows())
    run(raw, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (raw / "b.csv").write_text("text\nhello\n")
    with pytest.raises(StepError, match=r"b\.csv has no column 'intent'"):
        run(raw, out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_what_a_killed_job_left_is_cleared(raw: Path, out: Path) -> None:
    write_jsonl(raw / "a.jsonl", some_rows())
    (out / ".partial" / "buckets").mkdir(parents=True)
    (out / ".partial" / "buckets" / "000.arrow").write_bytes(b"half")
    run(raw, out)
    assert not (out / ".partial").exists()


def test_the_base_model_can_be_a_folder_or_a_channel(
    raw: Path, out: Path, tiny_base_model: Path
) -> None:
    write_jsonl(raw / "a.jsonl", some_rows())
    first = run(raw, out, base_model=str(tiny_base_model))
    assert run(raw, out)["train"] == first["train"]
    with pytest.raises(StepError, match=r"max_length is 200, but .* at most 128 tokens"):
        prepare(raw, tiny_base_model, out, PrepareConfig(max_length=200))
    with pytest.raises(StepError, match="base model '/nowhere' is not there"):
        run(raw, out, base_model="/nowhere")


def test_a_row_that_vanishes_is_a_bug() -> None:
    _account(3, 2, 1)
    with pytest.raises(RuntimeError, match="3 rows came in"):
        _account(3, 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 3}, "max_length is 3: it must be at least 4"),
        ({"min_examples": 0}, "min_examples is 0"),
        ({"test_share": 1.5}, "test_share is 1.5: it must lie between 0 and 1"),
        ({"test_share": 0.6, "validation_share": 0.4}, "add up to 1"),
        ({"base_model": " "}, "base_model is empty"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_wrong_setting_names_key_value_and_rule(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrepareConfig(**settings)


def test_arguments_are_strings_and_wrong_ones_are_usage_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse(["--max-length", "32", "--test-share", "0.2"]) == PrepareConfig(
        max_length=32, test_share=0.2
    )
    for wrong in (["--max-length", "long"], ["--unknown", "1"], ["--test-share", "2"]):
        with pytest.raises(SystemExit) as stopped:
            parse(wrong)
        assert stopped.value.code == 2
    assert "test_share is 2.0" in capsys.readouterr().err


def test_main_takes_its_folders_from_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_ML_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["prepare", "--seed", "7"])
    write_jsonl(tmp_path / "processing" / "input" / "raw" / "a.jsonl", some_rows())
    main()
    prepared = tmp_path / "processing" / "output" / "prepared"
    assert json.loads((prepared / "statistics.json").read_text())["seed"] == 7


def _process(root: Path, repository: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLM_ML_ROOT": str(root), "PYTHONPATH": str(repository)}
    step = (sys.executable, "-m", "steps.prepare")
    return subprocess.run(
        (*command, *step), env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_bad_data_ends_the_process_with_one_sentence(tmp_path: Path, repository: Path) -> None:
    raw = tmp_path / "processing" / "input" / "raw"
    raw.mkdir(parents=True)
    (raw / "data.csv").write_text("text,label\nhello,greet\n")
    done = _process(tmp_path, repository)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    sentence = (tmp_path / "output" / "message").read_text()
    assert sentence.startswith("data.csv has no column 'intent' (it has 'text', 'label')")
    assert list((tmp_path / "processing" / "output" / "prepared").iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    prepared = tmp_path / "processing" / "output" / "prepared"
    prepared.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size=64k tmpfs {prepared}"
    in_namespace = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    probe = (*in_namespace, mount)
    try:
        allowed = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine does not let a test mount a small disk")
    rows = [{"text": f"say {n} {'x' * 100}", "intent": f"i{n % 2}"} for n in range(2000)]
    write_jsonl(tmp_path / "processing" / "input" / "raw" / "a.jsonl", rows)
    then = f'{mount}; "$@"; code=$?; ls -A {prepared} >&2; exit $code'
    done = _process(tmp_path, repository, *in_namespace, then, "sh")
    assert done.returncode == 1
    assert "The disk is full" in (tmp_path / "output" / "message").read_text()
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().endswith("then start again.")
