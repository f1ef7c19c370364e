"""The compiled model against the trained one, on the test split, through the device's own code.

What it leaves out: fitting anything. Temperature and threshold stay the trained ones; by how much
they reject more or less after compilation is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.classifier import IntentClassifier
from steps.contract import StepError


@dataclass(frozen=True)
class Bounds:
    """What the compiled model may lose, as the pipeline's parameters say."""

    max_accuracy_drop: float = 0.02
    min_agreement: float = 0.95
    max_auroc_drop: float = 0.01


@dataclass(frozen=True)
class Reference:
    """The test split with the trained model's answers, in one order of rows."""

    texts: list[str]
    labels: NDArray[np.int32]
    """-1 for out of scope."""
    logits: NDArray[np.float32]
    """[rows, intents], of the trained model."""

    @property
    def in_scope(self) -> NDArray[np.bool_]:
        return self.labels >= 0


def read_reference(prepared: Path, evaluation: Path) -> Reference:
    """Read ``test.parquet`` and the trained model's ``predictions.parquet``.

    Raises:
        StepError: One is missing or damaged, or they are not of the same rows.
    """
    test = _table(prepared / "test.parquet", ["text", "label"])
    answers = _table(evaluation / "predictions.parquet", ["text", "logits"])
    texts = test["text"].to_pylist()
    if texts != answers["text"].to_pylist():
        raise StepError(
            f"{evaluation / 'predictions.parquet'} was made from another test split than "
            f"{prepared / 'test.parquet'}: evaluate this prepared data first."
        )
    labels = test["label"].to_numpy().astype(np.int32)
    if not (labels >= 0).any():
        raise StepError(
            f"{prepared / 'test.parquet'} has no utterance in scope, so that parity cannot be "
            "measured: give the data a test split."
        )
    logits = np.array(answers["logits"].to_pylist(), dtype=np.float32)
    return Reference(texts, labels, logits)


def training_texts(prepared: Path, rows: int) -> list[str]:
    """At most ``rows`` utterances, spread evenly over the train split; none if it is empty."""
    texts = _table(prepared / "train.parquet", ["text"])["text"].to_pylist()
    return texts[:: max(1, len(texts) // rows)][:rows]


def labelled_texts(prepared: Path, rows: int) -> list[str]:
    """At most ``rows`` utterances, spread evenly over the train and the validation split."""
    texts: list[str] = []
    for split in ("train", "validation"):
        texts += _table(prepared / f"{split}.parquet", ["text"])["text"].to_pylist()
    return texts[:: max(1, -(-len(texts) // rows))]


def _table(path: Path, columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise StepError(f"{path} is missing: compile needs what prepare and evaluate wrote.")
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise StepError(f"{path} cannot be read: {reason}") from None


def score(classifier: IntentClassifier, reference: Reference) -> NDArray[np.float32]:
    """The compiled model's logits, one utterance at a time, which is how the device asks."""
    return classifier.logits(reference.texts, batch=1)


def figures(
    found: NDArray[np.float32], reference: Reference, threshold: float
) -> dict[str, float | int]:
    """How ``found`` (logits) compares with the trained model's logits.

    Agreement is the share of test rows, out of scope included, with the same most likely intent;
    decision agreement counts rejections as an answer of their own. Both areas under the curve are
    0 when the test split has no out-of-scope utterance.
    """
    trained, scope = reference.logits, reference.in_scope
    found_best, trained_best = found.argmax(axis=1), trained.argmax(axis=1)
    found_energy, trained_energy = energy(found), energy(trained)
    found_rejects, trained_rejects = found_energy < threshold, trained_energy < threshold
    accuracy = float((found_best == reference.labels)[scope].mean())
    trained_accuracy = float((trained_best == reference.labels)[scope].mean())
    area, trained_area = auroc(found_energy, scope), auroc(trained_energy, scope)
    same = found_best == trained_best
    decided = (found_rejects == trained_rejects) & (same | found_rejects)
    values: dict[str, float | int] = {
        "rows": len(reference.texts),
        "out_of_scope_rows": int((~scope).sum()),
        "accuracy": accuracy,
        "trained_accuracy": trained_accuracy,
        "accuracy_drop": trained_accuracy - accuracy,
        "agreement": float(same.mean()),
        "decision_agreement": float(decided.mean()),
        "out_of_scope_auroc": area,
        "trained_out_of_scope_auroc": trained_area,
        "auroc_drop": trained_area - area,
        "energy_shift": float((found_energy - trained_energy).mean()),
        "rejection_rate": float(found_rejects.mean()),
        "rejection_rate_change": float(found_rejects.mean() - trained_rejects.mean()),
    }
    # rounded, so that 0.93 - 0.92 meets a bound of 0.01, here and in the pipeline's condition
    return {name: round(value, 6) for name, value in values.items()}


def judge(values: dict[str, float | int], bounds: Bounds) -> dict[str, Any]:
    """``values`` with ``passed`` (1 or 0) and the sentence that names every bound missed."""
    missed: list[str] = []
    if values["accuracy_drop"] > bounds.max_accuracy_drop:
        missed.append(
            f"accuracy fell by {values['accuracy_drop']:.4f} to {values['accuracy']:.4f}, "
            f"more than MaxAccuracyDrop {bounds.max_accuracy_drop:.4f}"
        )
    if values["agreement"] < bounds.min_agreement:
        missed.append(
            f"agreement {values['agreement']:.4f} is below MinAgreement {bounds.min_agreement:.4f}"
        )
    if values["auroc_drop"] > bounds.max_auroc_drop:
        missed.append(
            f"out-of-scope AUROC fell by {values['auroc_drop']:.4f} to "
            f"{values['out_of_scope_auroc']:.4f}, more than MaxAurocDrop "
            f"{bounds.max_auroc_drop:.4f}"
        )
    message = (
        "; ".join(missed)
        if missed
        else f"accuracy {values['accuracy']:.4f} against {values['trained_accuracy']:.4f}, "
        f"agreement {values['agreement']:.4f}: the compiled model answers like the trained one"
    )
    return {**values, "passed": int(not missed), "message": message}


def energy(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """logsumexp of each row."""
    values = logits.astype(np.float64)
    peak = values.max(axis=1)
    return peak + np.log(np.exp(values - peak[:, None]).sum(axis=1))


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive row scores above a negative one, ties counting half.

    The Mann-Whitney statistic from ranks; 0 when either class is empty.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return 0.0
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    above = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)
