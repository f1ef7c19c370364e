"""The drift check's definition: what is deployed, checked against AWS's own service model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from pipeline.drift_definition import build_definition, parameters
from pipeline.local.definition import parse_definition
from pipeline.settings import Settings
from tests.pipeline.test_definition import resolved

SETTINGS = Settings.load("dev")


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    return build_definition(SETTINGS)


@pytest.fixture(scope="module")
def step(definition: dict[str, Any]) -> dict[str, Any]:
    (step,) = definition["Steps"]
    return step


@pytest.fixture(scope="module")
def request_(definition: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """What CreateProcessingJob is sent, every parameter at its default."""
    given = {p["Name"]: p["DefaultValue"] for p in definition["Parameters"]}
    return resolved(step["Arguments"], given)


def test_the_pipeline_is_one_processing_step_that_the_runner_takes(
    definition: dict[str, Any], step: dict[str, Any]
) -> None:
    assert [*parse_definition(definition).steps] == ["CheckDrift"]
    assert step["Type"] == "Processing"
    assert step["PropertyFiles"] == [
        {"PropertyFileName": "drift", "OutputName": "drift", "FilePath": "drift.json"}
    ]


def test_the_job_reads_the_devices_windows_and_their_references(
    request_: dict[str, Any],
) -> None:
    words = request_["AppSpecification"]["ContainerArguments"]
    arguments = dict(zip(words[::2], words[1::2], strict=True))
    assert request_["AppSpecification"]["ContainerEntrypoint"] == ["python", "-m", "steps.drift"]
    assert arguments["--windows"] == f"s3://{SETTINGS.processed_bucket}/telemetry"
    assert arguments["--references"] == f"s3://{SETTINGS.deployments_bucket}/references"
    assert arguments["--until"] == "now"
    assert "ProcessingInputs" not in request_


def test_the_steps_defaults_are_the_pipelines() -> None:
    from steps.drift.__main__ import parse

    shipped = {p.name: p.default for p in parameters(SETTINGS)}
    alone = parse(["--windows", "w", "--references", "r"])
    assert alone.component == SETTINGS.component_name
    assert (alone.until, alone.period_hours, alone.periods) == (
        shipped["Until"],
        shipped["PeriodHours"],
        shipped["Periods"],
    )
    assert (alone.min_utterances, alone.min_devices) == (
        shipped["MinUtterances"],
        shipped["MinDevices"],
    )


def test_the_job_has_a_role_of_its_own_and_encrypts_everything(
    request_: dict[str, Any],
) -> None:
    assert request_["RoleArn"] == SETTINGS.role_arn("drift")
    cluster = request_["ProcessingResources"]["ClusterConfig"]
    assert cluster["VolumeKmsKeyId"] == SETTINGS.kms_key_arn
    assert request_["ProcessingOutputConfig"]["KmsKeyId"] == SETTINGS.kms_key_arn
    network = request_["NetworkConfig"]
    assert network["EnableInterContainerTrafficEncryption"] is True
    assert network["EnableNetworkIsolation"] is False  # it calls S3, CloudWatch and EventBridge


def test_the_job_is_told_whom_to_tell(request_: dict[str, Any]) -> None:
    place = f"s3://{SETTINGS.pipeline_bucket}/executions/exec0123456789/CheckDrift/drift"
    (output,) = request_["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == place
    assert request_["Environment"] == {
        "SLM_ENVIRONMENT": "dev",
        "SLM_PIPELINE": "slm-edge-dev",
        "SLM_MODEL_PACKAGE_GROUP": "slm-edge-dev-intents",
        "SLM_METRIC_NAMESPACE": "slm-edge/dev",
        "SLM_REPORT": f"{place}/drift.html",
    }


def test_a_check_is_never_reused_and_is_tried_again_after_faults(step: dict[str, Any]) -> None:
    assert "CacheConfig" not in step
    assert len(step["RetryPolicies"]) == 3


def test_the_request_is_one_that_the_service_takes(request_: dict[str, Any]) -> None:
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    shape = model.operation_model("CreateProcessingJob").input_shape
    request = {**request_, "ProcessingJobName": "pipelines-exec0123456789-CheckDrift-x"}
    assert not ParamValidator().validate(request, shape).has_errors()


def test_the_same_settings_give_the_same_bytes(definition: dict[str, Any]) -> None:
    again = build_definition(Settings.load("dev"))
    assert json.dumps(again, sort_keys=True) == json.dumps(definition, sort_keys=True)
    assert "111111111111" in json.dumps(definition)
    assert "000000000000" not in json.dumps(definition)
