"""The gate: which figures must hold which bounds, and the sentence that says what did not.

The pipeline's condition step reads the same figures from ``evaluation.json``; the sentence here
is what its Fail step and the report show.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from steps.evaluate.config import EvaluationConfig

PASSED = "every figure holds its bound"


@dataclass(frozen=True)
class Check:
    """One figure against one bound."""

    figure: str
    parameter: str
    value: float
    bound: float
    at_least: bool
    """True: the figure must reach the bound; False: it must not exceed it."""
    measured: bool = True
    """False: there was nothing to measure, and the check holds."""

    @property
    def holds(self) -> bool:
        if not self.measured:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}

    @property
    def sentence(self) -> str:
        value, bound = apart(self.value, self.bound)
        side = "below" if self.at_least else "above"
        return f"{self.figure} {value} is {side} {self.parameter} {bound}"


def apart(value: float, bound: float) -> tuple[str, str]:
    """Both numbers with four decimals, or with as many more as it takes to tell them apart.

    Counts as they are.
    """
    if isinstance(value, int) and isinstance(bound, int):
        return str(value), str(bound)
    for decimals in range(4, 17):
        texts = f"{value:.{decimals}f}", f"{bound:.{decimals}f}"
        if texts[0] != texts[1]:
            return texts
    return f"{value!r}", f"{bound!r}"


def checks(
    *,
    accuracy: float,
    auroc: float | None,
    calibration_error: float,
    champion_p_value: float | None,
    regression_pass_rate: float | None,
    lost_intents: int | None,
    config: EvaluationConfig,
) -> list[Check]:
    """The six checks; ``None`` where there was nothing to measure."""
    return [
        Check("accuracy", "MinAccuracy", accuracy, config.min_accuracy, at_least=True),
        Check(
            "out_of_scope_auroc",
            "MinOutOfScopeAuroc",
            0.0 if auroc is None else auroc,
            config.min_out_of_scope_auroc,
            at_least=True,
            measured=auroc is not None,
        ),
        Check(
            "expected_calibration_error",
            "MaxCalibrationError",
            calibration_error,
            config.max_calibration_error,
            at_least=False,
        ),
        Check(
            "champion_p_value",
            "MinChampionPValue",
            1.0 if champion_p_value is None else champion_p_value,
            config.min_champion_p_value,
            at_least=True,
            measured=champion_p_value is not None,
        ),
        Check(
            "regression_pass_rate",
            "MinRegressionPassRate",
            0.0 if regression_pass_rate is None else regression_pass_rate,
            config.min_regression_pass_rate,
            at_least=True,
            measured=regression_pass_rate is not None,
        ),
        Check(
            "lost_intents",
            "MaxLostIntents",
            lost_intents or 0,
            config.max_lost_intents,
            at_least=False,
            measured=lost_intents is not None,
        ),
    ]


def section(
    found: list[Check], *, macro_f1: float, out_of_scope_rows: int, regression_cases: int
) -> dict[str, Any]:
    """The ``gate`` of ``evaluation.json``: only numbers and one sentence, never null."""
    missed = [check.sentence for check in found if not check.holds]
    return {check.figure: check.value for check in found} | {
        "macro_f1": macro_f1,
        "out_of_scope_rows": out_of_scope_rows,
        "regression_cases": regression_cases,
        "passed": 0 if missed else 1,
        "message": "; ".join(missed) or PASSED,
    }
