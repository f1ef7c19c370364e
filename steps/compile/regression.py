"""The regression set before and after compiling: which cases quantisation alone has cost.

Both are asked through the device's own code, one utterance at a time. Leaves out a bound of its
own: how far the compiled model may stray from the trained one is what the parity gate asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edge.classifier import IntentClassifier
from steps.regression.cases import Case
from steps.regression.judging import Rule, judge, lost, summary


def compare(
    cases: Sequence[Case], full: IntentClassifier, small: IntentClassifier, rule: Rule
) -> dict[str, Any] | None:
    """The pass rate of the int8 model beside that of the float32 one, and the cases lost between.

    Returns:
        None where there is no regression set.
    """
    if not cases:
        return None

    before, after = (
        judge(cases, partial(classifier.logits, batch=1), rule) for classifier in (full, small)
    )
    return {
        "cases": len(cases),
        "pass_rate": summary(after)["pass_rate"],
        "float32_pass_rate": summary(before)["pass_rate"],
        "lost": lost(before, after),
    }
