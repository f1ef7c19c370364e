"""The regression set on its way through *prepare*: checked, kept out of the data, handed on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from steps.contract import StepError
from steps.prepare.reading import find_files
from steps.prepare.regression import read_regression_set
from steps.regression.cases import MOST_CASES, read_cases
from tests.steps.test_prepare import out, raw, reasons, run, some_rows, write_jsonl

__all__ = ["out", "raw"]
MUST_PASS = {"kind": "must_pass", "text": "lights please, love", "intent": "lights"}
SET = [
    MUST_PASS,
    {"kind": "must_reject", "text": "who wrote hamlet"},
    {"kind": "invariance", "texts": ["music, quick", "MUSIC, quick"], "changes": "casing"},
    {"kind": "direction", "from": "lights off", "to": "lights and music", "effect": "raises",
     "intent": "music"},
    {"kind": "direction", "from": "music off", "to": "who made the music", "effect": "not_lowers",
     "intent": "out_of_scope", "changes": "made unrelated"},
]  # fmt: skip


def give(raw: Path, *cases: dict[str, Any] | str, rows: list[dict[str, Any]] | None = None) -> None:
    """A dataset with a regression set of ``cases``; text stands for a line as it is."""
    write_jsonl(raw / "utterances.jsonl", rows or some_rows())
    lines = [case if isinstance(case, str) else json.dumps(case) for case in cases]
    (raw / "regression.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def test_the_set_is_handed_on_and_is_no_data(raw: Path, out: Path) -> None:
    give(raw, *SET, "")
    tables = run(raw, out)
    cases = read_cases(out / "regression.jsonl")
    assert [case.to_json() for case in cases] == SET
    assert {row["text"] for split in tables.values() for row in split} == {
        row["text"] for row in some_rows()
    }
    assert json.loads((out / "intents.json").read_text()) == {"intents": ["lights", "music"]}


def test_texts_are_cleaned_as_the_data_are(raw: Path, out: Path) -> None:
    give(raw, MUST_PASS | {"text": "  lights\u200b  please,\tlove "})
    run(raw, out)
    assert read_cases(out / "regression.jsonl")[0].to_json() == MUST_PASS


def test_a_row_with_a_text_of_the_set_is_never_learnt_from(raw: Path, out: Path) -> None:
    rows = [*some_rows(), {"text": "Lights please LOVE", "intent": "lights"},
            {"text": "music... quick!", "intent": "music", "split": "test"}]  # fmt: skip
    give(raw, *SET, rows=rows)
    tables = run(raw, out)
    assert reasons(tables) == {"also_in_regression": 2}
    assert {row["text"] for row in tables["quarantine"]} == {row["text"] for row in rows[-2:]}
    assert json.loads((out / "statistics.json").read_text())["published_splits"] == []


def test_without_a_set_there_is_none_and_an_earlier_ones_is_gone(raw: Path, out: Path) -> None:
    write_jsonl(raw / "utterances.jsonl", some_rows())
    (out / "regression.jsonl").write_text("of an earlier job")
    run(raw, out)
    assert not (out / "regression.jsonl").exists()


LINE = "regression.jsonl, line 1, "


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("lights please", f"{LINE}is no JSON object ('lights please')"),
        ("[1]", f"{LINE}is no JSON object"),
        ({"text": "a", "intent": "lights"}, f"{LINE}has the kind None: use must_pass, "),
        ({"kind": ["must_pass"]}, f"{LINE}has the kind ['must_pass']"),
        ({"kind": "must_pass", "text": "a"}, f"{LINE}has the kind must_pass but no 'intent'"),
        (MUST_PASS | {"intents": "x"}, f"{LINE}has the kind must_pass and 'intents': take te"),
        (MUST_PASS | {"text": 7}, f"{LINE}has a 'text' that is no text"),
        (MUST_PASS | {"text": " "}, f"{LINE}has a text that cannot be used (empty)"),
        (MUST_PASS | {"text": "=A1+B2"}, f"{LINE}has a text that cannot be used (formula)"),
        (MUST_PASS | {"text": "m" * 2001}, f"{LINE}has a text that cannot be used (over_long)"),
        (MUST_PASS | {"text": "\ud800"}, f"{LINE}has a text that cannot be used (undecodable)"),
        (MUST_PASS | {"intent": " "}, f"{LINE}has an intent that cannot be used (no_intent)"),
        (MUST_PASS | {"intent": "out_of_scope"}, "make its kind must_reject"),
        (MUST_PASS | {"intent": "ligths"},
         f"{LINE}names the intent 'ligths', which the data does not have (it has lights, music)"),
        (SET[2] | {"texts": "one"}, f"{LINE}has 'texts' that are no list of texts"),
        (SET[2] | {"texts": ["one", 2]}, f"{LINE}has 'texts' that are no list of texts"),
        (SET[2] | {"texts": ["one"]}, f"{LINE}has the kind invariance but no two different"),
        (SET[2] | {"texts": ["one", "two", "one "]}, f"{LINE}has one of its texts twice"),
        (SET[3] | {"to": "lights off"}, f"{LINE}has the kind direction but no two different"),
        (SET[3] | {"effect": "grows"}, f"{LINE}has the effect 'grows': use one of becomes, rais"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_used_ends_the_job_with_a_sentence(
    line: dict[str, Any] | str, sentence: str, raw: Path, out: Path
) -> None:
    give(raw, line)
    with pytest.raises(StepError) as caught:
        run(raw, out)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (MUST_PASS | {"text": "LIGHTS, please love!"}, "line 2, repeats line 1: take one"),
        (MUST_PASS | {"intent": "music"}, "line 2, contradicts line 1: take one of them out."),
        ({"kind": "must_reject", "text": MUST_PASS["text"]}, "line 2, contradicts line 1"),
    ],
)
def test_one_text_has_one_answer(
    second: dict[str, Any], sentence: str, raw: Path, out: Path
) -> None:
    give(raw, MUST_PASS, second)
    with pytest.raises(StepError, match=sentence):
        run(raw, out)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\n \n", "regression.jsonl has no case: write one a line, or remove the file."),
        (b'{"kind": "caf\xe9"}\n', "regression.jsonl is not UTF-8 text: save it as UTF-8."),
        (json.dumps(MUST_PASS).encode() + b"\n" * 2, None),
        (b"\xef\xbb\xbf" + json.dumps(MUST_PASS).encode() + b"\r\n", None),
        (b"\n".join([json.dumps(MUST_PASS).encode()] * (MOST_CASES + 1)), "has more than 10,000"),
        (b" " * (16 * 2**20 + 1), "has more than 10,000 cases or 16 MB"),
    ],
)
def test_the_file_is_read_or_refused_as_a_whole(
    content: bytes, sentence: str | None, raw: Path
) -> None:
    (raw / "regression.jsonl").write_bytes(content)
    if sentence is None:
        assert [case.to_json() for case in read_regression_set(raw, 2000)] == [MUST_PASS]
    else:
        with pytest.raises(StepError, match=sentence):
            read_regression_set(raw, 2000)


def test_a_set_in_a_folder_below_is_refused_and_alone_it_is_no_data(raw: Path) -> None:
    give(raw, *SET)
    assert [path.name for path in find_files(raw)] == ["utterances.jsonl"]
    (raw / "utterances.jsonl").unlink()
    with pytest.raises(StepError, match="There is no raw data"):
        find_files(raw)
    (raw / "more").mkdir()
    (raw / "regression.jsonl").rename(raw / "more" / "regression.jsonl")
    with pytest.raises(
        StepError, match=r"more/regression\.jsonl in the raw data is not at the top"
    ):
        find_files(raw)


def test_with_a_manifest_only_a_set_that_it_lists_is_read(
    raw: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give(raw, *SET)

    def manifest(*names: str) -> None:
        files = [
            {"path": name, "bytes": len(data := (raw / name).read_bytes()),
             "sha256": hashlib.sha256(data).hexdigest()}
            for name in names
        ]  # fmt: skip
        (raw / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))

    manifest("utterances.jsonl")
    run(raw, out)
    assert not (out / "regression.jsonl").exists()
    assert "regression.jsonl is not among the files of manifest.json" in capsys.readouterr().out
    manifest("utterances.jsonl", "regression.jsonl")
    run(raw, out)
    assert len(read_cases(out / "regression.jsonl")) == len(SET)
    give(raw, *SET[:2])
    with pytest.raises(StepError, match=r"regression.jsonl is not the file that manifest"):
        run(raw, out)
