"""``slm predict``: the compiled model, asked through the code that the device runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.local.errors import PipelineError

if TYPE_CHECKING:
    from edge.classifier import Prediction


def predict_lines(home: Path, model: Path | None, texts: Iterable[str], *, as_json: bool) -> None:
    """Answer each utterance on a line of its own; blank ones are left out.

    Raises:
        PipelineError: There is no model, or it or an utterance is refused.
    """
    from edge.classifier import InputError, IntentClassifier, ModelError
    from pipeline.results import find_output

    folder = model or find_output(home, "compiled")
    try:
        classifier = IntentClassifier.load(folder)
        for text in texts:
            if text.strip():
                prediction = classifier.predict(text.strip())
                typer.echo(_json(text, prediction) if as_json else _line(text, prediction))
    except (ModelError, InputError) as error:
        raise PipelineError(str(error)) from None


def _json(text: str, prediction: Prediction) -> str:
    answer = {"text": text.strip(), **prediction.to_json()}
    return json.dumps(answer, ensure_ascii=False)


def _line(text: str, prediction: Prediction) -> str:
    """``lights_off 97 %   (music 2 %)   turn it off``, columns aligned."""
    if prediction.out_of_scope:
        best = prediction.top[0]
        why = f"nearest is {best.intent}, {best.confidence:.0%}"
        return f"{prediction.intent:<24} {'':>5}  {text.strip()}  ({why})"
    return f"{prediction.intent:<24} {prediction.confidence:>5.0%}  {text.strip()}"
