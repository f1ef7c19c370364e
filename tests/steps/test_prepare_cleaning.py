"""Cleaning changes only what nobody sees, and always ends in the same place."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.prepare.cleaning import (
    clean,
    clean_intent,
    clean_locale,
    clean_split,
    decodable,
    normalise,
    refuse,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NASTY = st.text(
    st.sampled_from(
        "aé \t\n\x00\x07\u200b\u200c\u200d\ufeff\u00ad\u0301\u212a\u202e🙂\u0915\u094d."
    )
)


@given(TEXTS | NASTY)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(TEXTS | NASTY)
def test_a_clean_text_is_composed_and_single_spaced_and_visible(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(c) == "Cc" or c in "\u200b\ufeff\u00ad" for c in cleaned)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_printable_ascii_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(TEXTS | NASTY)
def test_cleaning_leaves_the_normal_form_alone(text: str) -> None:
    assert normalise(clean(text)) == normalise(clean(clean(text)))


@given(st.text("abc XYZ"), st.sampled_from(["", ".", " ", "!?", "\u200b", "…"]))
def test_case_punctuation_and_spaces_make_no_difference(text: str, noise: str) -> None:
    if text.strip():
        assert normalise(noise.join(text.upper())) == normalise(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  turn   it\toff \r\n", "turn it off"),
        ("turn\x00 it\x07 off", "turn it off"),
        ("\ufeffhello\u200b wor\u00adld", "hello world"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("\u202ereversed\u202c", "reversed"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # the joiner shapes the word
        ("a\u200cb\u200d", "ab"),
        ("👩\u200d💻 on", "👩\u200d💻 on"),
        ("a\u2028b\x85c\u00a0d", "a b c d"),
        ("\x00\u200b", ""),
    ],
)
def test_examples_of_cleaning(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_scripts_that_need_marks_are_not_folded_together() -> None:
    assert normalise("कि") != normalise("की")
    assert normalise("STRASSE!") == normalise("straße")
    assert normalise("it’s") == normalise("its") == normalise("it`s")
    assert normalise("?") != normalise("!")


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x.example","click")', "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C'!A0",
        "+cmd|'x'!A1", "-cmd(1)", "=1+1", "=A1+B2", "= SUM(A1:A2)", "=$A$1*2",
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_evaluate_is_refused(text: str) -> None:
    assert refuse(text, 2000) == "formula"


@pytest.mark.parametrize(
    "text", ["-5 degrees outside", "+1 for jazz", "@home lights off (all)", "=) thanks", "- off"]
)
def test_utterances_that_only_start_like_a_formula_stay(text: str) -> None:
    assert refuse(text, 2000) is None


def test_empty_and_over_long_are_refused() -> None:
    assert refuse("", 10) == "empty"
    assert refuse("x" * 11, 10) == "over_long"
    assert refuse("x" * 10, 10) is None


def test_intents_splits_and_locales_are_cleaned() -> None:
    assert clean_intent("  play\u200b music ") == ("play music", None)
    assert clean_intent(None)[1] == clean_intent(" \x00")[1] == "no_intent"
    assert clean_intent("a\udcff")[1] == "undecodable"
    assert clean_intent("=cmd|'x'!A1")[1] == "formula"
    assert clean_split(" Dev ") == clean_split("valid") == ("validation", None)
    assert clean_split("") == clean_split(None) == (None, None)
    assert clean_split("holdout") == (None, "unknown_split")
    assert clean_locale(" en-GB") == "en-GB"
    assert clean_locale(None) is clean_locale("\udcff") is clean_locale(" ") is None


def test_halves_of_characters_are_not_decodable() -> None:
    assert decodable("ok")
    assert decodable("é")
    assert not decodable("\ud800")
