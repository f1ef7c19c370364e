"""The lines of the dashboard's charts: which metric, or which expression over metrics.

Leaves out: where a chart stands (dashboard.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cloud.prices import read_prices
from pipeline.monitoring import PIPELINES
from pipeline.parameters import parameters
from pipeline.settings import Settings

HOUR, DAY = 3600, 86_400  # seconds
BLUE, GREEN, RED, GREY, ORANGE = "#1f77b4", "#2ca02c", "#d62728", "#7f7f7f", "#ff7f0e"
STEPS: Mapping[str, str] = {
    "PrepareData": "prepare",
    "TrainModel": "train",
    "EvaluateModel": "evaluate",
    "RegisterModel": "register",
    "CompileModel": "compile",
    "PackageComponent": "package",
}
"""Jobs of the pipeline, and what a chart calls them."""


@dataclass(frozen=True)
class Line:
    """One line of a chart, with the hidden metrics that its expression reads."""

    entries: tuple[list[Any], ...]


class Figures:
    """The lines of one environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._defaults = {one.name: one.default for one in parameters(settings)}

    # The pipeline -------------------------------------------------------------------------

    def executions(self, period: int) -> list[Line]:
        """How executions ended, per period."""
        named = ("PipelineName", self._settings.pipeline_name)
        ends = (("Succeeded", GREEN), ("Failed", RED), ("Stopped", GREY))
        return [self._executions(end, named, color, period) for end, color in ends]

    def started(self, period: int) -> list[Line]:
        """How many began, and how they ended."""
        named = ("PipelineName", self._settings.pipeline_name)
        return [self._executions("Started", named, BLUE, period), *self.executions(period)]

    def _executions(self, end: str, named: tuple[str, str], color: str, period: int) -> Line:
        options = {"label": end.lower(), "stat": "Sum", "period": period, "color": color}
        return Line(([PIPELINES, f"Execution{end}", *named, options],))

    def durations(self) -> list[Line]:
        """Minutes of each step, the wait for its machine included."""
        return [self._of_step(step, title, "{} / 60000") for step, title in STEPS.items()]

    def costs(self) -> list[Line]:
        """Minutes of each step times the price of the machine that it has by default."""
        return [
            self._of_step(step, title, f"{{}} / 3600000 * {self._hourly(step):.4f}")
            for step, title in STEPS.items()
        ]

    def _of_step(self, step: str, title: str, expression: str) -> Line:
        """SageMaker counts a step's milliseconds; a sum over the day is that of all executions."""
        key = f"t{list(STEPS).index(step)}"
        metric = [
            PIPELINES, "StepDuration", "PipelineName", self._settings.pipeline_name,
            "StepName", step, {"id": key, "stat": "Sum", "period": DAY, "visible": False},
        ]  # fmt: skip
        shown = [{"expression": expression.format(key), "label": title, "id": f"e{key}"}]
        return Line((metric, shown))

    def _hourly(self, step: str) -> float:
        """US dollars; spot capacity as slm costs assumes it."""
        table = read_prices()
        training = step == "TrainModel"
        machine = self._defaults["TrainingInstanceType" if training else "ProcessingInstanceType"]
        price = table.instance_hours[str(machine)].usd
        spot = training and self._settings.training.spot
        return price * (1 - table.assumed("spot_discount") if spot else 1.0)

    # The model ----------------------------------------------------------------------------

    def champion(self) -> list[Line]:
        """The newest candidate beside the model that was approved then, on the same rows."""
        return [
            self._own("Accuracy", "candidate", BLUE),
            self._own("ChampionAccuracy", "champion", GREY),
        ]

    def newest(self) -> list[Line]:
        """As many numbers as have room, so the regression set's is in its chart alone."""
        return [*self.champion(), *self.quality()[1:2], *self.parity()[:1]]

    def quality(self) -> list[Line]:
        return [
            self._own("Accuracy", "accuracy", BLUE),
            self._own("OutOfScopeAuroc", "out-of-scope AUROC", GREEN),
            self._own("RegressionPassRate", "regression set passed", ORANGE),
        ]

    def quality_bounds(self) -> list[tuple[str, float]]:
        return self._bounds("MinAccuracy", "MinOutOfScopeAuroc", "MinRegressionPassRate")

    def parity(self) -> list[Line]:
        return [
            self._own("CalibrationError", "calibration error", ORANGE),
            self._own("CompiledAgreement", "agreement of the compiled model", BLUE),
        ]

    def parity_bounds(self) -> list[tuple[str, float]]:
        return self._bounds("MaxCalibrationError", "MinAgreement")

    def _bounds(self, *names: str) -> list[tuple[str, float]]:
        """The gates' bounds, as an execution has them that sets none; equal ones are one line."""
        named: dict[float, list[str]] = {}
        for name in names:
            named.setdefault(float(self._defaults[name]), []).append(name)
        return [(", ".join(found), value) for value, found in named.items()]

    # The devices --------------------------------------------------------------------------

    def devices(self) -> list[Line]:
        return [
            self._own("Utterances", "utterances", BLUE, stat="Sum"),
            self._rate("out of scope, percent", "OutOfScope", GREY, "d", axis="left"),
            *self.errors(DAY),
        ]

    def utterances(self) -> list[Line]:
        return [
            self._own("Utterances", "utterances", BLUE, stat="Sum"),
            self._rate("out of scope, percent", "OutOfScope", ORANGE, "o", axis="right"),
        ]

    def errors(self, period: int = HOUR) -> list[Line]:
        hidden = [
            self._hidden("Utterances", "ea", period),
            self._hidden("Errors", "eb", period),
        ]
        shown: list[Any] = [
            {
                "expression": "100 * FILL(eb, 0) / (FILL(ea, 0) + FILL(eb, 0))",
                "label": "without an answer, percent",
                "id": "ec",
                "color": RED,
            }
        ]
        return [Line((*hidden, shown))]

    def error_bounds(self) -> list[tuple[str, float]]:
        return [("alarm", self._settings.monitoring.max_error_percent)]

    def latency(self) -> list[Line]:
        return [self._own("LatencyP95", "95th percentile", BLUE)]

    def drift(self) -> list[Line]:
        return [
            self._own("DriftFigures", "figures over their threshold", RED),
            self._own("DriftUtterances", "utterances looked at", GREY, axis="right"),
        ]

    def drift_bounds(self) -> list[tuple[str, float]]:
        return [("alarm", 1.0)]

    def skew(self) -> list[Line]:
        return [self._own("DevicesBehind", "devices", ORANGE)]

    def skew_bounds(self) -> list[tuple[str, float]]:
        return [("alarm after three days", 1.0)]

    def watch(self) -> list[Line]:
        return [
            self._own("DriftFigures", "figures that drift", RED),
            self._own("DevicesBehind", "devices behind", ORANGE),
            self._own("StuckExecutions", "stuck executions", GREY),
        ]

    # What they share ----------------------------------------------------------------------

    def _own(
        self, name: str, label: str, color: str, *, stat: str = "Average", axis: str = "left"
    ) -> Line:
        """A metric of ours, by the day."""
        options = {"label": label, "stat": stat, "period": DAY, "color": color}
        if axis == "right":
            options["yAxis"] = axis
        return Line(([self._settings.metric_namespace, name, options],))

    def _hidden(self, name: str, key: str, period: int) -> list[Any]:
        options = {"id": key, "stat": "Sum", "period": period, "visible": False}
        return [self._settings.metric_namespace, name, options]

    def _rate(self, label: str, name: str, color: str, key: str, *, axis: str) -> Line:
        """A metric as a share of the utterances, in percent."""
        shown: dict[str, Any] = {
            "expression": f"100 * {key}b / {key}a", "label": label, "id": f"{key}c", "color": color,
        }  # fmt: skip
        if axis == "right":
            shown["yAxis"] = axis
        hidden = [self._hidden("Utterances", f"{key}a", DAY), self._hidden(name, f"{key}b", DAY)]
        return Line((*hidden, [shown]))


def metrics_of(widgets: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Every metric that widgets read, expressions left out."""
    return [
        entry
        for widget in widgets
        for entry in widget["properties"].get("metrics", [])
        if not isinstance(entry[0], dict)
    ]
