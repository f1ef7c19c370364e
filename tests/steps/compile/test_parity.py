from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steps.compile.parity import (
    Bounds,
    Reference,
    auroc,
    figures,
    judge,
    read_reference,
    training_texts,
)
from steps.contract import StepError
from tests.compiled import write_evaluation

LABELS = np.array([0, 1, 2, 0, -1], dtype=np.int32)
TRAINED = np.array(
    [[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0], [1, 0, 0]], dtype=np.float32
)  # three of four right; the last is out of scope
REFERENCE = Reference(["a", "b", "c", "d", "e"], LABELS, TRAINED)
FINE = {"accuracy": 0.95, "trained_accuracy": 0.95, "accuracy_drop": 0.0, "agreement": 0.99,
        "out_of_scope_auroc": 0.98, "auroc_drop": 0.0}  # fmt: skip


def test_the_same_answers_are_at_parity() -> None:
    values = figures(TRAINED, REFERENCE, threshold=5.0)
    assert values["accuracy"] == values["trained_accuracy"] == 0.75
    assert values["agreement"] == values["decision_agreement"] == 1.0
    assert values["out_of_scope_auroc"] == 1.0
    assert (values["rejection_rate"], values["rejection_rate_change"]) == (0.2, 0.0)
    assert (values["rows"], values["out_of_scope_rows"]) == (5, 1)
    verdict = judge(values, Bounds())
    assert verdict["passed"] == 1
    assert "accuracy 0.7500 against 0.7500" in verdict["message"]


def test_a_changed_answer_counts_against_accuracy_and_agreement() -> None:
    found = TRAINED.copy()
    found[0] = [0, 9, 0]
    values = figures(found, REFERENCE, threshold=5.0)
    assert (values["accuracy"], values["accuracy_drop"]) == (0.5, 0.25)
    assert values["agreement"] == values["decision_agreement"] == 0.8


def test_a_changed_answer_that_both_reject_is_the_same_decision() -> None:
    found = TRAINED.copy()
    found[4] = [0, 1, 0]
    values = figures(found, REFERENCE, threshold=5.0)
    assert (values["agreement"], values["decision_agreement"]) == (0.8, 1.0)


def test_a_shift_of_energy_is_reported_as_a_change_of_the_rejection_rate() -> None:
    values = figures(TRAINED - 6, REFERENCE, threshold=5.0)
    assert values["energy_shift"] == pytest.approx(-6)
    assert values["rejection_rate_change"] == pytest.approx(0.8)
    assert values["agreement"] == 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"accuracy": 0.9, "accuracy_drop": 0.05},
            "accuracy fell by 0.0500 to 0.9000, more than MaxAccuracyDrop 0.0100",
        ),
        ({"agreement": 0.5}, "agreement 0.5000 is below MinAgreement 0.9700"),
        (
            {"out_of_scope_auroc": 0.9, "auroc_drop": 0.08},
            "out-of-scope AUROC fell by 0.0800 to 0.9000, more than MaxAurocDrop 0.0100",
        ),
    ],
)
def test_every_missed_bound_is_named_with_its_figure(changes: dict[str, float], words: str) -> None:
    verdict = judge({**FINE, **changes}, Bounds(0.01, 0.97, 0.01))
    assert (verdict["passed"], verdict["message"]) == (0, words)


def test_all_missed_bounds_stand_in_one_message() -> None:
    verdict = judge({**FINE, "accuracy_drop": 0.5, "agreement": 0.1, "auroc_drop": 0.5}, Bounds())
    assert verdict["message"].count(";") == 2


def test_a_figure_that_equals_its_bound_meets_it() -> None:
    labels = np.zeros(100, dtype=np.int32)
    trained = np.tile(np.array([[9, 0]], dtype=np.float32), (100, 1))
    trained[93:] = [0, 9]  # 0.93 - 0.92 is more than 0.01 in binary
    found = trained.copy()
    found[92] = [0, 9]
    values = figures(found, Reference(["x"] * 100, labels, trained), threshold=0.0)
    assert judge(values, Bounds(max_accuracy_drop=0.01))["passed"] == 1
    assert judge(values, Bounds(min_agreement=0.99))["passed"] == 1


def test_without_out_of_scope_rows_its_figures_are_zero() -> None:
    values = figures(TRAINED[:4], Reference(["x"] * 4, LABELS[:4], TRAINED[:4]), threshold=5.0)
    assert values["out_of_scope_auroc"] == values["auroc_drop"] == 0.0


def test_auroc_counts_ties_as_half() -> None:
    positive = np.array([True, True, False, False])
    assert auroc(np.array([3.0, 2.0, 1.0, 0.0]), positive) == 1.0
    assert auroc(np.array([0.0, 1.0, 2.0, 3.0]), positive) == 0.0
    assert auroc(np.array([1.0, 1.0, 1.0, 1.0]), positive) == 0.5
    assert auroc(np.array([2.0, 1.0, 1.0, 0.0]), positive) == 0.875


def test_predictions_of_another_split_are_refused(
    tiny_model: Path, tiny_prepared: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    evaluation = write_evaluation(tmp_path / "evaluation", tiny_model, tiny_prepared)
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    table = pq.read_table(tiny_prepared / "test.parquet")
    pq.write_table(table.slice(1), prepared / "test.parquet")
    with pytest.raises(StepError, match="was made from another test split"):
        read_reference(prepared, evaluation)


def test_a_test_split_without_utterances_in_scope_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.table({"text": ["hm"], "label": pa.array([-1], pa.int32()), "logits": [[1.0, 2.0]]})
    pq.write_table(rows, tmp_path / "test.parquet")
    pq.write_table(rows, tmp_path / "predictions.parquet")
    with pytest.raises(StepError, match="no utterance in scope"):
        read_reference(tmp_path, tmp_path)


def test_training_texts_are_spread_over_the_split(tiny_prepared: Path) -> None:
    texts = training_texts(tiny_prepared, 4)
    assert len(texts) == len(set(texts)) == 4
    everything = training_texts(tiny_prepared, 1000)
    assert len(everything) > 4
    assert set(texts) < set(everything)


def test_missing_and_damaged_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"test\.parquet is missing"):
        read_reference(tmp_path, tmp_path)
    (tmp_path / "test.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StepError, match=r"test\.parquet cannot be read"):
        read_reference(tmp_path, tmp_path)
