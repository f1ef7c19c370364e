"""The format of a regression set: JSON Lines, one case a line, four kinds of case.

::

    {"kind": "must_pass", "text": "lamp off", "intent": "lights_off"}
    {"kind": "must_reject", "text": "who wrote hamlet"}
    {"kind": "invariance", "texts": ["lamp off", "lamp off please"], "changes": "politeness"}
    {"kind": "direction", "from": "lamp on", "to": "lamp off", "effect": "becomes",
     "intent": "lights_off", "changes": "on to off"}

Leaves out: whether texts are clean and intents known, which *prepare* checks against the data, and
the verdict (:mod:`steps.regression.judging`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.contract import OUT_OF_SCOPE, StepError, write_text

NAME = "regression.jsonl"
"""What the file is called, in a dataset and in a prepared folder."""
MOST_CASES = 10_000
"""More is a test split and no set that somebody wrote by hand."""
_MOST_BYTES = 16 * 2**20

MUST_PASS, MUST_REJECT = "must_pass", "must_reject"
INVARIANCE, DIRECTION = "invariance", "direction"
_KEYS: dict[str, tuple[str, ...]] = {
    MUST_PASS: ("text", "intent"),
    MUST_REJECT: ("text",),
    INVARIANCE: ("texts",),
    DIRECTION: ("from", "to", "effect", "intent"),
}
KINDS = tuple(_KEYS)
EFFECTS = ("becomes", "raises", "lowers", "not_raises", "not_lowers")
_CHANGES = "changes"


@dataclass(frozen=True)
class Case:
    """One case; which fields it has depends on its kind."""

    kind: str
    texts: tuple[str, ...]
    """One utterance; of an invariance two or more; of a direction ``from`` and ``to``."""
    intent: str | None = None
    """The answer that is asked for, ``out_of_scope`` of a must_reject; None of an invariance."""
    effect: str | None = None
    """Of a direction: what going from the first text to the second must do to the intent."""
    changes: str = ""
    """In words, what the texts differ in."""
    line: int = field(default=0, compare=False)
    """Where it stands in its file, from 1."""

    def to_json(self) -> dict[str, Any]:
        """The case as a line of the file has it."""
        values: dict[str, Any] = {
            "text": self.texts[0], "texts": list(self.texts), "from": self.texts[0],
            "to": self.texts[-1], "effect": self.effect, "intent": self.intent,
        }  # fmt: skip
        written = {"kind": self.kind} | {key: values[key] for key in _KEYS[self.kind]}
        return written | ({_CHANGES: self.changes} if self.changes else {})


def read_cases(path: Path) -> list[Case]:
    """Every case of a file, in its order.

    Raises:
        StepError: The file or a line of it is not in the format; the sentence names the line.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= _MOST_BYTES else None
    except UnicodeDecodeError:
        raise StepError(f"{path.name} is not UTF-8 text: save it as UTF-8.") from None
    except OSError as error:
        raise StepError(f"{path} cannot be read: {error.strerror}.") from None
    # not splitlines, which also breaks lines at characters that JSON may hold
    lines = [] if text is None else text.split("\n")
    cases = [_parse(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if text is None or len(cases) > MOST_CASES:
        raise StepError(
            f"{path.name} has more than {MOST_CASES:,} cases or {_MOST_BYTES // 2**20} MB: give "
            "what is not written by hand a split test in the data instead."
        )
    if not cases:
        raise StepError(f"{path.name} has no case: write one a line, or remove the file.")
    return cases


def read_prepared(prepared: Path) -> list[Case]:
    """The set that *prepare* handed on; empty where the data had none.

    Raises:
        StepError: As :func:`read_cases`.
    """
    path = prepared / NAME
    return read_cases(path) if path.is_file() else []


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write ``cases`` so that :func:`read_cases` finds them again."""
    lines = (json.dumps(case.to_json(), ensure_ascii=False) for case in cases)
    write_text(path, "".join(f"{line}\n" for line in lines))


def refusal(line: int, problem: str, cure: str) -> StepError:
    """The sentence about one line."""
    return StepError(f"{NAME}, line {line}, {problem}: {cure}.")


def _parse(text: str, line: int) -> Case:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise refusal(line, f"is no JSON object ({text.strip()[:60]!r})", "write one case a line")
    kind = found.pop("kind", None)
    if kind not in KINDS:
        raise refusal(line, f"has the kind {kind!r}", f"use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    keys = _KEYS[kind]
    missing = [key for key in keys if key not in found]
    if missing:
        raise refusal(line, f"has the kind {kind} but no {missing[0]!r}", "add it")
    strange = sorted(set(found) - {*keys, _CHANGES})
    if strange:
        raise refusal(line, f"has the kind {kind} and {strange[0]!r}", f"take {', '.join(keys)}")
    for key, value in found.items():
        if key != "texts" and not isinstance(value, str):
            raise refusal(line, f"has a {key!r} that is no text", "put it in quotation marks")
    return _checked(kind, found, line)


def _checked(kind: str, found: dict[str, Any], line: int) -> Case:
    texts, intent, effect = _texts(kind, found, line), found.get("intent"), found.get("effect")
    if kind == MUST_PASS and intent == OUT_OF_SCOPE:
        raise refusal(
            line, f"has the kind must_pass and {OUT_OF_SCOPE}", "make its kind must_reject"
        )
    if kind == DIRECTION and effect not in EFFECTS:
        raise refusal(line, f"has the effect {effect!r}", f"use one of {', '.join(EFFECTS)}")
    if kind == MUST_REJECT:
        intent = OUT_OF_SCOPE
    return Case(kind, texts, intent, effect, found.get(_CHANGES, ""), line)


def _texts(kind: str, found: dict[str, Any], line: int) -> tuple[str, ...]:
    if kind == DIRECTION:
        return found["from"], found["to"]
    if kind != INVARIANCE:
        return (found["text"],)
    texts = found["texts"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise refusal(line, "has 'texts' that are no list of texts", 'write ["…", "…"]')
    return tuple(texts)
