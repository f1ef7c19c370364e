"""The dashboard: what it reads is published, what is told is on it, and it can be drawn."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from cdk.drawing import dashboard as drawing
from cdk.drawing import simulated
from cdk.drawing.metric_math import compute
from cdk.monitoring.dashboard import COLUMNS, body
from cdk.monitoring.figures import STEPS, metrics_of
from pipeline.cloud.prices import read_prices
from pipeline.monitoring import METRICS, PIPELINES, TOLD
from pipeline.parameters import parameters
from pipeline.settings import Settings
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

DEV = Settings.load("dev")
SAGEMAKERS = {
    *(f"Execution{how}" for how in ("Started", "Succeeded", "Failed", "Stopped")),
    "StepDuration",
}
"""Of "SageMaker pipelines metrics" in the developer guide."""


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    return body(DEV)


def widgets(shown: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["properties"] for one in shown["widgets"] if one["type"] == kind]


def test_the_template_holds_what_the_settings_make(dev: Synthesized) -> None:
    found = dev.only("AWS::CloudWatch::Dashboard")
    assert found["DashboardName"] == "slm-edge-dev"
    assert json.loads(found["DashboardBody"]) == body(dev.settings)


def test_every_metric_is_published_by_somebody(shown: dict[str, Any]) -> None:
    for namespace, name, *dimensions, _ in metrics_of(shown["widgets"]):
        if namespace == PIPELINES:
            assert name in SAGEMAKERS
            assert dimensions[:2] == ["PipelineName", DEV.pipeline_name]
        else:
            assert namespace == DEV.metric_namespace
            assert name in METRICS
            assert dimensions == []


def test_every_metric_of_ours_is_on_it(shown: dict[str, Any]) -> None:
    read = {name for namespace, name, *_ in metrics_of(shown["widgets"]) if namespace != PIPELINES}
    assert read == set(METRICS)


def test_the_pass_rate_of_the_regression_set_stands_beside_the_gates_other_figures(
    shown: dict[str, Any],
) -> None:
    [gate] = [one for one in widgets(shown, "metric") if one["title"].startswith("Gate: accuracy")]
    assert [entry[1] for entry in gate["metrics"]] == [
        "Accuracy", "OutOfScopeAuroc", "RegressionPassRate",
    ]  # fmt: skip
    defaults = {one.name: one.default for one in parameters(DEV)}
    bounds = {
        name: bound["value"]
        for bound in gate["annotations"]["horizontal"]
        for name in bound["label"].split(", ")
    }
    gated = ("MinAccuracy", "MinOutOfScopeAuroc", "MinRegressionPassRate")
    assert bounds == {name: defaults[name] for name in gated}


def test_it_reads_few_enough_metrics_to_be_one_of_the_three_that_are_free(
    shown: dict[str, Any],
) -> None:
    assert len(metrics_of(shown["widgets"])) <= 50


def test_another_environments_dashboard_reads_its_own() -> None:
    text = json.dumps(body(Settings.load("prod")))
    assert not re.search(r"slm-edge[-/]dev|111111111111", text)


def test_the_steps_that_it_times_are_the_jobs_of_the_pipeline(shown: dict[str, Any]) -> None:
    timed = {entry[5] for entry in metrics_of(shown["widgets"]) if entry[1] == "StepDuration"}
    assert timed == set(STEPS) == set(read_prices().minutes) - {"CheckDrift"}


def test_every_expression_can_be_computed_from_its_own_widget(shown: dict[str, Any]) -> None:
    expressions = 0
    for widget in widgets(shown, "metric"):
        ids = {entry[-1]["id"]: 2.0 for entry in widget["metrics"] if "id" in entry[-1]}
        every = [entry[-1]["id"] for entry in widget["metrics"] if "id" in entry[-1]]
        assert len(every) == len(set(every))
        assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", one) for one in every)
        for [entry] in (one for one in widget["metrics"] if isinstance(one[0], dict)):
            assert compute(entry["expression"], ids) is not None
            expressions += 1
    assert expressions > 10


def test_a_step_costs_its_time_at_the_price_of_its_machine(shown: dict[str, Any]) -> None:
    [costs] = [one for one in widgets(shown, "metric") if one["title"].startswith("Cost")]
    hour = {f"t{number}": 3_600_000.0 for number in range(len(STEPS))}
    found = [
        compute(one[0]["expression"], hour)
        for one in costs["metrics"]
        if isinstance(one[0], dict)
    ]  # fmt: skip
    table = read_prices()
    processing, training = (
        table.instance_hours[machine].usd
        for machine in (DEV.processing.instance_type, DEV.training.instance_type)
    )
    spot = training * (1 - table.assumed("spot_discount"))
    expected = [spot if step == "TrainModel" else processing for step in STEPS]
    assert found == pytest.approx(expected, abs=1e-4)


def test_widgets_lie_in_the_grid_and_on_no_other(shown: dict[str, Any]) -> None:
    def cells(one: dict[str, Any]) -> set[tuple[int, int]]:
        return {
            (one["x"] + x, one["y"] + y)
            for x in range(one["width"])
            for y in range(one["height"])
        }  # fmt: skip

    for one in shown["widgets"]:
        assert one["x"] + one["width"] <= COLUMNS
    for one, other in combinations(shown["widgets"], 2):
        assert not cells(one) & cells(other)


def test_all_alarms_stand_above_everything_else(shown: dict[str, Any]) -> None:
    [alarms] = widgets(shown, "alarm")
    names = {arn.rpartition(":")[2] for arn in alarms["alarms"]}
    assert names == {f"slm-edge-dev-{key}" for key, told in TOLD.items() if told.by == "alarm"}
    first = [one["type"] for one in shown["widgets"][:2]]
    assert first == ["text", "alarm"]


def test_what_no_alarm_tells_has_its_link_in_words(shown: dict[str, Any]) -> None:
    [text] = widgets(shown, "text")
    for section, told in TOLD.items():
        link = f"(docs/runbook.md#{section})"
        assert (link in text["markdown"]) is (told.by != "alarm")


def test_logs_are_asked_for_fields_that_their_lines_have_and_for_this_environment(
    shown: dict[str, Any],
) -> None:
    from tests.steps.test_logs import FIELDS

    for widget in widgets(shown, "log"):
        assert 'environment = "dev"' in widget["query"]
        asked = set(re.findall(r"(?:filter|and) (\w+) =", widget["query"]))
        fields = re.search(r"fields ([^|]+)", widget["query"])
        asked |= {one.strip() for one in fields[1].split(",")} if fields else set()
        assert asked - {"@timestamp"} <= FIELDS | {"event"}


# The picture ------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [False, True])
def test_the_picture_shows_every_widget_and_says_that_its_figures_are_simulated(
    shown: dict[str, Any], phone: bool
) -> None:
    svg = drawing.draw(shown, phone=phone)
    for widget in shown["widgets"]:
        if "title" in widget["properties"]:
            assert f">{widget['properties']['title']}<" in svg
    assert "every figure is simulated" in svg


def test_a_metric_that_nobody_made_up_cannot_be_drawn_as_if_it_were_measured(
    shown: dict[str, Any],
) -> None:
    changed = json.loads(json.dumps(shown))
    graph = next(one for one in changed["widgets"] if one["type"] == "metric")
    graph["properties"]["metrics"] = [["slm-edge/dev", "Unheard", {"label": "x"}]]
    with pytest.raises(KeyError):
        drawing.draw(changed)


def test_what_is_simulated_is_the_same_each_time() -> None:
    assert simulated.series("Utterances", {}) == simulated.series("Utterances", {})


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        ("100 * b / a", {"a": 50.0, "b": 1.0}, 2.0),
        ("100 * b / a", {"a": 0.0, "b": 1.0}, None),
        ("a - b", {"a": None, "b": 1.0}, None),
        ("FILL(a, 0) + b", {"a": None, "b": 1.0}, 1.0),
        ("IF(a >= 5, 1, 0)", {"a": 5.0}, 1.0),
        ("IF(a > 5, 1, 0)", {"a": 5.0}, 0.0),
    ],
)
def test_metric_math(expression: str, values: dict[str, Any], expected: float | None) -> None:
    assert compute(expression, values) == expected


@pytest.mark.parametrize("expression", ["RATE(a)", "a % 2", "a and b"])
def test_metric_math_that_is_not_known_is_not_guessed(expression: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        compute(expression, {"a": 1.0, "b": 2.0})
