"""Which cases of a regression set a model passes, from its logits alone.

An answer is what the device would say: the most likely intent, or ``out_of_scope`` where the energy
lies below the threshold. A direction is looked at in the calibrated probability of its intent; of
``out_of_scope``, which is no class and has none, in the energy, which falls as an utterance gets
more out of scope.

Leaves out: where logits come from, so that the trained and the compiled model are judged alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.contract import OUT_OF_SCOPE
from steps.regression.cases import DIRECTION, INVARIANCE, KINDS, MUST_PASS, Case

TOLERANCE = 0.1
"""By how much a probability that must not rise (or fall) may do so all the same, as in CheckList;
of an energy, as a share of what lies between the text's own and the threshold. So near to 1 (or 0)
before and after, a probability need not rise (or fall)."""


FEWEST_MUST_PASS = 4
"""Cases of an intent below which none of them passing may be chance: where four in five utterances
are answered rightly, four wrong ones in a row have a probability of 0.2 %."""


@dataclass(frozen=True)
class Rule:
    """What turns logits into an answer."""

    intents: Sequence[str]
    temperature: float
    energy_threshold: float
    """-inf where nothing is rejected."""


@dataclass(frozen=True)
class Outcome:
    """One case and what became of it."""

    case: Case
    passed: bool
    found: str
    """What was answered, for a person."""

    def to_json(self) -> dict[str, Any]:
        """The case with what was answered, as a failure is listed."""
        return self.case.to_json() | {"found": self.found}


@dataclass(frozen=True)
class _Answer:
    """The answer to one text."""

    intent: str
    probabilities: dict[str, float]
    energy: float

    @property
    def best(self) -> float:
        return max(self.probabilities.values())


def texts_of(cases: Sequence[Case]) -> list[str]:
    """Every text of ``cases``, once, in order: what a model has to be asked."""
    return list(dict.fromkeys(text for case in cases for text in case.texts))


def judge(
    cases: Sequence[Case], logits_of: Callable[[list[str]], NDArray[Any]], rule: Rule
) -> list[Outcome]:
    """Put ``cases`` to a model.

    Args:
        cases: The regression set.
        logits_of: The model: texts to logits, [texts, intents of ``rule``].
        rule: How the model's logits are read.

    Returns:
        One outcome a case, in their order.
    """
    texts = texts_of(cases)
    answers = dict(zip(texts, _answers(logits_of(texts), rule), strict=True))
    return [_outcome(case, [answers[text] for text in case.texts], rule) for case in cases]


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many cases there are and passed, in all and by kind, and every one that failed."""
    cases = Counter(outcome.case.kind for outcome in outcomes)
    passed = Counter(outcome.case.kind for outcome in outcomes if outcome.passed)
    return {
        "cases": len(outcomes),
        "pass_rate": passed.total() / len(outcomes),
        "kinds": {
            kind: {"cases": cases[kind], "passed": passed[kind]} for kind in KINDS if cases[kind]
        },
        "lost_intents": lost_intents(outcomes),
        "failures": [outcome.to_json() for outcome in outcomes if not outcome.passed],
    }


def lost_intents(outcomes: Sequence[Outcome]) -> list[str]:
    """The intents of which not one must_pass passes, out of at least :data:`FEWEST_MUST_PASS`."""
    passed: dict[str, list[bool]] = {}
    for outcome in outcomes:
        if outcome.case.kind == MUST_PASS:
            passed.setdefault(outcome.case.intent or "", []).append(outcome.passed)
    return sorted(
        intent
        for intent, found in passed.items()
        if len(found) >= FEWEST_MUST_PASS and not any(found)
    )


def lost(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The cases that one model passed and the other, asked later, does not."""
    pairs = zip(before, after, strict=True)
    return [new.to_json() for old, new in pairs if old.passed and not new.passed]


def _answers(logits: NDArray[Any], rule: Rule) -> list[_Answer]:
    rows = np.asarray(logits, dtype=np.float64)
    energies = _logsumexp(rows)
    scaled = rows / rule.temperature
    probabilities = np.exp(scaled - _logsumexp(scaled)[:, None])
    best = rows.argmax(axis=1)
    return [
        _Answer(
            OUT_OF_SCOPE if energy < rule.energy_threshold else rule.intents[int(at)],
            dict(zip(rule.intents, row, strict=True)),
            energy,
        )
        for row, at, energy in zip(
            probabilities.tolist(), best.tolist(), energies.tolist(), strict=True
        )
    ]


def _logsumexp(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    top = rows.max(axis=1)
    return top + np.log(np.exp(rows - top[:, None]).sum(axis=1))


def _outcome(case: Case, answers: list[_Answer], rule: Rule) -> Outcome:
    if case.kind == INVARIANCE:
        given = [answer.intent for answer in answers]
        first = given[0]
        apart = [f"{text!r} {intent}" for text, intent in zip(case.texts, given, strict=True)
                 if intent != first]  # fmt: skip
        return Outcome(case, not apart, f"{first}, but " + ", ".join(apart) if apart else first)
    if case.kind == DIRECTION:
        return _direction(case, answers[0], answers[1], rule)
    answer = answers[0]
    told = f"{answer.intent} ({answer.best:.2f}, energy {answer.energy:.2f})"
    return Outcome(case, answer.intent == case.intent, told)


def _direction(case: Case, before: _Answer, after: _Answer, rule: Rule) -> Outcome:
    if case.effect == "becomes":
        passed = after.intent == case.intent != before.intent
        return Outcome(case, passed, f"{before.intent} → {after.intent}")
    if case.intent == OUT_OF_SCOPE:
        rise, room = before.energy - after.energy, _room(before.energy, rule)
        certain = unheard_of = False
        told = f"energy {before.energy:.2f} → {after.energy:.2f}"
    else:
        name = case.intent or ""
        # an intent that this model (a champion of other intents) does not know is never answered
        old, new = before.probabilities.get(name, 0.0), after.probabilities.get(name, 0.0)
        rise, room = new - old, TOLERANCE
        told = f"{name} {old:.2f} → {new:.2f}"
        # what is as good as certain before and after cannot rise: its last decimals say nothing
        certain, unheard_of = min(old, new) >= 1 - TOLERANCE, max(old, new) <= TOLERANCE
    passed = {
        "raises": rise > 0 or certain,
        "lowers": rise < 0 or unheard_of,
        "not_raises": rise <= room,
        "not_lowers": rise >= -room,
    }[case.effect or ""]
    return Outcome(case, passed, told)


def _room(energy: float, rule: Rule) -> float:
    """What an energy may move against a not_: a share of its distance from the threshold."""
    distance = abs(energy - rule.energy_threshold)
    return TOLERANCE * distance if np.isfinite(distance) else 0.0
