"""The training stack: the pipeline as it is deployed, the model package group, and Studio."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from cdk.context import ContextError
from cdk.training import pipeline as construct
from cdk.training.pipeline import Definition
from pipeline import drift_definition
from pipeline.definition import build_definition
from pipeline.settings import Settings
from tests.cdk.conftest import INSTANCE, Synthesizer, changed
from tests.cdk.policies import Call, is_allowed, resolve
from tests.cdk.synthesized import KEY_ID, Synthesized

pytestmark = pytest.mark.infra

STUDIO = {"enabled": True, "vpc": "vpc-0a1b2c3d", "subnets": ["subnet-0a1b2c3d"]}


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


@pytest.fixture(scope="session")
def studio(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True, studio=STUDIO, identity={"instance_arn": INSTANCE})


def deployed(stacks: Synthesized, name: str | None = None) -> dict[str, Any]:
    """The definition as SageMaker gets it."""
    properties = resolve(stacks.pipeline(name), stacks.names)
    return json.loads(properties["PipelineDefinition"]["PipelineDefinitionBody"])


def with_tags(environment: str, size: int, **changes: Any) -> Settings:
    """Settings whose definition has about ``size`` bytes: tags stand in each of its six jobs."""
    tags = {f"tag-{number}": "x" * (size // 6 // 40) for number in range(40)}
    return changed(environment, {"tags": tags, **changes})


# The pipeline -----------------------------------------------------------------------------


def test_what_is_deployed_is_the_definition_but_for_images_and_key(whole: Synthesized) -> None:
    registry = "111111111111.dkr.ecr.eu-west-1.amazonaws.com/"
    built = registry + "cdk-hnb659fds-container-assets-111111111111-eu-west-1:"
    theirs = re.sub(f"{re.escape(built)}[0-9a-f]{{64}}", "IMAGE", json.dumps(deployed(whole)))
    ours = json.dumps(build_definition(whole.settings), sort_keys=True)
    ours = re.sub(f"{re.escape(registry)}slm-edge-dev/[a-z]+:latest", "IMAGE", ours)
    ours = ours.replace(f'"{whole.settings.kms_key_arn}"', f'"{whole.key_arn}"')
    assert theirs.count("IMAGE") == 6
    assert theirs == ours


def test_so_is_the_drift_check(whole: Synthesized) -> None:
    name = whole.settings.drift_pipeline_name
    theirs = json.dumps(deployed(whole, name))
    assert not re.search(r"slm-edge-dev/[a-z]+:latest|:alias/", theirs)
    ours = json.dumps(drift_definition.build_definition(whole.settings), sort_keys=True)
    ours = ours.replace(f'"{whole.settings.kms_key_arn}"', f'"{whole.key_arn}"')
    image = re.findall(r'"ImageUri": "([^"]+)"', theirs)
    assert len(image) == 1
    assert image[0] in json.dumps(deployed(whole))
    assert theirs.replace(image[0], whole.settings.processing_image) == ours
    assert whole.pipeline(name)["RoleArn"] == whole.settings.role_arn("pipeline")


def test_a_volume_is_encrypted_with_the_keys_arn_since_sagemaker_takes_no_alias(
    whole: Synthesized,
) -> None:
    text = json.dumps(deployed(whole))
    assert f"key/{KEY_ID}" in text
    # the only alias left is what signs, which KMS takes: it begins as the replaced one does
    aliases = set(re.findall(r'"([^"]*:alias/[^"]*)"', text))
    assert aliases == {whole.settings.signing_key_arn}


def test_the_pipeline_has_its_name_role_and_limit_on_parallel_steps(
    synthesized: Synthesizer,
) -> None:
    stacks = synthesized("dev", whole=True, max_parallel_steps=7)
    pipeline = stacks.pipeline()
    assert pipeline["PipelineName"] == "slm-edge-dev"
    assert pipeline["RoleArn"] == "arn:aws:iam::111111111111:role/slm-edge-dev-pipeline"
    assert pipeline["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 7}


def test_every_role_in_the_definition_is_one_that_the_roles_stack_makes(
    whole: Synthesized,
) -> None:
    made = {
        f"arn:aws:iam::111111111111:role/{role['Properties']['RoleName']}"
        for role in whole.resources("AWS::IAM::Role", "roles").values()
        if "RoleName" in role["Properties"]
    }
    used = set(_values(deployed(whole), "RoleArn"))
    assert used
    assert used <= made


def _values(node: Any, key: str) -> list[Any]:
    if isinstance(node, Mapping):
        here = [node[key]] if key in node else []
        return here + [found for value in node.values() for found in _values(value, key)]
    if isinstance(node, list):
        return [found for value in node for found in _values(value, key)]
    return []


def test_prebuilt_images_go_into_the_definition_as_they_are(tmp_path) -> None:
    from cdk.app import add_stacks, new_app
    from cdk.context import Request

    by_digest = {
        name: f"222222222222.dkr.ecr.eu-west-1.amazonaws.com/slm-edge-staging/{name}@sha256:"
        + digit * 64
        for name, digit in (("processing", "1"), ("training", "2"))
    }
    app = new_app(tmp_path)
    add_stacks(app, Request(changed("dev", {"images": by_digest}), "prebuilt"))
    app.synth()
    assets = json.loads((tmp_path / "slm-edge-dev-training.assets.json").read_text())
    template = (tmp_path / "slm-edge-dev-training.template.json").read_text()
    assert "dockerImages" not in assets or not assets["dockerImages"]
    for uri in by_digest.values():
        assert uri in template


def test_the_network_of_the_settings_reaches_every_job(synthesized: Synthesizer) -> None:
    network = {"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"], "isolated": True}
    stacks = synthesized("dev", whole=True, network=network)
    configurations = _values(deployed(stacks), "VpcConfig")
    assert len(configurations) == 6
    assert all(one["Subnets"] == ["subnet-0a1b2c3d"] for one in configurations)
    assert True in _values(deployed(stacks), "EnableNetworkIsolation")


# Its size ---------------------------------------------------------------------------------


def test_a_definition_that_fits_is_put_into_the_template(whole: Synthesized) -> None:
    definition = whole.pipeline()["PipelineDefinition"]
    assert list(definition) == ["PipelineDefinitionBody"]


def test_a_large_definition_goes_through_s3(synthesized: Synthesizer) -> None:
    settings = with_tags("dev", 150_000, kms_key=f"key/{KEY_ID}")
    stacks = synthesized("dev", whole=True, tags=settings.tags, kms_key=settings.kms_key)
    location = stacks.pipeline()["PipelineDefinition"]
    location = location["PipelineDefinitionS3Location"]
    uploaded = stacks.folder / f"asset.{location['Key']}"
    definition = json.loads(uploaded.read_text())
    assert location["Bucket"] == "cdk-hnb659fds-assets-111111111111-eu-west-1"
    assert definition["Steps"][0]["Name"] == "PrepareData"
    assert f"key/{KEY_ID}" in uploaded.read_text()


def test_a_large_definition_needs_the_keys_id_and_says_so() -> None:
    with pytest.raises(ContextError, match="goes through S3, where the key's alias") as error:
        Definition.of(with_tags("dev", 150_000))
    assert 'set kms_key = "key/<its id>"' in str(error.value)
    assert "\n" not in str(error.value)


def test_a_definition_beyond_sagemakers_limit_is_refused_in_one_sentence() -> None:
    with pytest.raises(ContextError, match="more than the 1048576 that SageMaker takes") as error:
        Definition.of(with_tags("dev", 1_200_000, kms_key=f"key/{KEY_ID}"))
    assert "\n" not in str(error.value)


def test_the_limit_is_the_one_of_sagemakers_api() -> None:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    create = model.operation_model("CreatePipeline").input_shape
    assert create.members["PipelineDefinition"].metadata["max"] == construct.MAX_DEFINITION


# Models -----------------------------------------------------------------------------------


def test_models_are_registered_in_a_group_that_outlives_the_stack_where_data_does(
    whole: Synthesized, synthesized: Synthesizer
) -> None:
    for stacks, policy in ((whole, "Delete"), (synthesized("prod", whole=True), "Retain")):
        [group] = stacks.resources("AWS::SageMaker::ModelPackageGroup").values()
        name = group["Properties"]["ModelPackageGroupName"]
        assert name == stacks.settings.model_package_group
        assert group["DeletionPolicy"] == policy


def test_everything_that_can_have_tags_has_those_of_the_environment(studio: Synthesized) -> None:
    untagged = {
        "AWS::Events::EventBusPolicy",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::Permission",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
    }
    for logical_id, resource in studio.templates["training"]["Resources"].items():
        if resource["Type"] in untagged:
            continue
        tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
        assert tags.items() >= studio.settings.all_tags.items(), logical_id


def test_every_role_of_the_stack_has_the_boundary(studio: Synthesized) -> None:
    roles = studio.resources("AWS::IAM::Role", "training")
    assert len(roles) == 2
    for role in roles.values():
        assert role["Properties"]["PermissionsBoundary"] == studio.settings.boundary_arn


# Studio -----------------------------------------------------------------------------------


def test_there_is_no_studio_unless_it_is_asked_for(whole: Synthesized) -> None:
    assert not whole.resources("AWS::SageMaker::Domain")
    assert not whole.resources("AWS::EC2::SecurityGroup")


def test_studio_stays_in_its_vpc_and_is_encrypted_with_our_key(studio: Synthesized) -> None:
    domain = resolve(
        {**studio.only("AWS::SageMaker::Domain"), "DefaultUserSettings": {}}
        | {"DefaultSpaceSettings": {}},
        studio.names,
    )
    assert domain["AppNetworkAccessType"] == "VpcOnly"
    assert (domain["VpcId"], domain["SubnetIds"]) == ("vpc-0a1b2c3d", ["subnet-0a1b2c3d"])
    assert domain["KmsKeyId"] == studio.key_arn


def test_people_come_into_studio_through_identity_center_where_there_is_one(
    studio: Synthesized, synthesized: Synthesizer
) -> None:
    assert studio.only("AWS::SageMaker::Domain")["AuthMode"] == "SSO"
    without = synthesized("dev", whole=True, studio=STUDIO)
    assert without.only("AWS::SageMaker::Domain")["AuthMode"] == "IAM"


def test_an_idle_notebook_stops(studio: Synthesized) -> None:
    user = studio.only("AWS::SageMaker::Domain")["DefaultUserSettings"]
    idle = user["JupyterLabAppSettings"]["AppLifecycleManagement"]["IdleSettings"]
    assert idle["LifecycleManagement"] == "ENABLED"
    assert idle["IdleTimeoutInMinutes"] <= 120


def test_studios_security_group_lets_nobody_in_but_itself(studio: Synthesized) -> None:
    group = studio.only("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]] == [
        (443, 443)
    ]
    for rule in studio.resources("AWS::EC2::SecurityGroupIngress").values():
        properties = rule["Properties"]
        assert properties["SourceSecurityGroupId"] == properties["GroupId"]
        assert "CidrIp" not in properties


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sagemaker:StartPipelineExecution", "pipeline/slm-edge-dev", True),
        ("sagemaker:StartPipelineExecution", "pipeline/somebody-elses", False),
        ("sagemaker:DescribePipelineExecution", "pipeline/slm-edge-dev/execution/abc", True),
        ("sagemaker:UpdatePipeline", "pipeline/slm-edge-dev", False),
        ("sagemaker:CreateTrainingJob", "training-job/pipelines-abc", False),
        ("sagemaker:UpdateModelPackage", "model-package/slm-edge-dev-intents/1", False),
    ],
)
def test_a_notebook_may_start_the_pipeline_and_change_nothing(
    studio: Synthesized, action: str, resource: str, allowed: bool
) -> None:
    call = Call(action, f"arn:aws:sagemaker:eu-west-1:111111111111:{resource}")
    statements = studio.statements_of("slm-edge-dev-studio")
    assert is_allowed(call, statements, boundary=studio.boundary) is allowed
