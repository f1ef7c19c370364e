from __future__ import annotations

import pytest

from pipeline.cloud.promotion.verdict import Limits, judge
from pipeline.cloud.promotion.windows import MILLISECONDS, Counts

LIMITS = Limits(200, 0.02, 1.5, 0.1)


def counts(told: int = 300, outside: int = 30, faults: int = 0, slow: int = 0) -> Counts:
    milliseconds = [0] * len(MILLISECONDS)
    milliseconds[4], milliseconds[12] = told - slow, slow
    return Counts(
        windows=1,
        devices={"c1"},
        utterances=told,
        told=told,
        out_of_scope=outside,
        faults=faults,
        milliseconds=milliseconds,
    )


@pytest.mark.parametrize(
    ("new", "before", "over", "kind", "words"),
    [
        (counts(), counts(), False, "good", "p99 latency 1.5 ms after 1.5 ms"),
        (counts(), None, False, "good", "the version before told of none"),
        (counts(), counts(10, 1), False, "good", "the version before told of 10 utterances"),
        (counts(100, 10), counts(), False, "wait", "100 of 200 utterances"),
        (counts(100, 10), counts(), True, "bad", "not enough telemetry: 100 of 200 utterances"),
        (counts(0, 0), None, True, "bad", "not enough telemetry: 0 of 200 utterances"),
        (counts(faults=6), counts(), False, "good", "error rate 1.96%"),
        (counts(faults=7), counts(), False, "bad", "error rate 2.28% above 2.00%"),
        (counts(0, 0, faults=200), None, False, "bad", "error rate 100.00%"),
        (counts(0, 0, faults=199), None, False, "wait", "0 of 200"),
        (counts(slow=4), counts(), False, "bad", "ms above 1.5 times 1.5 ms"),
        (counts(outside=60), counts(), False, "good", "out-of-scope rate 20.0% after 10.0%"),
        (counts(outside=61), counts(), False, "bad", "20.3% too far from 10.0%"),
        (counts(outside=0), counts(outside=31), False, "bad", "0.0% too far from 10.3%"),
    ],
)
def test_a_version_is_judged_by_what_was_counted(
    new: Counts, before: Counts | None, over: bool, kind: str, words: str
) -> None:
    verdict = judge(new, before, LIMITS, over=over)
    assert (verdict.kind, words in verdict.words) == (kind, True), verdict.words


@pytest.mark.parametrize(
    ("outside", "kind"), [(60, "good"), (15, "good"), (14, "bad"), (180, "good"), (181, "bad")]
)
def test_a_version_may_reject_less_than_the_one_that_drifted_down_to_what_it_was_measured_with(
    outside: int, kind: str
) -> None:
    drifted = counts(outside=150)
    assert judge(counts(outside=60), drifted, LIMITS, over=False).kind == "bad"
    verdict = judge(counts(outside=outside), drifted, LIMITS, over=False, expected=0.15)
    assert verdict.kind == kind, verdict.words
    assert "of its reference" in verdict.words


def test_where_none_are_asked_for_none_are_needed() -> None:
    limits = Limits(0, 0.02, 1.5, 0.1)
    assert judge(Counts(), None, limits, over=False).kind == "good"
    assert judge(Counts(faults=1), None, limits, over=False).kind == "bad"


def test_what_devices_gave_up_is_bad_however_little_was_told() -> None:
    new = counts(1, 0)
    new.gave_up = 2
    assert judge(new, counts(), LIMITS, over=False).words.startswith("2 devices gave it up")
