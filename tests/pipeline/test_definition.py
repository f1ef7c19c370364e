"""The definition: what is deployed, checked against AWS's own service model."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from pipeline.definition import METRICS, build_definition, definition_json
from pipeline.local.definition import parse_definition
from pipeline.parameters import parameters
from pipeline.settings import Settings

SHIPPED = ("local", "dev", "staging", "prod")
STEPS = [
    "PrepareData",
    "TrainModel",
    "EvaluateModel",
    "CheckQuality",
    "RegisterModel",
    "CompileModel",
    "CheckParity",
    "PackageComponent",
    "ParityGateClosed",
    "QualityGateClosed",
]
REQUESTS = {"Processing": "CreateProcessingJob", "Training": "CreateTrainingJob"}


def steps_of(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every step, those inside gates included, in the order of the definition."""
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from steps_of(step["Arguments"]["IfSteps"])
            yield from steps_of(step["Arguments"]["ElseSteps"])


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside ``value``."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def resolved(value: Any, given: dict[str, Any]) -> Any:
    """``value`` with parameters replaced by their defaults, other expressions by samples."""
    if isinstance(value, list):
        return [resolved(item, given) for item in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        path = value["Get"]
        if path.startswith("Parameters."):
            return given[path.removeprefix("Parameters.")]
        return "exec0123456789" if path.startswith("Execution.") else "s3://bucket/key"
    if "Std:Join" in value:
        join = value["Std:Join"]
        return join["On"].join(str(resolved(item, given)) for item in join["Values"])
    return {key: resolved(item, given) for key, item in value.items()}


@pytest.fixture(scope="module")
def definitions() -> dict[str, dict[str, Any]]:
    return {name: build_definition(Settings.load(name)) for name in SHIPPED}


@pytest.fixture(scope="module")
def local(definitions: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The steps of the local definition, by name."""
    return {step["Name"]: step for step in steps_of(definitions["local"]["Steps"])}


@pytest.fixture(scope="module")
def sagemaker_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"))


def test_the_pipeline_reads_prepare_train_evaluate_gate_register_compile_gate_package(definitions):
    for definition in definitions.values():
        assert [step["Name"] for step in steps_of(definition["Steps"])] == STEPS


def test_the_runner_for_one_machine_takes_every_environments_definition(definitions):
    for definition in definitions.values():
        assert [*parse_definition(definition).steps] == STEPS


def test_every_step_has_a_title_and_a_description(local):
    for step in local.values():
        assert 3 <= len(step["DisplayName"]) <= 256
        assert step["Description"].endswith(".")


@pytest.mark.infra
@pytest.mark.parametrize("environment", SHIPPED)
def test_every_jobs_arguments_are_what_the_service_takes(definitions, environment, sagemaker_model):
    definition = definitions[environment]
    given = {p["Name"]: p["DefaultValue"] for p in definition["Parameters"]}
    checked = 0
    for step in steps_of(definition["Steps"]):
        operation = REQUESTS.get(step["Type"])
        if operation is None:
            continue
        kind = step["Type"]
        request = {f"{kind}JobName": "a-job", **resolved(step["Arguments"], given)}
        shape = sagemaker_model.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), f"{step['Name']}: {report.generate_report()}"
        checked += 1
    assert checked == 6


@pytest.mark.infra
def test_every_choice_is_one_that_the_service_knows(sagemaker_model):
    shapes = {
        "ProcessingInstanceType": "ProcessingInstanceType",
        "TrainingInstanceType": "TrainingInstanceType",
        "NeoTarget": "TargetDevice",
        "ModelApprovalStatus": "ModelApprovalStatus",
    }
    by_name = {p.name: p for p in parameters(Settings.load("local"))}
    for name, shape in shapes.items():
        known = {*sagemaker_model.shape_for(shape).enum, "none"}
        assert set(by_name[name].choices) <= known


@pytest.mark.infra
def test_the_definition_is_taken_inline(definitions, sagemaker_model):
    limit = 100_000  # bytes; CreatePipeline needs an S3 location beyond about that
    for definition in definitions.values():
        body = json.dumps(definition)
        assert len(body.encode()) < limit
        request = {
            "PipelineName": "slm-edge",
            "PipelineDefinition": body,
            "RoleArn": "arn:aws:iam::000000000000:role/slm-edge",
            "ClientRequestToken": "0" * 32,
        }
        shape = sagemaker_model.operation_model("CreatePipeline").input_shape
        assert not ParamValidator().validate(request, shape).has_errors()


def test_the_same_settings_give_the_same_bytes_in_any_process(tmp_path: Path, repository: Path):
    program = (
        "import sys; from pipeline.settings import Settings; "
        "from pipeline.definition import definition_json; "
        "sys.stdout.write(definition_json(Settings.load('local')))"
    )
    environment = {
        **os.environ,
        "HOME": str(tmp_path),  # no AWS configuration, no SDK defaults
        "PYTHONHASHSEED": "7",
        "AWS_PROFILE": "does-not-exist",
    }
    environment.pop("AWS_DEFAULT_REGION", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == definition_json(Settings.load("local"))
    assert done.stderr == ""


def test_building_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    before = dict(os.environ), logging.root.manager.disable, boto3.DEFAULT_SESSION
    build_definition(Settings.load("dev"))
    assert (dict(os.environ), logging.root.manager.disable, boto3.DEFAULT_SESSION) == before
    assert capfd.readouterr() == ("", "")


def test_building_sends_nothing(monkeypatch: pytest.MonkeyPatch):
    started: list[str] = []
    start = threading.Thread.start

    def count(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", count)  # telemetry leaves in a thread
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda *_: pytest.fail("sent"))
    build_definition(Settings.load("local"))
    assert started == []


@pytest.mark.infra
def test_every_volume_output_and_wire_is_encrypted(definitions):
    for name, definition in definitions.items():
        key = Settings.load(name).kms_key_arn
        for step in steps_of(definition["Steps"]):
            arguments = step["Arguments"]
            if step["Type"] == "Processing":
                assert arguments["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == key
                assert arguments["ProcessingOutputConfig"]["KmsKeyId"] == key
                assert arguments["NetworkConfig"]["EnableInterContainerTrafficEncryption"] is True
            elif step["Type"] == "Training":
                assert arguments["ResourceConfig"]["VolumeKmsKeyId"] == key
                assert arguments["OutputDataConfig"]["KmsKeyId"] == key
                assert arguments["EnableInterContainerTrafficEncryption"] is True


def test_a_job_that_uploads_by_itself_is_told_the_key_and_no_other_is(local):
    told = {
        name
        for name, step in local.items()
        if "SLM_KMS_KEY" in step.get("Arguments", {}).get("Environment", {})
    }
    assert told == {"EvaluateModel", "RegisterModel", "CompileModel"}


def test_each_job_has_the_role_of_its_kind(local):
    kinds = {
        name: step["Arguments"]["RoleArn"].rpartition("-")[2]
        for name, step in local.items()
        if "RoleArn" in step.get("Arguments", {})
    }
    assert kinds == {
        "PrepareData": "processing",
        "TrainModel": "training",
        "EvaluateModel": "processing",
        "RegisterModel": "registration",
        "CompileModel": "registration",
        "PackageComponent": "processing",
    }


def test_training_is_on_spot_capacity_with_checkpoints_of_its_own_execution(local):
    arguments = local["TrainModel"]["Arguments"]
    assert arguments["EnableManagedSpotTraining"] is True
    stopping = arguments["StoppingCondition"]
    assert stopping["MaxWaitTimeInSeconds"] >= stopping["MaxRuntimeInSeconds"]
    place = arguments["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"]
    assert {"Get": "Execution.PipelineExecutionId"} in place


def test_without_spot_there_is_no_waiting_time():
    settings = Settings.load("dev").model_dump()
    settings["training"]["spot"] = False
    definition = build_definition(Settings.of(settings))
    train = next(step for step in definition["Steps"] if step["Name"] == "TrainModel")
    assert "MaxWaitTimeInSeconds" not in train["Arguments"]["StoppingCondition"]


def test_every_job_is_tagged_cached_and_retried(local):
    for step in local.values():
        if step["Type"] not in REQUESTS:
            continue
        assert {"Key": "environment", "Value": "local"} in step["Arguments"]["Tags"]
        assert step["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P30D"}
        types = [kind for policy in step["RetryPolicies"] for kind in policy["ExceptionType"]]
        assert {"Step.THROTTLING", "SageMaker.CAPACITY_ERROR"} <= set(types)


def test_every_job_knows_its_environment_which_its_log_lines_say(definitions):
    for name in ("dev", "prod"):
        for step in steps_of(definitions[name]["Steps"]):
            if step["Type"] in REQUESTS:
                assert step["Arguments"]["Environment"]["SLM_ENVIRONMENT"] == name


def test_nothing_that_the_cache_compares_names_the_execution_except_checkpoints(local):
    """Else no step could ever be reused on AWS; see docs/decisions/0003."""
    for step in local.values():
        if step["Type"] not in REQUESTS:
            continue
        compared = ("AppSpecification", "Environment", "ProcessingInputs", "HyperParameters",
                    "AlgorithmSpecification", "InputDataConfig")  # fmt: skip
        part = {key: step["Arguments"].get(key) for key in compared}
        assert "Execution." not in json.dumps(part), step["Name"]


def test_jobs_that_call_no_aws_api_have_no_network_where_the_environment_says_so(definitions):
    isolated = {
        step["Name"]
        for step in steps_of(definitions["prod"]["Steps"])
        if step["Arguments"].get("EnableNetworkIsolation")
        or step["Arguments"].get("NetworkConfig", {}).get("EnableNetworkIsolation")
    }
    assert isolated == {"PrepareData", "TrainModel"}


def test_a_network_of_ones_own_and_a_base_model_in_s3_reach_every_job_that_needs_them():
    settings = Settings.of(
        {
            **Settings.load("staging").model_dump(),
            "network": {"subnets": ["subnet-0a"], "security_groups": ["sg-0b"]},
            "base_model_uri": "s3://models/minilm",
        }
    )
    steps = {step["Name"]: step for step in steps_of(build_definition(settings)["Steps"])}
    for step in steps.values():
        arguments = step["Arguments"]
        if step["Type"] == "Processing":
            assert arguments["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0a"]
        if step["Type"] == "Training":
            assert arguments["VpcConfig"]["SecurityGroupIds"] == ["sg-0b"]
    raw, base = steps["PrepareData"]["Arguments"]["ProcessingInputs"]
    assert (raw["InputName"], base["InputName"]) == ("raw", "base-model")
    assert base["S3Input"]["S3Uri"] == "s3://models/minilm"
    channels = steps["TrainModel"]["Arguments"]["InputDataConfig"]
    assert [channel["ChannelName"] for channel in channels] == ["prepared", "base-model"]


@pytest.mark.parametrize(
    ("step", "inputs", "output"),
    [
        ("PrepareData", ["raw"], "prepared"),
        ("EvaluateModel", ["model", "prepared"], "evaluation"),
        ("RegisterModel", ["model", "evaluation", "prepared"], "registration"),
        ("CompileModel", ["model", "prepared", "evaluation", "registration"], "compiled"),
        ("PackageComponent", ["compiled", "registration"], "package"),
    ],
)
def test_inputs_and_outputs_are_mounted_where_the_steps_look(local, step, inputs, output):
    arguments = local[step]["Arguments"]
    mounted = [item["S3Input"]["LocalPath"] for item in arguments["ProcessingInputs"]]
    assert mounted == [f"/opt/ml/processing/input/{name}" for name in inputs]
    (uploaded,) = arguments["ProcessingOutputConfig"]["Outputs"]
    assert uploaded["S3Output"]["LocalPath"] == f"/opt/ml/processing/output/{output}"
    assert uploaded["S3Output"]["S3Uri"]["Std:Join"]["Values"][1:] == [
        {"Get": "Execution.PipelineExecutionId"},
        step,
        output,
    ]


def test_the_gates_compare_figures_of_property_files_with_parameters(local):
    quality = local["CheckQuality"]["Arguments"]["Conditions"]
    assert [condition["Type"] for condition in quality] == [
        "GreaterThanOrEqualTo", "Or", "LessThanOrEqualTo", "GreaterThanOrEqualTo", "Or",
        "LessThanOrEqualTo",
    ]  # fmt: skip
    figures = [
        [part["LeftValue"]["Std:JsonGet"]["Path"] for part in condition["Conditions"]]
        for condition in quality
        if condition["Type"] == "Or"
    ]
    assert figures == [
        ["gate.out_of_scope_rows", "gate.out_of_scope_auroc"],
        ["gate.regression_cases", "gate.regression_pass_rate"],
    ]
    parity = local["CheckParity"]["Arguments"]["Conditions"]
    assert [condition["RightValue"]["Get"] for condition in parity] == [
        "Parameters.MaxAccuracyDrop", "Parameters.MinAgreement", "Parameters.MaxAurocDrop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "bounds"),
    [
        (
            "QualityGateClosed",
            [
                "MinAccuracy",
                "MinOutOfScopeAuroc",
                "MaxCalibrationError",
                "MinChampionPValue",
                "MinRegressionPassRate",
                "MaxLostIntents",
            ],
        ),
        ("ParityGateClosed", ["MaxAccuracyDrop", "MinAgreement", "MaxAurocDrop"]),
    ],
)
def test_a_closed_gate_names_figures_and_bounds(local, step, bounds):
    values = local[step]["Arguments"]["ErrorMessage"]["Std:Join"]["Values"]
    assert [value for value in values if isinstance(value, dict) and "Std:JsonGet" in value]
    for bound in bounds:
        assert {"Get": f"Parameters.{bound}"} in values


def test_every_reference_leads_to_a_step_a_file_or_a_parameter(definitions):
    for definition in definitions.values():
        steps = {step["Name"]: step for step in steps_of(definition["Steps"])}
        names = {parameter["Name"] for parameter in definition["Parameters"]}
        for item in walk(definition["Steps"]):
            path = item.get("Get", "").split(".")
            if path[0] == "Parameters":
                assert path[1] in names
            if path[0] == "Steps" and path[2] == "PropertyFiles":
                files = steps[path[1]]["PropertyFiles"]
                assert path[3] in [file["PropertyFileName"] for file in files]
            elif path[0] == "Steps":
                assert path[1] in steps


def test_every_parameter_is_used_and_typed(definitions):
    kinds = {str: "String", int: "Integer", float: "Float"}
    text = json.dumps(definitions["local"]["Steps"])
    for parameter in definitions["local"]["Parameters"]:
        assert f'"Parameters.{parameter["Name"]}"' in text
        assert parameter["Type"] == kinds[type(parameter["DefaultValue"])]
        assert parameter["DefaultValue"] in parameter.get("EnumValues", [parameter["DefaultValue"]])


def test_params_json_holds_the_defaults_in_the_format_of_the_aws_command_line(repository: Path):
    given = json.loads((repository / "pipeline" / "params.json").read_text())
    defaults = {p.name: p.default for p in parameters(Settings.load("local"))}
    del defaults["InputData"]  # a snapshot of the data has no default worth writing down
    assert [set(entry) for entry in given] == [{"Name", "Value"}] * len(given)
    assert {entry["Name"]: entry["Value"] for entry in given} == {
        name: str(value) for name, value in defaults.items()
    }


def test_the_metric_definitions_parse_what_training_prints():
    import re

    lines = (
        "step=120 epoch=1.50 train_loss=0.1234 learning_rate=0.00093\n"
        "validation_accuracy=0.9612 validation_loss=2.1e-05 out_of_scope_auroc=0.9811"
    )
    found = {name: float(re.findall(regex, lines)[0]) for name, regex in METRICS.items()}
    assert found == {
        "train:loss": 0.1234,
        "train:learning_rate": 0.00093,
        "validation:accuracy": 0.9612,
        "validation:loss": 2.1e-05,
        "validation:out_of_scope_auroc": 0.9811,
    }


def test_defaults_agree_with_those_of_the_training_step():
    import dataclasses

    from steps.train.config import TrainingConfig

    theirs = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}
    ours = {p.name: p.default for p in parameters(Settings.load("local"))}
    pairs = {
        "BaseModel": "base_model",
        "FineTuning": "fine_tuning",
        "Epochs": "epochs",
        "LearningRate": "learning_rate",
        "BatchSize": "batch_size",
        "LoraRank": "lora_rank",
        "MaxLength": "max_length",
        "Seed": "seed",
    }
    assert {name: ours[name] for name in pairs} == {n: theirs[key] for n, key in pairs.items()}


def test_defaults_of_the_quality_gate_agree_with_those_of_the_evaluation_step():
    from steps.evaluate.config import SHARES, EvaluationConfig, parameter_name

    theirs = EvaluationConfig()
    ours = {p.name: p.default for p in parameters(Settings.load("local"))}
    for key in SHARES:
        name = next(name for name in ours if name.lower() == parameter_name(key).lower())
        assert ours[name] == getattr(theirs, key), name
    assert ours["MaxLostIntents"] == theirs.max_lost_intents
