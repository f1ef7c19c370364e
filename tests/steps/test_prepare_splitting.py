"""The promises of the hash-based split hold, one by one."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.prepare.buckets import digest_of
from steps.prepare.resolving import TEST, TRAIN, UNPUBLISHED, VALIDATION
from steps.prepare.splitting import Splitter, Thresholds, draw

Rows = dict[str, tuple[str, int]]  # text: intent and published split

ROWS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=6),
    st.tuples(st.sampled_from(["a", "b", "c"]), st.just(UNPUBLISHED)),
    max_size=120,
)


def split(rows: Rows, *, seed: int = 0, test: float = 0.15, validation: float = 0.1):
    """The split code of each text, and the splitter."""
    published = {code for _, code in rows.values()}
    splitter = Splitter(Thresholds.of(test, validation, published))
    digests = {text: digest_of(text.encode()) for text in rows}
    numbers = {text: draw(digest, seed) for text, digest in digests.items()}
    for text, (intent, code) in rows.items():
        splitter.see(digests[text], intent, code, numbers[text])
    splitter.settle()
    codes = splitter.assign(
        list(digests.values()),
        np.array([code for _, code in rows.values()], np.int8),
        np.array(list(numbers.values()), np.int64),
    )
    return dict(zip(rows, codes.tolist(), strict=True)), splitter


@given(ROWS, ROWS, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_row_keeps_its_split_when_the_data_grows(first: Rows, more: Rows, seed: int) -> None:
    """A row moves only if it is lent, before or after, to an intent too small for its own."""
    before, splitter = split(first, seed=seed)
    after, grown = split({**more, **first}, seed=seed)
    moved = {digest_of(text.encode()) for text in first if before[text] != after[text]}
    assert moved <= splitter.lent.keys() | grown.lent.keys()


@given(ROWS)
@settings(max_examples=30, deadline=None)
def test_without_loans_nothing_moves(rows: Rows) -> None:
    many = {f"{intent}{n}": (intent, UNPUBLISHED) for intent in "abc" for n in range(200)}
    before, splitter = split(many)
    after, grown = split({**many, **{f"z{text}": row for text, row in rows.items()}})
    assert splitter.lent == grown.lent == {}
    assert all(before[text] == after[text] for text in many)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_makes_no_difference(rows: Rows, order: random.Random) -> None:
    texts = list(rows)
    order.shuffle(texts)
    assert split({text: rows[text] for text in texts})[0] == split(rows)[0]


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_every_intent_of_three_rows_is_in_every_split(rows: Rows) -> None:
    codes, _ = split(rows)
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for text, (intent, _) in rows.items():
        found[intent][codes[text]] += 1
    for counts in found.values():
        assert counts[TRAIN] >= 1
        if counts.total() >= 3 and counts[TRAIN] > 1:
            assert counts[TEST] >= 1
            assert counts[VALIDATION] >= 1


def test_a_relabelled_row_keeps_its_split() -> None:
    rows = {f"t{n}": ("a" if n % 2 else "b", UNPUBLISHED) for n in range(400)}
    relabelled = {text: ("c", code) for text, (_, code) in rows.items()}
    assert split(rows)[0] == split(relabelled)[0]


def test_shares_come_out_as_asked_and_the_seed_matters() -> None:
    rows = {f"t{n}": ("a", UNPUBLISHED) for n in range(4000)}
    codes, splitter = split(rows, test=0.2, validation=0.1)
    counts = Counter(codes.values())
    assert counts[TEST] == pytest.approx(800, abs=100)
    assert counts[VALIDATION] == pytest.approx(400, abs=80)
    assert splitter.examples == splitter.rows == {"a": 4000}
    assert codes != split(rows, test=0.2, validation=0.1, seed=1)[0]


def test_published_splits_get_nothing_more_and_missing_ones_come_from_train() -> None:
    rows = {f"t{n}": ("a", (TEST, TRAIN, UNPUBLISHED)[n % 3]) for n in range(900)}
    codes, splitter = split(rows)
    assert {text for text, code in codes.items() if code == TEST} == {
        text for text, (_, code) in rows.items() if code == TEST
    }
    assert 30 <= sum(code == VALIDATION for code in codes.values()) <= 95
    assert splitter.examples == {"a": 600}
    assert splitter.rows == {"a": 900}


def test_shares_of_nothing_hold_nothing_out() -> None:
    rows = {f"t{n}": ("a", UNPUBLISHED) for n in range(50)}
    codes, splitter = split(rows, test=0, validation=0)
    assert set(codes.values()) == {TRAIN}
    assert splitter.lent == {}


def test_an_intent_without_a_train_row_gets_one_back() -> None:
    rows = {f"t{n}": ("a", UNPUBLISHED) for n in range(3)}
    codes, splitter = split(rows, test=0.6, validation=0.399)
    assert list(codes.values()).count(TRAIN) == 1
    assert list(splitter.lent.values()) == [TRAIN]
