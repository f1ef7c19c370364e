"""The same figures as ``evaluate.Metric`` classes, for notebooks and a Trainer's compute_metrics.

The library's own metrics are scripts that ``evaluate.load`` downloads; these are local and need
no hub. The step itself calls :mod:`steps.evaluate.metrics`, which these wrap: importing
``evaluate`` alone takes some five seconds, because it brings transformers' pipelines along.

    from steps.evaluate.hugging_face import MacroF1
    MacroF1(keep_in_memory=True).compute(predictions=[0, 1], references=[0, 0])
"""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

from steps.evaluate import metrics

_CITATION = "steps/evaluate/metrics.py"


def _info(description: str, **columns: str) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation=_CITATION,
        inputs_description=", ".join(columns),
        features=datasets.Features({k: datasets.Value(v) for k, v in columns.items()}),
    )


class MacroF1(evaluate.Metric):
    """Macro-F1 over the intents that have rows."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(str(self.__doc__), predictions="int64", references="int64")

    def _compute(
        self, *, predictions: Any = None, references: Any = None, **_: Any
    ) -> dict[str, float]:
        labels, predicted = np.asarray(references), np.asarray(predictions)
        intents = int(max(labels.max(), predicted.max())) + 1
        counts = metrics.Counts.of(metrics.confusion_matrix(labels, predicted, intents))
        return {"macro_f1": float(counts.macro(counts.f_score()))}


class OutOfScopeAuroc(evaluate.Metric):
    """AUROC of energies (predictions) at telling in scope (references 1) from out (0)."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(str(self.__doc__), predictions="float64", references="int64")

    def _compute(
        self, *, predictions: Any = None, references: Any = None, **_: Any
    ) -> dict[str, float]:
        energies, inside = np.asarray(predictions), np.asarray(references) == 1
        return {"out_of_scope_auroc": metrics.auroc(energies[inside], energies[~inside])}


class CalibrationError(evaluate.Metric):
    """Expected calibration error of confidences (predictions); references: right (1) or not."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(str(self.__doc__), predictions="float64", references="int64")

    def _compute(
        self, *, predictions: Any = None, references: Any = None, **_: Any
    ) -> dict[str, float]:
        error = metrics.expected_calibration_error(np.asarray(predictions), np.asarray(references))
        return {"expected_calibration_error": error}
