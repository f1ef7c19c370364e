"""A definition is refused, with the path of the offending element, before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pipeline.local.definition import parse_definition
from pipeline.local.errors import DefinitionError, UsageError
from pipeline.local.parameters import Parameter, bind_parameters
from pipeline.local.run import RunOptions
from tests.pipeline.local.workshop import (
    Workshop,
    compare,
    condition,
    definition,
    fail,
    get,
    join,
    json_get,
    output_of,
    parameter,
    processing,
    training,
)

FILE = {"PropertyFileName": "gate", "OutputName": "made", "FilePath": "gate.json"}


def good() -> dict[str, Any]:
    return definition(
        processing("Make", outputs=["made"], PropertyFiles=[FILE]),
        training("Train", channels={"made": output_of("Make", "made")}, metrics={"a": "a=(.*)"}),
        condition(
            "Check",
            [compare("Equals", json_get("Make", "gate", "passed"), 1)],
            [processing("Use", inputs={"model": get(
                "Steps.Train.ModelArtifacts.S3ModelArtifacts")})],
            [fail("Closed", json_get("Make", "gate", "message"))],
        ),
        parameters=[parameter("Data", default="s3://data-bucket/raw")],
    )  # fmt: skip


def set_at(*keys: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        target: Any = document
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = to

    return change


def test_a_good_definition_knows_what_waits_for_what() -> None:
    steps = parse_definition(good()).steps
    assert {name: set(step.depends_on) for name, step in steps.items()} == {
        "Make": set(),
        "Train": {"Make"},
        "Check": {"Make"},
        "Use": {"Check", "Train"},
        "Closed": {"Check", "Make"},
    }
    assert steps["Use"].branch == ("Check", True)
    assert steps["Closed"].branch == ("Check", False)


ARGUMENTS = ("Steps", 0, "Arguments")
CONDITION = ("Steps", 2, "Arguments", "Conditions", 0)
REFUSED = {
    "version": (
        set_at("Version", to="2019-01-01"),
        "$.Version: version 2019-01-01 is not known",
    ),
    "no version": (set_at("Version", to=None), "$: Version is missing."),
    "no steps": (set_at("Steps", to=[]), "$.Steps: the pipeline has no steps."),
    "steps are no list": (set_at("Steps", to={}), "$.Steps: expected a list, found an object."),
    "step type": (
        set_at("Steps", 0, "Type", to="Lambda"),
        "$.Steps[0].Type: step type Lambda is not known",
    ),
    "nested step type": (
        set_at("Steps", 2, "Arguments", "IfSteps", 0, "Type", to="EMR"),
        "$.Steps[2].Arguments.IfSteps[0].Type: step type EMR is not known",
    ),
    "step name": (
        set_at("Steps", 0, "Name", to="../x"),
        "$.Steps[0].Name: '../x' is not a step name",
    ),
    "duplicate name": (
        set_at("Steps", 1, "Name", to="Make"),
        "$.Steps[1]: the name Make is used by two steps.",
    ),
    "duplicate parameter": (
        set_at("Parameters", to=[parameter("A", default="a"), parameter("A", default="a")]),
        "$.Parameters[1].Name: the name A is used by two parameters.",
    ),
    "parameter type": (
        set_at("Parameters", to=[parameter("A", "Date")]),
        "$.Parameters[0].Type: parameter type Date is not known",
    ),
    "default": (
        set_at("Parameters", to=[parameter("A", "Integer", "many")]),
        "$.Parameters[0].DefaultValue: Parameter A is an Integer, and 'many' is not.",
    ),
    "default not among the choices": (
        set_at("Parameters", to=[parameter("A", default="c", EnumValues=["a", "b"])]),
        "$.Parameters[0].DefaultValue: Parameter A is one of a, b, and 'c' is not.",
    ),
    "unknown parameter": (
        set_at(*ARGUMENTS, "Environment", to={"A": get("Parameters.Nope")}),
        "$.Steps[0].Arguments.Environment.A: there is no parameter Nope.",
    ),
    "unknown function": (
        set_at(*ARGUMENTS, "Environment", to={"A": {"Std:Split": []}}),
        "$.Steps[0].Arguments.Environment.A: function Std:Split is not known",
    ),
    "unknown step": (
        set_at(*ARGUMENTS, "Environment", to={"A": get("Steps.Gone.ProcessingJobName")}),
        "$.Steps[0].Arguments.Environment.A: there is no step Gone.",
    ),
    "unknown property": (
        set_at("Steps", 1, "Arguments", "Environment", to={"A": output_of("Make", "lost")}),
        "$.Steps[1].Arguments.Environment.A: step Make has no property",
    ),
    "property of a Fail step": (
        set_at(*ARGUMENTS, "Environment", to={"A": get("Steps.Closed.ErrorMessage")}),
        "$.Steps[0].Arguments.Environment.A: step Closed has no property ErrorMessage.",
    ),
    "unknown metric": (
        set_at(*CONDITION, "LeftValue", to=get("Steps.Train.FinalMetricDataList['b'].Value")),
        "$.Steps[2].Arguments.Conditions[0].LeftValue: step Train has no property",
    ),
    "unknown property file": (
        set_at(*CONDITION, "LeftValue", to=json_get("Make", "lost", "a")),
        "$.Steps[2].Arguments.Conditions[0].LeftValue['Std:JsonGet'].PropertyFile: "
        "step Make has no property file lost.",
    ),
    "property file of an unknown output": (
        set_at("Steps", 0, "PropertyFiles", 0, "OutputName", to="lost"),
        "$.Steps[0].PropertyFiles[0].OutputName: step Make has no output lost.",
    ),
    "dangling DependsOn": (
        set_at("Steps", 0, "DependsOn", to=["Ghost"]),
        "$.Steps[0].DependsOn: there is no step Ghost.",
    ),
    "another trigger": (
        set_at("Steps", 1, "DependsOn", to=[{"Step": "Make", "Trigger": "Failed"}]),
        "$.Steps[1].DependsOn[0].Trigger: only Completed is supported",
    ),
    "unknown condition": (
        set_at(*CONDITION, "Type", to="Roughly"),
        "$.Steps[2].Arguments.Conditions[0].Type: condition Roughly is not known",
    ),
    "cycle": (
        set_at("Steps", 0, "DependsOn", to=["Train"]),
        "$.Steps[0]: the steps wait for each other: Make -> Train -> Make.",
    ),
    "cycle through a condition": (
        set_at("Steps", 2, "DependsOn", to=["Use"]),
        "$.Steps[2]: the steps wait for each other: Check -> Use -> Check.",
    ),
    "duration": (
        set_at("Steps", 0, "CacheConfig", to={"Enabled": True, "ExpireAfter": "a week"}),
        "$.Steps[0].CacheConfig.ExpireAfter: 'a week' is not an ISO 8601 duration",
    ),
    "exception type": (
        set_at("Steps", 0, "RetryPolicies", to=[{"ExceptionType": ["Bad.LUCK"]}]),
        "$.Steps[0].RetryPolicies[0].ExceptionType[0]: Bad.LUCK is not known",
    ),
    "endless retries": (
        set_at("Steps", 0, "RetryPolicies", to=[{"ExceptionType": ["Step.THROTTLING"]}]),
        "$.Steps[0].RetryPolicies[0]: a retry policy needs MaxAttempts or ExpireAfterMin.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_element_is_named(name: str) -> None:
    change, message = REFUSED[name]
    document = good()
    change(document)
    with pytest.raises(DefinitionError) as raised:
        parse_definition(document)
    assert str(raised.value).startswith(message)


OUTPUT = (*ARGUMENTS, "ProcessingOutputConfig", "Outputs", 0)
CHANNEL = ("Steps", 1, "Arguments", "InputDataConfig", 0)
TRAINING = ("Steps", 1, "Arguments")
IMPOSSIBLE = {
    "no entrypoint": (
        set_at(*ARGUMENTS, "AppSpecification", "ContainerEntrypoint", to=None),
        "$.Steps[0].Arguments: ContainerEntrypoint is missing",
    ),
    "no image": (
        set_at(*ARGUMENTS, "AppSpecification", "ImageUri", to=""),
        "$.Steps[0].Arguments.AppSpecification.ImageUri: expected a text, found an empty text.",
    ),
    "outside /opt/ml": (
        set_at(*OUTPUT, "S3Output", "LocalPath", to="/etc"),
        "$.Steps[0].Arguments.ProcessingOutputConfig.Outputs[0].S3Output.LocalPath: /etc does not",
    ),
    "above /opt/ml": (
        set_at(*OUTPUT, "S3Output", "LocalPath", to="/opt/ml/../x"),
        "$.Steps[0].Arguments.ProcessingOutputConfig.Outputs[0].S3Output.LocalPath: /opt/ml/../x",
    ),
    "address": (
        set_at(*OUTPUT, "S3Output", "S3Uri", to="/tmp/x"),
        "$.Steps[0].Arguments.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri: '/tmp/x' is not",
    ),
    "address above its bucket": (
        set_at(*OUTPUT, "S3Output", "S3Uri", to="s3://work-bucket/../other"),
        "$.Steps[0].Arguments.ProcessingOutputConfig.Outputs[0].S3Output.S3Uri: "
        "'s3://work-bucket/../other' is not accepted",
    ),
    "feature store output": (
        set_at(
            *("Steps", 2, "Arguments", "IfSteps", 0, "Arguments", "ProcessingOutputConfig"),
            to={"Outputs": [{"OutputName": "a"}]},
        ),
        "$.Steps[2].Arguments.IfSteps[0].Arguments.ProcessingOutputConfig.Outputs[0]: only S3Out",
    ),
    "dataset input": (
        set_at(*ARGUMENTS, "ProcessingInputs", to=[{"InputName": "a"}]),
        "$.Steps[0].Arguments.ProcessingInputs[0]: only S3Input is supported",
    ),
    "file system channel": (
        set_at(*CHANNEL, "DataSource", to={"FileSystemDataSource": {}}),
        "$.Steps[1].Arguments.InputDataConfig[0]: only S3DataSource is supported",
    ),
    "manifest": (
        set_at(*CHANNEL, "DataSource", "S3DataSource", "S3DataType", to="ManifestFile"),
        "$.Steps[1].Arguments.InputDataConfig[0].DataSource.S3DataSource.S3DataType: ManifestFile",
    ),
    "pipe mode": (
        set_at(*CHANNEL, "InputMode", to="Pipe"),
        "$.Steps[1].Arguments.InputDataConfig[0].InputMode: Pipe is not supported",
    ),
    "channel name": (
        set_at(*CHANNEL, "ChannelName", to="../x"),
        "$.Steps[1].Arguments.InputDataConfig[0].ChannelName: '../x' is not a channel name",
    ),
    "two instances": (
        set_at(*TRAINING, "ResourceConfig", "InstanceCount", to=2),
        "$.Steps[1].Arguments.ResourceConfig.InstanceCount: 2 instances were asked for",
    ),
    "regular expression": (
        set_at(*TRAINING, "AlgorithmSpecification", "MetricDefinitions", 0, "Regex", to="(a"),
        "$.Steps[1].Arguments.AlgorithmSpecification.MetricDefinitions[0].Regex: the regular",
    ),
    "regular expression without a group": (
        set_at(*TRAINING, "AlgorithmSpecification", "MetricDefinitions", 0, "Regex", to="a"),
        "$.Steps[1].Arguments.AlgorithmSpecification.MetricDefinitions[0].Regex: the regular",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_one_machine_cannot_do_is_refused_before_anything_starts(
    name: str, workshop: Workshop
) -> None:
    change, message = IMPOSSIBLE[name]
    document = good()
    change(document)
    with pytest.raises(DefinitionError) as raised:
        workshop.run(document)
    assert str(raised.value).startswith(message)
    assert not workshop.seen
    assert not workshop.home.exists()


def test_an_address_from_a_parameter_is_checked_with_its_value(workshop: Workshop) -> None:
    document = definition(
        processing("Make", inputs={"raw": get("Parameters.Data")}), parameters=[parameter("Data")]
    )
    with pytest.raises(DefinitionError, match=r"S3Uri: './data' is not an address"):
        workshop.run(document, parameters={"Data": "./data"})


DECLARED = {
    "Epochs": Parameter("Epochs", "Integer", 3, ()),
    "Rate": Parameter("Rate", "Float", 0.1, ()),
    "Fast": Parameter("Fast", "Boolean", False, ()),
    "Tuning": Parameter("Tuning", "String", "lora", ("lora", "full")),
}


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({}, {"Epochs": 3, "Rate": 0.1, "Fast": False, "Tuning": "lora"}),
        ({"Epochs": "5", "Rate": "1e-3"}, {"Epochs": 5, "Rate": 0.001}),
        ({"Epochs": 5, "Rate": 1}, {"Epochs": 5, "Rate": 1.0}),
        ({"Fast": "True"}, {"Fast": True}),
        ({"Fast": True, "Tuning": "full"}, {"Fast": True, "Tuning": "full"}),
    ],
)
def test_parameters_take_typed_values_and_texts(
    given: dict[str, object], bound: dict[str, object]
) -> None:
    values = bind_parameters(DECLARED, given)
    assert bound.items() <= values.items()
    assert {name: type(value) for name, value in values.items()} == {
        "Epochs": int, "Rate": float, "Fast": bool, "Tuning": str}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Epoch": 1}, "There is no parameter Epoch: did you mean Epochs?"),
        ({"Zzz": 1}, "There is no parameter Zzz: known are Epochs, Rate, Fast, Tuning."),
        ({"Epochs": "many"}, "Parameter Epochs is an Integer, and 'many' is not."),
        ({"Epochs": 1.5}, "Parameter Epochs is an Integer, and 1.5 is not."),
        ({"Epochs": True}, "Parameter Epochs is an Integer, and True is not."),
        ({"Rate": "nan"}, "Parameter Rate is a Float, and 'nan' is not."),
        ({"Rate": "x"}, "Parameter Rate is a Float, and 'x' is not."),
        ({"Rate": [1]}, "Parameter Rate is a Float, and [1] is not."),
        ({"Fast": "maybe"}, "Parameter Fast is a Boolean, and 'maybe' is not."),
        ({"Fast": 1}, "Parameter Fast is a Boolean, and 1 is not."),
        ({"Tuning": 1}, "Parameter Tuning is a String, and 1 is not."),
        ({"Tuning": "x"}, "Parameter Tuning is one of lora, full, and 'x' is not."),
    ],
)
def test_a_wrong_parameter_is_a_usage_error(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        bind_parameters(DECLARED, given)
    assert str(raised.value) == message


def test_a_parameter_without_default_has_to_be_given() -> None:
    with pytest.raises(UsageError, match="Parameter Data has no default: give it with --set"):
        bind_parameters({"Data": Parameter("Data", "String", None, ())}, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "vm"}, "Runtime vm is not known: use one of process, podman, docker."),
        ({"max_parallel": 0}, "0 jobs at a time cannot be"),
        ({"runtime": "podman"}, "podman is not installed"),
        ({"resume": "../../etc"}, "'../../etc' is not the id of an execution"),
        ({"resume": "a" * 12}, "There is no execution aaaaaaaaaaaa"),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    options: dict[str, Any], message: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(workshop.root))
    with pytest.raises(UsageError, match=message):
        workshop.run(good(), **options)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("P30D", timedelta(days=30)),
        ("p30d", timedelta(days=30)),
        ("P4DT12H", timedelta(days=4, hours=12)),
        ("T12H", timedelta(hours=12)),
        ("P1Y2M1W", timedelta(days=365 + 60 + 7)),
        ("PT30M5S", timedelta(minutes=30, seconds=5)),
    ],
)
def test_cache_ages_are_iso_durations(text: str, age: timedelta) -> None:
    step = processing("Make", CacheConfig={"Enabled": True, "ExpireAfter": text})
    assert parse_definition(definition(step)).steps["Make"].cache_age == age


def test_a_completed_trigger_is_an_ordinary_dependency() -> None:
    depends = [{"Step": "One", "Trigger": "Completed"}]
    document = definition(processing("One"), processing("Two", DependsOn=depends))
    assert parse_definition(document).steps["Two"].depends_on == {"One"}


def test_a_definition_is_not_changed_by_reading_it() -> None:
    document = good()
    before = copy.deepcopy(document)
    parse_definition(document)
    assert document == before


def test_a_reference_may_go_through_an_expression_and_a_condition() -> None:
    document = good()
    document["Steps"][0]["Arguments"]["Environment"] = {"A": join("a", "b")}
    document["Steps"][2]["Arguments"]["IfSteps"][0]["Arguments"]["Environment"] = {
        "A": get("Steps.Make.Environment.A"),
        "B": get("Steps.Check.Outcome"),
    }
    assert "Make" in parse_definition(document).steps["Use"].depends_on


def test_run_options_have_the_agreed_defaults(workshop: Workshop) -> None:
    options = RunOptions(home=workshop.home, parameters={}, source=workshop.source)
    assert (options.runtime, options.resume, options.endpoint_url) == ("process", None, None)
    assert options.max_parallel == 2
