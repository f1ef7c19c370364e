from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cleaning import clean

HARD = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from(" \t\n\x00\x85\xa0\xad\u200b\u200c\u200d\u2028\u202e\ufeffabé́ک"),
    ),
    max_size=30,
)


@given(HARD)
@settings(max_examples=200, deadline=None)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Turn it OFF, please!", "Turn it OFF, please!"),
        ("  two   spaces ", "two spaces"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("cafe\u0301", "café"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a\u200db", "ab"),
    ],
)
def test_words_stay_as_they_are_said(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
