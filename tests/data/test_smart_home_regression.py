"""The sample's regression set is frozen, covers every intent, and is not learnt from."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

import pytest

from steps.prepare.regression import check_intents, read_regression_set
from steps.regression.cases import DIRECTION, INVARIANCE, KINDS, MUST_PASS, MUST_REJECT, Case
from steps.regression.judging import texts_of
from tests.data.test_smart_home import FOLDER, _normalised

FROZEN = "41e332c7b28108002a1a013c287b92c36e4dba284b8deb5508a8185edd8d8354"
"""SHA-256 of the file as it was before a model was ever asked. A case that no model passes stays;
one that turns out to be wrong is mended with a line in the card, and only then is this changed."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_regression_set(FOLDER, 2000)


@pytest.fixture(scope="module")
def utterances() -> dict[str, str]:
    """The sample's texts, normalised, with their intents."""
    lines = (FOLDER / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {_normalised(row["text"]): row["intent"] for row in rows}


def test_the_set_is_what_it_was_when_it_was_frozen():
    data = (FOLDER / "regression.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() == FROZEN


def test_every_intent_has_four_to_eight_utterances_that_must_pass(cases, utterances):
    counts = Counter(case.intent for case in cases if case.kind == MUST_PASS)
    assert set(counts) == set(utterances.values()) - {"out_of_scope"}
    assert 4 <= min(counts.values()) <= max(counts.values()) <= 8
    check_intents(cases, utterances.values())


def test_every_kind_is_there_and_every_intent_is_once_where_a_cue_leads(cases, utterances):
    counts = Counter(case.kind for case in cases)
    assert counts[MUST_REJECT] >= 20
    assert counts[INVARIANCE] >= 25
    becomes = Counter(case.intent for case in cases if case.effect == "becomes")
    assert set(becomes) >= set(utterances.values()) - {"out_of_scope", "vacuum_control"}
    effects = {case.effect for case in cases if case.kind == DIRECTION}
    assert effects == {"becomes", "raises", "lowers", "not_raises", "not_lowers"}


def test_invariances_are_of_room_politeness_casing_contraction_and_number(cases):
    changes = Counter(case.changes for case in cases if case.kind == INVARIANCE)
    assert min(changes[name] for name in ("room", "politeness", "casing")) >= 3
    assert min(changes[name] for name in ("contraction", "number")) >= 3
    assert all(case.changes for case in cases if case.kind in (INVARIANCE, DIRECTION))


def test_no_text_of_the_set_is_in_the_data(cases, utterances):
    assert [text for text in texts_of(cases) if _normalised(text) in utterances] == []


def test_what_must_pass_shares_at_most_four_fifths_of_its_words_with_any_utterance(
    cases, utterances
):
    words = [frozenset(text.split()) for text in utterances]
    for case in cases:
        if case.kind in (MUST_PASS, MUST_REJECT):
            own = frozenset(_normalised(case.texts[0]).split())
            close = [w for w in words if len(own & w) > 0.8 * len(own | w)]
            assert close == [], case.texts[0]


def test_the_table_of_the_card_counts_the_file(cases):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", card.split("## The regression set")[1],
                            flags=re.MULTILINE))  # fmt: skip
    counts = Counter(case.kind for case in cases)
    assert table == {kind: str(counts[kind]) for kind in KINDS}
    assert f"{len(cases)} cases" in card
