"""What the step *evaluate* is told: its folders and its bounds, checked once, then frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SHARES = (
    "min_accuracy",
    "min_out_of_scope_auroc",
    "max_calibration_error",
    "min_champion_p_value",
    "min_regression_pass_rate",
)
"""The bounds, all of them between 0 and 1; MinAccuracy and so on as pipeline parameters."""


def share(text: str | float) -> float:
    """``text`` as a number between 0 and 1.

    Raises:
        ValueError: It is not a number, or lies outside; the message has no name of the key.
    """
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{value} is not between 0 and 1")
    return value


def parameter_name(key: str) -> str:
    """The pipeline parameter of a bound: ``min_accuracy`` is ``MinAccuracy``."""
    return "".join(word.capitalize() for word in key.split("_"))


@dataclass(frozen=True)
class EvaluationConfig:
    """The bounds of the gate, and what makes the random parts repeatable."""

    min_accuracy: float = 0.80
    """In-scope accuracy below this closes the gate."""
    min_out_of_scope_auroc: float = 0.80
    """Out-of-scope AUROC below this closes the gate, where the test split has such rows."""
    max_calibration_error: float = 0.10
    """Expected calibration error, after temperature scaling, above this closes the gate."""
    min_champion_p_value: float = 0.05
    """A p-value below this means that the champion is significantly better: closes the gate."""
    min_regression_pass_rate: float = 0.75
    """A smaller share of the regression set's cases that pass closes the gate, where there is one;
    docs/regression.md says why it is not 1."""
    max_lost_intents: int = 0
    """More intents than this of which no must_pass of the regression set passes close the gate."""
    model_package_group: str = ""
    """Where the champion is looked up; empty: there is no champion to compare with."""
    seed: int = 0
    """Seeds the resamples, the perturbations and the samples."""

    def __post_init__(self) -> None:
        for key in SHARES:
            try:
                share(getattr(self, key))
            except ValueError as error:
                raise ValueError(f"{parameter_name(key)}: {error}") from None
        if self.max_lost_intents < 0:
            raise ValueError(f"MaxLostIntents: {self.max_lost_intents} is below 0")


@dataclass(frozen=True)
class EvaluationPaths:
    """The folders of one evaluation."""

    model: Path
    """A folder with ``model.tar.gz``, or an unpacked model."""
    prepared: Path
    output: Path

    report: Path = field(init=False)
    evaluation: Path = field(init=False)
    predictions: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "report", self.output / "report.html")
        object.__setattr__(self, "evaluation", self.output / "evaluation.json")
        object.__setattr__(self, "predictions", self.output / "predictions.parquet")
