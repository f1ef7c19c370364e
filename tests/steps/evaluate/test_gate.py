"""The gate: which figure missed which bound, said so that a reader can act on it."""

from __future__ import annotations

import pytest

from steps.evaluate import gate
from steps.evaluate.config import EvaluationConfig


def decide(config: EvaluationConfig | None = None, **changes):
    figures = {
        "accuracy": 0.931,
        "auroc": 0.98,
        "calibration_error": 0.02,
        "champion_p_value": 0.4,
        "regression_pass_rate": 0.9,
        "lost_intents": 0,
    } | changes
    found = gate.checks(**figures, config=config or EvaluationConfig())
    return gate.section(
        found,
        macro_f1=0.92,
        out_of_scope_rows=0 if "auroc" in changes else 10,
        regression_cases=0 if figures["regression_pass_rate"] is None else 20,
    )


def test_figures_within_their_bounds_open_the_gate():
    assert decide() == {
        "accuracy": 0.931,
        "macro_f1": 0.92,
        "out_of_scope_auroc": 0.98,
        "out_of_scope_rows": 10,
        "expected_calibration_error": 0.02,
        "champion_p_value": 0.4,
        "regression_pass_rate": 0.9,
        "lost_intents": 0,
        "regression_cases": 20,
        "passed": 1,
        "message": gate.PASSED,
    }


def test_the_message_names_figure_and_bound_by_the_parameters_name():
    section = decide(EvaluationConfig(min_accuracy=0.999))
    assert section["passed"] == 0
    assert section["message"] == "accuracy 0.9310 is below MinAccuracy 0.9990"


def test_every_missed_bound_is_named():
    section = decide(
        accuracy=0.5,
        auroc=0.6,
        calibration_error=0.3,
        champion_p_value=0.01,
        regression_pass_rate=0.1,
        lost_intents=2,
    )
    assert section["message"].split("; ") == [
        "accuracy 0.5000 is below MinAccuracy 0.8000",
        "out_of_scope_auroc 0.6000 is below MinOutOfScopeAuroc 0.8000",
        "expected_calibration_error 0.3000 is above MaxCalibrationError 0.1000",
        "champion_p_value 0.0100 is below MinChampionPValue 0.0500",
        "regression_pass_rate 0.1000 is below MinRegressionPassRate 0.7500",
        "lost_intents 2 is above MaxLostIntents 0",
    ]


def test_a_figure_on_its_bound_holds_it():
    assert decide(EvaluationConfig(min_accuracy=0.931, max_calibration_error=0.02))["passed"] == 1


def test_what_could_not_be_measured_holds_and_is_a_number():
    section = decide(
        auroc=None, champion_p_value=None, regression_pass_rate=None, lost_intents=None
    )
    assert section["passed"] == 1
    assert section["out_of_scope_auroc"] == 0.0
    assert section["out_of_scope_rows"] == 0
    assert section["champion_p_value"] == 1.0
    assert (section["regression_pass_rate"], section["regression_cases"]) == (0.0, 0)
    assert section["lost_intents"] == 0


def test_a_near_miss_is_written_with_as_many_decimals_as_tell_it_apart():
    section = decide(accuracy=0.79999)
    assert section["message"] == "accuracy 0.79999 is below MinAccuracy 0.80000"
    assert gate.apart(0.5, 0.5) == ("0.5", "0.5")


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_bound_outside_zero_and_one_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"MaxCalibrationError: .* is not between 0 and 1"):
        EvaluationConfig(max_calibration_error=value)


def test_a_negative_number_of_lost_intents_is_refused_by_name():
    with pytest.raises(ValueError, match="MaxLostIntents: -1 is below 0"):
        EvaluationConfig(max_lost_intents=-1)
