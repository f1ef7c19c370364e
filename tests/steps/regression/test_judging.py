"""The verdict: what an answer is, what each kind of case asks, what one model lost of another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from steps.regression.cases import Case, read_cases, write_cases
from steps.regression.judging import Rule, judge, lost, summary, texts_of

RULE = Rule(["lights", "music"], temperature=1.0, energy_threshold=5.0)
ANSWERS = {
    "on": (9.0, 0.0),
    "on please": (7.0, 6.0),
    "song": (0.0, 8.0),
    "song!": (1.0, 8.5),
    "lamp song": (6.0, 7.0),
    "moon": (2.0, 1.0),  # energy 2.31, below the threshold
    "moon, she said": (2.2, 1.2),
    "moon lamp": (4.0, 1.0),
    "shout": (1.0, 2.0),
}


def logits_of(texts: list[str]) -> np.ndarray:
    return np.array([ANSWERS[text] for text in texts], np.float32)


def verdict(case: Case, rule: Rule = RULE) -> tuple[bool, str]:
    (outcome,) = judge([case], logits_of, rule)
    return outcome.passed, outcome.found


def must(text: str, intent: str) -> Case:
    return Case("must_reject" if intent == "out_of_scope" else "must_pass", (text,), intent)


def direction(before: str, after: str, effect: str, intent: str) -> Case:
    return Case("direction", (before, after), intent, effect)


def test_an_utterance_passes_with_its_intent_and_not_when_it_is_rejected():
    assert verdict(must("on", "lights")) == (True, "lights (1.00, energy 9.00)")
    assert verdict(must("song", "lights"))[0] is False
    assert verdict(must("moon", "lights")) == (False, "out_of_scope (0.73, energy 2.31)")


def test_what_must_be_rejected_is_so_by_the_energy_alone():
    assert verdict(must("moon", "out_of_scope"))[0] is True
    assert verdict(must("on please", "out_of_scope"))[0] is False
    nothing_rejected = Rule(RULE.intents, 1.0, -math.inf)
    assert verdict(must("moon", "out_of_scope"), nothing_rejected)[0] is False


def test_an_energy_on_the_threshold_is_in_scope_as_on_the_device():
    on_it = Rule(RULE.intents, 1.0, float(np.logaddexp(*ANSWERS["moon"])))
    assert verdict(must("moon", "lights"), on_it)[0] is True


@pytest.mark.parametrize(
    ("texts", "passed", "found"),
    [
        (("song", "song!"), True, "music"),
        (("moon", "shout"), True, "out_of_scope"),
        (("on", "on please", "lamp song"), False, "lights, but 'lamp song' music"),
        (("on", "moon"), False, "lights, but 'moon' out_of_scope"),
    ],
)
def test_an_invariance_asks_for_one_answer(texts, passed, found):
    assert verdict(Case("invariance", texts)) == (passed, found)


@pytest.mark.parametrize(
    ("before", "after", "effect", "intent", "passed"),
    [
        ("on", "song", "becomes", "music", True),
        ("song", "song!", "becomes", "music", False),  # it was so before
        ("on", "on please", "becomes", "music", False),
        ("on", "moon", "becomes", "out_of_scope", True),
        ("on", "on please", "raises", "music", True),
        ("on please", "on", "raises", "music", False),
        ("on please", "song!", "lowers", "music", False),
        ("lamp song", "lamp song", "raises", "music", False),  # nothing moved
        ("song!", "on please", "lowers", "music", True),
        ("song", "song!", "raises", "music", True),  # 0.9997 → 0.9994: certain before and after
        ("song", "lamp song", "raises", "music", False),  # no longer certain
        ("song", "song!", "lowers", "lights", True),  # 0.0003 → 0.0006: out of the question
        ("on", "on please", "lowers", "lights", True),
        ("song", "lamp song", "not_raises", "lights", False),
        ("song", "song!", "not_raises", "lights", True),  # 0.0003 → 0.0006: within the tolerance
        ("on", "on please", "not_lowers", "lights", False),
        ("song", "song!", "not_lowers", "music", True),
        ("on", "moon", "raises", "out_of_scope", True),  # the energy falls
        ("moon", "on", "lowers", "out_of_scope", True),
        ("moon", "on", "raises", "out_of_scope", False),
        ("moon", "moon, she said", "not_lowers", "out_of_scope", True),  # 0.2 of 2.7 nearer
        ("moon", "moon lamp", "not_lowers", "out_of_scope", False),  # 1.7 of 2.7 nearer
        ("on", "song", "raises", "unknown", False),  # of a champion that has other intents
    ],
)
def test_a_direction_is_of_the_answer_the_probability_or_the_energy(
    before, after, effect, intent, passed
):
    assert verdict(direction(before, after, effect, intent))[0] is passed


def test_without_a_threshold_nothing_may_move_an_energy_against_a_not():
    rule = Rule(RULE.intents, 1.0, -math.inf)
    case = direction("moon", "moon, she said", "not_lowers", "out_of_scope")
    assert verdict(case, rule) == (False, "energy 2.31 → 2.51")


def test_probabilities_are_those_of_the_temperature():
    case = direction("on", "on please", "raises", "music")
    assert verdict(case)[1] == "music 0.00 → 0.27"
    assert verdict(case, Rule(RULE.intents, 4.0, 5.0))[1] == "music 0.10 → 0.44"


def test_every_text_is_asked_once():
    asked: list[list[str]] = []

    def count(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return logits_of(texts)

    cases = [must("on", "lights"), Case("invariance", ("on", "song")), must("song", "music")]
    judge(cases, count, RULE)
    assert asked == [["on", "song"]] == [texts_of(cases)]


def test_the_summary_counts_by_kind_and_lists_what_failed_as_it_is_written():
    cases = [must("on", "lights"), must("song", "lights"), Case("invariance", ("on", "song"))]
    found = summary(judge(cases, logits_of, RULE))
    assert (found["cases"], found["pass_rate"]) == (3, 1 / 3)
    assert found["kinds"] == {
        "must_pass": {"cases": 2, "passed": 1},
        "invariance": {"cases": 1, "passed": 0},
    }
    assert found["failures"] == [
        {"kind": "must_pass", "text": "song", "intent": "lights",
         "found": "music (1.00, energy 8.00)"},
        {"kind": "invariance", "texts": ["on", "song"], "found": "lights, but 'song' music"},
    ]  # fmt: skip


def test_an_intent_is_lost_when_not_one_of_at_least_four_must_pass_passes():
    texts = ("on", "on please", "moon", "moon lamp")

    def lost_of(intents: str, *more: Case) -> list[str]:
        cases = [must(text, intent) for text, intent in zip(texts, intents.split(), strict=True)]
        return summary(judge([*cases, *more], logits_of, RULE))["lost_intents"]

    assert lost_of("music music music music") == ["music"]
    assert lost_of("music music music lights") == []  # three are too few to tell
    assert lost_of("music music music music", must("song", "music")) == []
    assert lost_of("music music music music", must("song", "out_of_scope")) == ["music"]


def test_what_one_model_passed_and_the_next_does_not_is_lost():
    cases = [must("on", "lights"), must("song", "lights"), must("moon", "out_of_scope")]
    before = judge(cases, logits_of, RULE)
    strict = Rule(RULE.intents, 1.0, 100.0)  # rejects everything
    after = judge(cases, logits_of, strict)
    assert [case["text"] for case in lost(before, after)] == ["on"]
    assert lost(after, after) == []


def test_cases_written_are_read_again(tmp_path):
    cases = [
        must("licht an, größer", "lights"),
        must("what's u+2028\u2028 here", "out_of_scope"),
        Case("invariance", ("on", "on please"), changes="politeness"),
        direction("on", "off", "becomes", "lights_off"),
    ]
    write_cases(tmp_path / "regression.jsonl", cases)
    found = read_cases(tmp_path / "regression.jsonl")
    assert found == cases
    assert [case.line for case in found] == [1, 2, 3, 4]
