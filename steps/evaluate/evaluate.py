"""The step as one function over folders; ``__main__`` maps the container contract to it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.archive import model_folder
from steps.contract import StepError, read_json, write_json, write_text
from steps.evaluate import champion, gate, latency, metrics, regression, robustness, sections
from steps.evaluate.baseline import Baseline
from steps.evaluate.config import EvaluationConfig, EvaluationPaths
from steps.evaluate.metrics import Array
from steps.evaluate.scoring import (
    Classifier,
    Rows,
    Scores,
    check_same_intents,
    in_scope,
    read_rows,
)
from steps.regression.cases import Case, read_prepared


@dataclass(frozen=True)
class Evidence:
    """Row by row, what the figures were computed from and the pictures are drawn from."""

    rows: Rows
    scores: Scores
    intents: list[str]
    threshold: float
    """Energy below it is out of scope; -inf where the model rejects nothing."""
    temperature: float
    confusion: Array
    baseline_score: Array


def evaluate(paths: EvaluationPaths, config: EvaluationConfig) -> dict[str, Any]:
    """Score the model on the test split, compare it, judge it, and write three files.

    ``predictions.parquet`` and ``report.html`` are written before ``evaluation.json``, so that
    whoever finds the last finds all. A closed gate is a result, not an error.

    Returns:
        What ``evaluation.json`` holds.

    Raises:
        StepError: Model, data or champion cannot be used.
    """
    from steps.evaluate.report import render

    with tempfile.TemporaryDirectory(prefix="evaluate-") as scratch:
        evaluation, evidence = measure(paths, config, Path(scratch))
    write_predictions(paths.predictions, evidence)
    write_text(paths.report, render(evaluation, evidence))
    write_json(paths.evaluation, evaluation)
    return evaluation


def measure(
    paths: EvaluationPaths, config: EvaluationConfig, scratch: Path
) -> tuple[dict[str, Any], Evidence]:
    """Everything that is measured; nothing is written but scratch files."""
    folder = model_folder(paths.model, scratch / "model")
    classifier = Classifier.load(folder)
    names, seed = classifier.rule.intents, config.seed
    check_same_intents(paths.prepared, names)
    rows = _test_rows(paths.prepared)
    cases = read_prepared(paths.prepared)
    training = read_json(folder / "training.json", "The training record of the model")
    statistics = read_json(paths.prepared / "statistics.json", "The statistics of the data")

    _log(f"scoring {len(rows.texts):,} test rows")
    scores = classifier.score(rows.input_ids)
    inside = in_scope(rows.labels)
    threshold = classifier.rule.energy_threshold
    confusion = metrics.confusion_matrix(rows.labels[inside], scores.predicted[inside], len(names))
    figures = sections.figures(rows, scores, threshold, len(names), seed)

    _log("fitting the baseline, TF-IDF and a linear SVM")
    train = read_rows(paths.prepared, "train", ids=False)
    fitted = Baseline(train.texts, train.labels, seed)
    baseline, baseline_score = sections.baseline(rows, fitted, len(names), seed)

    rival = _champion(config.model_package_group, rows, names, cases, scratch)
    compared = None if rival is None else sections.champion(rows, scores, rival, len(names), seed)
    outcomes = regression.outcomes(cases, classifier)
    regressions = regression.section(paths.prepared, outcomes, rival)
    _log("perturbing utterances")
    sample = robustness.Sample.draw(rows.texts, rows.labels, seed)
    predictors: dict[str, robustness.Predictor] = {
        "model": classifier.predict,
        "baseline": fitted.predict,
    }
    evaluation = {
        "figures": figures
        | {"energy_threshold": classifier.rule.to_json()["energy_threshold"]}
        | {"temperature": classifier.rule.temperature},
        "multiclass_classification_metrics": sections.sagemaker_metrics(figures, confusion, names),
        "intents": sections.intents(confusion, names),
        "baseline": baseline,
        "champion": compared,
        "regression": regressions,
        "robustness": robustness.measure(sample, predictors, seed),
        "latency": latency.measure(classifier.logits, rows.texts, seed)
        | {"bytes": latency.model_bytes(folder)},
        "provenance": sections.provenance(training, statistics),
    } | _gate(figures, compared, regressions, config)
    evidence = Evidence(
        rows, scores, names, threshold, classifier.rule.temperature, confusion, baseline_score
    )
    return evaluation, evidence


def _test_rows(prepared: Path) -> Rows:
    rows = read_rows(prepared, "test", ids=True)
    if not in_scope(rows.labels).any():
        raise StepError(
            f"{prepared / 'test.parquet'} has no in-scope row, so nothing can be measured: "
            "prepare with a larger test share, or publish test rows."
        )
    return rows


def _champion(
    group: str, rows: Rows, names: list[str], cases: list[Case], scratch: Path
) -> champion.Champion | None:
    if not group:
        _log("no model package group was named: there is no champion to compare with")
        return None
    from steps.registry import open_registry

    found = champion.score(open_registry(group), rows.texts, names, scratch, cases)
    if found is None:
        _log(f"{group} has no approved model: there is no champion to compare with")
        return None
    _log(f"compared with the champion, version {found.package.version} of {group}")
    return found


def _gate(
    figures: dict[str, Any],
    rival: dict[str, Any] | None,
    regressions: dict[str, Any] | None,
    config: EvaluationConfig,
) -> dict[str, Any]:
    auroc = figures["out_of_scope_auroc"]
    found = gate.checks(
        accuracy=figures["accuracy"]["value"],
        auroc=None if auroc is None else auroc["value"],
        calibration_error=figures["expected_calibration_error"]["value"],
        champion_p_value=None if rival is None else rival["p_value"],
        regression_pass_rate=None if regressions is None else regressions["pass_rate"],
        lost_intents=None if regressions is None else len(regressions["lost_intents"]),
        config=config,
    )
    section = gate.section(
        found,
        macro_f1=figures["macro_f1"]["value"],
        out_of_scope_rows=figures["out_of_scope_rows"],
        regression_cases=0 if regressions is None else regressions["cases"],
    )
    return {"checks": [check.to_json() for check in found], "gate": section}


def write_predictions(path: Path, evidence: Evidence) -> None:
    """One row for each test row, in its order: what *compile* holds the compiled model against."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, scores = evidence.rows, evidence.scores
    width = scores.logits.shape[1]
    offsets = pa.array(np.arange(0, scores.logits.size + 1, width, dtype=np.int32))
    logits = pa.ListArray.from_arrays(offsets, pa.array(scores.logits.ravel()))
    table = pa.table(
        {
            "text": pa.array(rows.texts, pa.string()),
            "intent": pa.array(rows.intents, pa.string()),
            "label": pa.array(rows.labels, pa.int32()),
            "predicted": pa.array(scores.predicted, pa.int32()),
            "energy": pa.array(scores.energy.astype(np.float32)),
            "confidence": pa.array(scores.confidence.astype(np.float32)),
            "logits": logits,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _log(message: str) -> None:
    print(message, flush=True)
