"""Wholly wrong files end the job with a sentence; wrong rows are handed on with their problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steps.contract import StepError
from steps.prepare import reading
from steps.prepare.reading import Row, find_files, read_rows

Write = Callable[..., list[Row]]


@pytest.fixture
def rows_of(tmp_path: Path) -> Write:
    """Writes bytes, text or a table under a name and reads the rows back."""

    def write(name: str, content: Any) -> list[Row]:
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_rows(path, name))

    return write


def test_the_three_formats_say_the_same(rows_of: Write) -> None:
    expected = [
        Row(1, "lights, please", "on", "train", "en"),
        Row(2, 'say "hi"\nthere', "greet", None, None),
    ]
    cells = [
        {"text": row.text, "intent": row.intent, "split": row.split, "locale": row.locale}
        for row in expected
    ]
    jsonl = "\n\n".join(json.dumps(cell) for cell in cells)
    assert [row._replace(line=n) for n, row in enumerate(rows_of("a.jsonl", jsonl), 1)] == expected
    assert rows_of("a.parquet", pa.Table.from_pylist(cells)) == expected
    table = (
        'locale,text,intent,split\nen,"lights, please",on,train\n\n,"say ""hi""\nthere",greet,\n'
    )
    first, second = rows_of("a.csv", table)
    assert first == expected[0]._replace(line=2)
    assert second == Row(4, 'say "hi"\nthere', "greet", "", "")


def test_files_are_sorted_and_documents_passed_over(tmp_path: Path) -> None:
    for name in ("b.csv", "a.JSONL", "sub/c.parquet", "README.md", "LICENSE",
                 ".hidden.csv", ".git/x.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)]
    assert names == ["a.JSONL", "b.csv", "sub/c.parquet"]


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(StepError, match=r"holds no \.jsonl, \.csv or \.parquet file"):
        find_files(tmp_path)
    with pytest.raises(StepError, match="missing does not exist"):
        find_files(tmp_path / "missing")


def test_a_file_of_another_kind_is_not_skipped_in_silence(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").touch()
    with pytest.raises(StepError, match=r"data\.xlsx in the raw data is neither"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "text,intent\nhello,greet\n", "not what its name says: none of its 2 rows"),
        ("a.jsonl", '[{"text": "a", "intent": "b"}]', "not what its name says: its only row"),
        ("a.jsonl", "text", "its only row can be read as JSON Lines"),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n\x00\xff", "not what its name says"),
        ("a.jsonl", '{"utterance": "a", "intent": "b"}', "has no column 'text' or no column"),
        ("a.jsonl", '{"text": "a", "intent": "b"}'.encode("utf-16"), "is UTF-16 text"),
        ("a.jsonl", "[" * 100_000, "not what its name says"),
        ("a.csv", "", "is empty: give it a header"),
        ("a.csv", b"PK\x03\x04\x14\x00\x00\xff,", "its first line is not text"),
        ("a.csv", '{"text": "a", "intent": "b"}\n', "a.csv has no column 'text'"),
        ("a.csv", '"a"b,c\n', "not CSV"),
        ("a.csv", "text;intent\na;b\n", "separate its columns with commas"),
        ("a.csv", "text,label\na,b\n", r"no column 'intent' \(it has 'text', 'label'\)"),
        ("a.csv", "text,intent,text\na,b,c\n", "the column 'text' twice"),
        ("a.csv", 'text,intent\n"a,b\nc,d\n', "quotation mark in line 2 that is never closed"),
        ("a.csv", "text,intent\na\nb\n", "none of its 2 rows can be read as CSV"),
        ("a.csv", "text,intent\na,b\n".encode("utf-16"), "is UTF-16 text"),
        ("a.parquet", "text,intent\na,b\n", "cannot be read as Parquet"),
        ("a.parquet", pa.table({"text": ["a"]}), "has no column 'intent'"),
        ("a.parquet", pa.table({"text": [1], "intent": ["a"]}), "of type int64: it must hold text"),
    ],
)  # fmt: skip
def test_a_wholly_wrong_file_is_one_sentence(
    rows_of: Write, name: str, content: Any, message: str
) -> None:
    with pytest.raises(StepError, match=message) as raised:
        rows_of(name, content)
    assert "\n" not in str(raised.value)


def test_a_truncated_parquet_file_is_one_sentence(rows_of: Write, tmp_path: Path) -> None:
    table = pa.table({"text": ["a"] * 1000, "intent": ["b"] * 1000})
    rows_of("a.parquet", table)
    whole = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(StepError, match="cannot be read as Parquet"):
        rows_of("b.parquet", whole[: len(whole) // 2])


def test_bad_rows_among_good_ones_keep_their_text(rows_of: Write) -> None:
    good = '{"text": "a", "intent": "b"}'
    lines = [good, "not json", '["a"]', '{"text": "a"}', '{"text": 1, "intent": "b"}']
    rows = rows_of("a.jsonl", "\n".join(lines).encode() + b"\n\xff\xfe{}\n")
    assert [row.problem for row in rows] == [
        None, "malformed", "malformed", "missing_column", "malformed", "undecodable",
    ]  # fmt: skip
    assert [row.text for row in rows[1:5]] == lines[1:]
    assert rows[5].text == r"\xff\xfe{}"


def test_bad_records_of_a_csv_keep_their_lines(rows_of: Write) -> None:
    rows = rows_of("a.csv", 'text,intent\na,b\n"x"y,z\nc,d,e\nf,g\n')
    assert [(row.line, row.text, row.problem) for row in rows] == [
        (2, "a", None),
        (3, '"x"y,z', "malformed"),
        (4, "c,d,e", "malformed"),
        (5, "f", None),
    ]


def test_bytes_that_are_not_utf8_do_not_take_their_neighbours(rows_of: Write) -> None:
    rows = rows_of("a.csv", b"text,intent\ncaf\xe9,a\nfine,b\n")
    assert [row.text for row in rows] == ["caf\udce9", "fine"]
    wrong = pa.array([b"caf\xe9", b"fine", None]).cast(pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, wrong.buffers())
    rows = rows_of("a.parquet", pa.table({"text": text, "intent": ["a", "b", "c"]}))
    assert [row.text for row in rows] == ["caf\udce9", "fine", None]


def test_every_kind_of_text_column_is_read(rows_of: Write) -> None:
    table = pa.table(
        {
            "text": pa.array(["a"], pa.large_string()),
            "intent": pa.array(["b"]).dictionary_encode(),
            "split": pa.array([None], pa.null()),
            "locale": pa.array([b"en"], pa.binary()),
        }
    )
    assert rows_of("a.parquet", table) == [Row(1, "a", "b", None, "en")]


def test_byte_order_marks_are_no_text(rows_of: Write) -> None:
    mark = b"\xef\xbb\xbf"
    assert rows_of("a.csv", mark + b"text,intent\na,b\n")[0].text == "a"
    assert rows_of("a.jsonl", mark + b'{"text": "a", "intent": "b"}')[0].text == "a"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_without_end_is_not_held_in_memory(
    rows_of: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(reading, "_MAX_LINE", 1000)
    with pytest.raises(StepError, match="has a line of more than"):
        rows_of(name, "text,intent\n" + "x" * 2000)


def test_a_quoted_cell_without_end_is_not_held_in_memory(
    rows_of: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MAX_LINE", 1000)
    with pytest.raises(StepError, match="has a line of more than"):
        rows_of("a.csv", 'text,intent\n"' + ("x" * 99 + "\n") * 20)
