from __future__ import annotations

from typing import Any

import pytest

from pipeline.local.conditions import holds
from pipeline.local.cursor import Cursor
from pipeline.local.errors import DefinitionError, PipelineError
from pipeline.local.expressions import look_up, parse_path, references, resolve
from tests.pipeline.local.workshop import compare, get, join, json_get

DOCUMENT = {
    "gate": {"passed": 1, "message": "good", "odd key": 2},
    "figures": [{"Name": "accuracy", "value": 0.5}, {"value": 0.25}],
}


class Known:
    """A scope with a few values."""

    def parameter(self, name: str) -> object:
        return {"Epochs": 3, "Rate": 1e-05, "Flag": True, "Name": "x"}[name]

    def execution(self, name: str) -> object:
        return f"<{name}>"

    def property(self, step: str, path: str) -> object:
        return f"{step}/{path}"

    def in_property_file(self, step: str, name: str, path: str) -> object:
        return look_up(DOCUMENT, path)

    def in_document(self, uri: str, path: str) -> object:
        return f"{uri}#{path}"


def value_of(expression: object) -> object:
    return resolve(Cursor(expression), Known())


def is_true(condition: dict[str, Any]) -> bool:
    return holds(Cursor(condition), Known())


def test_expressions_are_resolved_wherever_they_stand() -> None:
    value = {"a": [get("Parameters.Epochs"), {"b": get("Execution.PipelineExecutionId")}], "c": 1}
    assert value_of(value) == {"a": [3, {"b": "<PipelineExecutionId>"}], "c": 1}


def test_a_property_keeps_its_path() -> None:
    expression = get("Steps.Train.FinalMetricDataList['validation:accuracy'].Value")
    assert value_of(expression) == "Train/FinalMetricDataList['validation:accuracy'].Value"


def test_join_writes_numbers_and_booleans_as_sagemaker_does() -> None:
    values = [get("Parameters.Epochs"), get("Parameters.Rate"), get("Parameters.Flag"), "x", 0.5]
    assert value_of(join(*values, on=",")) == "3,1e-05,true,x,0.5"


def test_a_join_may_stand_in_a_join() -> None:
    assert value_of(join("a", join("b", get("Parameters.Name"), on="-"))) == "a/b-x"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("gate.passed", 1),
        ("$.gate.message", "good"),
        ("figures[1].value", 0.25),
        ("figures['accuracy'].value", 0.5),
        ("gate['odd key']", 2),
        ('gate["message"]', "good"),
    ],
)
def test_json_get_reads_the_paths_that_sagemaker_does(path: str, value: object) -> None:
    assert value_of(json_get("Evaluate", "evaluation", path)) == value


def test_json_get_reads_a_document_by_its_address() -> None:
    expression = {"Std:JsonGet": {"S3Uri": join("s3://bucket", "x.json"), "Path": "a.b"}}
    assert value_of(expression) == "s3://bucket/x.json#a.b"


@pytest.mark.parametrize("path", ["a..b", "a[*]", "a[?(@.b)]", "", "$", "a b"])
def test_more_of_json_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        parse_path(path)


def test_references_are_found_at_any_depth() -> None:
    value = {"a": [join(get("Parameters.Name"), get("Steps.Train.TrainingJobName"))],
             "b": json_get("Evaluate", "evaluation", "x"), "c": 1}  # fmt: skip
    found = [(r.kind, r.step, r.name, r.path) for r in references(Cursor(value))]
    assert found == [
        ("parameter", "", "Name", "$.a[0]['Std:Join'].Values[0]"),
        ("property", "Train", "TrainingJobName", "$.a[0]['Std:Join'].Values[1]"),
        ("file", "Evaluate", "evaluation", "$.b['Std:JsonGet'].PropertyFile"),
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"Std:Sum": [1]}, "$.x: function Std:Sum is not known"),
        (get("Nonsense.X"), "$.x: Nonsense.X is not a reference"),
        (get("Parameters"), "$.x: Parameters is not a reference"),
        (get("Execution.Weather"), "$.x: Execution.Weather is not known"),
        (get("Steps.A.b[*]"), "$.x: path 'b[*]' cannot be read"),
        ({"Get": 3}, "$.x.Get: expected a text, found a number."),
        ({"Std:Join": {"On": "/"}}, "$.x['Std:Join']: Values is missing."),
        (join(1)["Std:Join"] | {"Values": "a"}, None),
        (json_get("A", "f", "a[*]"), "$.x['Std:JsonGet'].Path: path 'a[*]'"),
        (
            {"Std:JsonGet": {"PropertyFile": get("Steps.A.b"), "Path": "a"}},
            "$.x['Std:JsonGet'].PropertyFile: a property file is referred to as",
        ),
        (
            {"Std:JsonGet": {"PropertyFile": "A", "Path": "a"}},
            "$.x['Std:JsonGet'].PropertyFile: expected a Get expression.",
        ),
    ],
)
def test_malformed_expressions_are_refused_with_their_path(
    expression: object, message: str | None
) -> None:
    if message is None:  # no function, so an ordinary object
        assert list(references(Cursor({"x": expression}))) == []
        return
    with pytest.raises(DefinitionError) as raised:
        list(references(Cursor({"x": expression})))
    assert str(raised.value).startswith(message)


def test_a_property_file_is_no_value() -> None:
    with pytest.raises(DefinitionError, match="can only be read with Std:JsonGet"):
        value_of(get("Steps.A.PropertyFiles.evaluation"))


def test_a_missing_piece_is_named() -> None:
    with pytest.raises(LookupError, match="'lost' is missing"):
        value_of(json_get("Evaluate", "evaluation", "gate.lost.more"))


@pytest.mark.parametrize(
    ("kind", "left", "right", "expected"),
    [
        ("Equals", 1, 1.0, True),
        ("Equals", "a", "b", False),
        ("Equals", True, True, True),
        ("GreaterThan", 2, 1, True),
        ("GreaterThan", 1, 1, False),
        ("GreaterThanOrEqualTo", 1, 1, True),
        ("LessThan", "a", "b", True),
        ("LessThan", 1, 1, False),
        ("LessThanOrEqualTo", 0.5, 1, True),
        ("LessThanOrEqualTo", get("Parameters.Epochs"), 2, False),
    ],
)
def test_comparisons(kind: str, left: object, right: object, expected: bool) -> None:
    assert is_true(compare(kind, left, right)) is expected


def test_in_not_and_or() -> None:
    yes, no = compare("Equals", 1, 1), compare("Equals", 1, 2)
    member = {"Type": "In", "QueryValue": get("Parameters.Name"), "Values": ["y", 1, "x"]}
    assert is_true(member)
    assert not is_true({**member, "Values": ["y", 1]})
    assert is_true({"Type": "Not", "Condition": no})
    assert is_true({"Type": "Or", "Conditions": [no, yes]})
    assert not is_true({"Type": "Or", "Conditions": [no, no]})


@pytest.mark.parametrize(
    ("kind", "left", "right", "message"),
    [
        ("Equals", "1", 1, "'1' and 1 are of different types"),
        ("LessThan", True, 1, "True and 1 are of different types"),
        ("LessThan", True, False, "True and False have no order"),
        ("GreaterThan", [1], [0], "have no order"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    kind: str, left: object, right: object, message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        is_true(compare(kind, left, right))
