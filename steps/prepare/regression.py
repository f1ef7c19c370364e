"""Takes the regression set that a dataset may carry, checks it against the data and hands it on.

Its texts are cleaned as the data's are. What cannot be put to a model as it stands ends the job
with a sentence that names the line: nobody would notice a case that is left out. Rows of the data
with a text of the set go to quarantine (``also_in_regression``), as those that also stand in the
test split do, so that no case is ever answered from memory. Leaves out: the format
(:mod:`steps.regression.cases`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from steps.contract import OUT_OF_SCOPE
from steps.prepare import cleaning, manifest
from steps.prepare.buckets import digest_of
from steps.regression.cases import DIRECTION, INVARIANCE, NAME, Case, read_cases, refusal
from steps.regression.judging import texts_of

_NAMED = 5  # intents of the data that a message lists


def read_regression_set(raw: Path, max_characters: int) -> list[Case]:
    """The set in ``raw``, cleaned; empty where there is none.

    Raises:
        StepError: A line is not in the format, or says what another says or denies.
    """
    path = raw / NAME
    listed = manifest.listed_files(raw, only=NAME)
    if listed is not None and not listed:
        if path.is_file():
            print(
                f"warning: {NAME} is not among the files of {manifest.NAME} and is not read; "
                "write the manifest again to have it used",
                flush=True,
            )
        return []
    if not path.is_file():
        return []
    cases = [_cleaned(case, max_characters) for case in read_cases(path)]
    _check_distinct(cases)
    print(f"regression set: {len(cases):,} cases", flush=True)
    return cases


def check_intents(cases: Iterable[Case], intents: Iterable[str]) -> None:
    """Every intent that the set names must be one of the data.

    Raises:
        StepError: One is not; the sentence names it and its line.
    """
    known = sorted(set(intents) - {OUT_OF_SCOPE})
    for case in cases:
        if case.intent not in {*known, OUT_OF_SCOPE, None}:
            has = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
            raise refusal(
                case.line,
                f"names the intent {case.intent!r}, which the data does not have (it has {has})",
                "correct it, take the line out, or add utterances of that intent",
            )


def digests_of(cases: Iterable[Case]) -> frozenset[bytes]:
    """What the data's rows must not equal, after normalisation."""
    return frozenset(digest_of(cleaning.normalise(text)) for text in texts_of(list(cases)))


def _cleaned(case: Case, max_characters: int) -> Case:
    texts: list[str] = []
    for text in case.texts:
        problem = None if cleaning.decodable(text) else cleaning.UNDECODABLE
        text = "" if problem else cleaning.clean(text)
        problem = problem or cleaning.refuse(text, max_characters)
        if problem is not None:
            raise refusal(case.line, f"has a text that cannot be used ({problem})", "mend it")
        texts.append(text)
    if case.kind in (INVARIANCE, DIRECTION) and len(set(texts)) < 2:
        raise refusal(case.line, f"has the kind {case.kind} but no two different texts", "add one")
    if len(set(texts)) < len(texts):
        raise refusal(case.line, "has one of its texts twice", "take one of them out")
    if case.intent is None:
        return replace(case, texts=tuple(texts))
    intent, problem = cleaning.clean_intent(case.intent)
    if problem is not None:
        raise refusal(case.line, f"has an intent that cannot be used ({problem})", "correct it")
    return replace(case, texts=tuple(texts), intent=intent)


def _check_distinct(cases: Iterable[Case]) -> None:
    seen: dict[tuple[object, ...], Case] = {}
    for case in cases:
        # of one utterance there can be one answer; a group or a pair may ask different things
        key = (
            (case.kind, case.texts, case.intent, case.effect)
            if case.kind in (INVARIANCE, DIRECTION)
            else (cleaning.normalise(case.texts[0]),)
        )
        other = seen.setdefault(key, case)
        if other is not case:
            verb = "repeats" if other.intent == case.intent else "contradicts"
            raise refusal(case.line, f"{verb} line {other.line}", "take one of them out")
