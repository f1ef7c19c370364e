"""Great Expectations finds what cleaning should have made impossible."""

from __future__ import annotations

import json
from pathlib import Path

from steps.prepare.config import PrepareConfig
from steps.prepare.job import _sentence
from steps.prepare.validation import CRITICAL, WARNING, DataProfile, validate


def profile(sample: list[tuple[str, str]]) -> DataProfile:
    return DataProfile(
        sample=sample,
        examples={"a": 100, "b": 60, "out_of_scope": 3},
        rows={"a": 200, "b": 60, "out_of_scope": 60},
        rows_in=330,
        reasons={"empty": 10},
        refused=10,
        conflicting=0,
    )


def test_an_untidy_row_is_critical_and_named(tmp_path: Path) -> None:
    sample = [(f"text {n}", "a") for n in range(10)] + [("two  spaces", "a"), ("text 1", "b")]
    failures = validate(profile(sample), PrepareConfig(), tmp_path / "work", tmp_path)
    critical = [failure for failure in failures if failure.severity == CRITICAL]
    assert [(f.suite, f.expectation, f.column) for f in critical] == [
        ("rows", "expect_column_values_to_not_match_regex", "text"),
        ("rows", "expect_column_values_to_be_unique", "text"),
    ]
    assert "1 of 12 values fail" in critical[0].figure
    sentence = _sentence(critical, profile(sample), PrepareConfig())
    assert sentence.startswith(
        "The data does not pass: expect_column_values_to_not_match_regex on 'text' of the suite"
    )
    assert json.loads((tmp_path / "validation.json").read_text())["success"] is False
    assert (tmp_path / "data_docs" / "index.html").is_file()


def test_warnings_are_recorded_and_pass(tmp_path: Path) -> None:
    sample = [(f"text {n}", "a") for n in range(10)]
    failures = validate(profile(sample), PrepareConfig(), tmp_path / "work", tmp_path)
    assert [(f.severity, f.column) for f in failures] == [(WARNING, "share")]
    assert "(intents a)" in failures[0].figure  # 200 of 320 rows
    record = json.loads((tmp_path / "validation.json").read_text())
    assert record["success"] is True
    assert record["quarantined"] == {"empty": 10}
