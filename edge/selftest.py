"""Asks a loaded model the questions that *compile* stored with its answers: ``selftest.json``.

What it leaves out: whether those answers are right; only that this machine gives the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge.errors import SelfTestError

if TYPE_CHECKING:
    from edge.classifier import IntentClassifier

SELFTEST = "selftest.json"
FORMAT = 1


def check(classifier: IntentClassifier, folder: Path | str) -> None:
    """Compare the answers with the stored ones.

    Raises:
        SelfTestError: The file is missing or damaged, or an answer differs.
    """
    path = Path(folder) / SELFTEST
    tolerance, cases = _read(path)
    for text, intent, out_of_scope, energy in cases:
        answer = classifier.predict(text, 1)
        found = answer.top[0].intent
        # written so that an energy that is not a number fails too
        same_energy = abs(answer.energy - energy) <= tolerance
        if found != intent or answer.out_of_scope != out_of_scope or not same_energy:
            raise SelfTestError(
                f"The model in {folder} answers {found} with energy {answer.energy:.2f} where it "
                f"answered {intent} with {energy:.2f} when it was compiled: install it anew."
            )


def _read(path: Path) -> tuple[float, list[tuple[str, str, bool, float]]]:
    try:
        value = cast("dict[str, Any]", json.loads(path.read_bytes()))
        if value["format"] != FORMAT:
            raise ValueError("its format is not known")
        cases = [
            (str(c["text"]), str(c["intent"]), bool(c["out_of_scope"]), float(c["energy"]))
            for c in value["cases"]
        ]
        if not cases:
            raise ValueError("it has no cases")
        return float(value["tolerance"]), cases
    except FileNotFoundError:
        raise SelfTestError(f"There is no {path}: install the model anew.") from None
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise SelfTestError(f"{path} is no self-test: {error!r}.") from None
