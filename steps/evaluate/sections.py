"""The sections of ``evaluation.json``, each built from arrays by one function."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from steps import logs
from steps.evaluate import intervals, metrics
from steps.evaluate.baseline import Baseline
from steps.evaluate.champion import Champion, mcnemar
from steps.evaluate.metrics import Array
from steps.evaluate.scoring import Rows, Scores, in_scope

_WEIGHTED = ("weighted_precision", "weighted_recall", "weighted_f0_5", "weighted_f1", "weighted_f2")


def figures(rows: Rows, scores: Scores, threshold: float, intents: int, seed: int) -> dict:
    """Every figure of the model; those that need out-of-scope rows are None where there are none.

    In-scope accuracy is by the largest logit, irrespective of rejection; what rejection does to
    it stands beside it.
    """
    inside = in_scope(rows.labels)
    found: dict[str, Any] = {
        name: interval.to_json()
        for name, interval in intervals.classification(
            rows.labels[inside],
            scores.predicted[inside],
            {
                "expected_calibration_error": scores.confidence[inside],
                "expected_calibration_error_unscaled": scores.unscaled_confidence[inside],
            },
            intents,
            seed,
        ).items()
    }
    found["in_scope_rows"] = int(inside.sum())
    found["out_of_scope_rows"] = int((~inside).sum())
    return found | _rejection(rows, scores, threshold, seed)


def _rejection(rows: Rows, scores: Scores, threshold: float, seed: int) -> dict[str, Any]:
    inside = in_scope(rows.labels)
    right = (scores.predicted == rows.labels)[inside]
    kept, others = scores.energy[inside], scores.energy[~inside]
    if not len(others):
        names = ("auroc", "fpr_at_95_tpr", "recall", "precision")
        return {f"out_of_scope_{name}": None for name in names} | {
            "accuracy_with_rejection": None,
            "in_scope_accuracy_with_rejection": float((right & (kept >= threshold)).mean()),
            "in_scope_rejected": float((kept < threshold).mean()),
        }
    found = metrics.rejection(right, kept, others, threshold)
    return {
        "out_of_scope_auroc": intervals.separation(kept, others, seed).to_json(),
        "out_of_scope_fpr_at_95_tpr": metrics.accepted_at_kept(kept, others),
        "out_of_scope_recall": found.recall,
        "out_of_scope_precision": found.precision,
        "accuracy_with_rejection": found.accuracy,
        "in_scope_accuracy_with_rejection": found.in_scope_accuracy,
        "in_scope_rejected": found.in_scope_rejected,
    }


def sagemaker_metrics(found: dict[str, Any], confusion: Array, names: list[str]) -> dict[str, Any]:
    """``multiclass_classification_metrics`` as SageMaker's model quality report has them.

    Source: "Model Quality Metrics and Amazon CloudWatch Monitoring" in the SageMaker developer
    guide. In-scope rows only; an intent's cells of 0 are left out.
    """
    shares = confusion.sum(axis=1)
    most = shares.max() / shares.sum()  # always answering the most frequent intent
    return {
        name: {
            "value": found[name]["value"],
            "standard_deviation": found[name]["standard_deviation"],
        }
        for name in ("accuracy", *_WEIGHTED)
    } | {
        "accuracy_best_constant_classifier": {
            "value": float(most),
            "standard_deviation": float(np.sqrt(most * (1 - most) / shares.sum())),
        },
        "confusion_matrix": {
            names[true]: {names[taken]: int(confusion[true, taken]) for taken in row.nonzero()[0]}
            for true, row in enumerate(confusion)
        },
    }


def intents(confusion: Array, names: list[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and rows of each intent, in the order of the labels."""
    counts = metrics.Counts.of(confusion)
    columns = zip(names, counts.precision(), counts.recall(), counts.f_score(), strict=True)
    return [
        {
            "intent": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "rows": int(counts.support[label]),
        }
        for label, (name, precision, recall, f1) in enumerate(columns)
    ]


def compared(
    rows: Rows, predicted: Array, score: Array, intents_count: int, seed: int
) -> dict[str, Any]:
    """The figures that baseline and champion have beside the model's own."""
    inside = in_scope(rows.labels)
    # an intent that is none of ours is one more label, which no row has
    taken = np.where(predicted < 0, intents_count, predicted)[inside]
    found = intervals.classification(rows.labels[inside], taken, {}, intents_count + 1, seed)
    auroc = None
    if not inside.all():
        auroc = intervals.separation(score[inside], score[~inside], seed).to_json()
    return {
        "accuracy": found["accuracy"].to_json(),
        "macro_f1": found["macro_f1"].to_json(),
        "out_of_scope_auroc": auroc,
    }


def baseline(rows: Rows, fitted: Baseline, intents_count: int, seed: int) -> tuple[dict, Array]:
    """The baseline's section, and its score of each row, by which out of scope is told."""
    predicted, score = fitted.labels_and_scores(rows.texts)
    section = {
        "name": "TF-IDF + linear SVM",
        "fit_seconds": fitted.fit_seconds,
        "latency": fitted.latency(rows.texts),
    }
    return section | compared(rows, predicted, score, intents_count, seed), score


def champion(
    rows: Rows, scores: Scores, found: Champion, intents_count: int, seed: int
) -> dict[str, Any]:
    """The champion's section, with the paired test on the in-scope rows."""
    inside = in_scope(rows.labels)
    labels = rows.labels[inside]
    test = mcnemar(scores.predicted[inside] == labels, found.predicted[inside] == labels)
    package = found.package
    return (
        {
            "name": package.name,
            "version": package.version,
            "created": package.created,
            "dataset_sha256": found.dataset_sha256,
        }
        | compared(rows, found.predicted, found.energy, intents_count, seed)
        | asdict(test)
    )


def provenance(training: dict[str, Any], statistics: dict[str, Any]) -> dict[str, Any]:
    """Where the model comes from, as far as its training record says."""
    return {
        "base_model": training.get("base_model", "unknown"),
        # the code that trained, which a cached model may be older than the code that evaluates
        "commit": training.get("commit") or "unknown",
        "evaluation_commit": os.environ.get("SLM_COMMIT") or "unknown",
        "execution": logs.execution_id() or None,
        "evaluated": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hyperparameters": training.get("hyperparameters", {}),
        "versions": training.get("versions", {}),
        "train_seconds": training.get("seconds"),
        "parameters": training.get("parameters"),
        "model_dataset_sha256": training.get("dataset_sha256", "unknown"),
        "dataset_sha256": statistics.get("dataset_sha256", "unknown"),
        "rows": statistics.get("rows", {}),
    }
