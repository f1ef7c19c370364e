"""The regression set, put to the model and, beside it, to the champion.

Leaves out: the verdict on a case (:mod:`steps.regression.judging`), and whether so many failures
close the gate (:mod:`steps.evaluate.gate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps.contract import OUT_OF_SCOPE
from steps.regression.cases import KINDS, NAME, Case
from steps.regression.judging import Outcome, Rule, judge, lost, summary

if TYPE_CHECKING:
    from steps.evaluate.champion import Champion
    from steps.evaluate.scoring import Classifier


def outcomes(cases: Sequence[Case], classifier: Classifier) -> list[Outcome]:
    """What becomes of ``cases`` with a trained model."""
    if not cases:
        return []
    rule = classifier.rule
    return judge(
        cases, classifier.logits, Rule(rule.intents, rule.temperature, rule.energy_threshold)
    )


def section(
    prepared: Path, found: Sequence[Outcome], rival: Champion | None
) -> dict[str, Any] | None:
    """``regression`` of ``evaluation.json``; None where there is no set.

    What the champion passes and this model does not stands in ``champion.lost``.
    """
    if not found:
        return None
    written = summary(found) | {
        "sha256": hashlib.sha256((prepared / NAME).read_bytes()).hexdigest()
    }
    if rival is None:
        return written | {"champion": None}
    rivals = summary(rival.regression)
    return written | {
        "champion": {
            "version": rival.package.version,
            "pass_rate": rivals["pass_rate"],
            "kinds": rivals["kinds"],
            "lost": lost(rival.regression, found),
        }
    }


_TITLES = {
    "must_pass": "must pass",
    "must_reject": "must be rejected",
    "invariance": "must answer alike",
    "direction": "must follow a cue",
}
_EFFECTS = {
    "becomes": "must become {}",
    "raises": "must be more of {}",
    "lowers": "must be less of {}",
    "not_raises": "must not be more of {}",
    "not_lowers": "must not be less of {}",
}
_SHOWN = 40  # failures that the report lists a kind; evaluation.json has them all


def drawn(written: dict[str, Any] | None) -> dict[str, Any] | None:
    """The section as the report shows it: a bar a kind, and the failures in words."""
    if written is None:
        return None
    rival = written["champion"] or {"kinds": {}, "lost": []}
    failures = {kind: [f for f in written["failures"] if f["kind"] == kind] for kind in KINDS}
    kinds = [
        {
            "title": _TITLES[kind],
            **counts,
            "champion": rival["kinds"].get(kind),
            "failures": [_shown(failure, rival["lost"]) for failure in failures[kind][:_SHOWN]],
            "more": max(0, len(failures[kind]) - _SHOWN),
        }
        for kind, counts in written["kinds"].items()
    ]
    return written | {"kinds": kinds}


def _shown(failure: dict[str, Any], lost_cases: list[dict[str, Any]]) -> dict[str, Any]:
    texts = [failure.get("text", "")]
    asked = f"should be {failure.get('intent', OUT_OF_SCOPE)}"
    if failure["kind"] == "invariance":
        texts, asked = failure["texts"], "should be one answer"
    elif failure["kind"] == "direction":
        texts = [failure["from"], failure["to"]]
        asked = _EFFECTS[failure["effect"]].format(failure["intent"])
    return {
        "texts": texts,
        "asked": asked,
        "found": failure["found"],
        "changes": failure.get("changes", ""),
        "lost": failure in lost_cases,
    }
