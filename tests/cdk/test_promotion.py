"""The promotion stack: what starts it, what its roles may do, and that its function runs alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdk.promotion.code import FILES, ROOT, write_code
from cdk.promotion.machine import definition, timeout_seconds
from pipeline.cloud import costs
from pipeline.cloud.promotion.plain import to_plain
from pipeline.settings import Settings, SettingsError
from tests.cdk.policies import Call, is_allowed, resolve, statements_in
from tests.cdk.synthesized import Synthesized, synthesize
from tests.e2e.greengrass import Greengrass
from tests.moto_server import reset, running
from tests.pipeline.cloud.emulated import Emulated, environment
from tests.pipeline.cloud.fleet.conftest import cloud, served, service  # noqa: F401 - fixtures
from tests.pipeline.cloud.promotion.conftest import fleet  # noqa: F401 - a fixture
from tests.pipeline.cloud.promotion.promotable import Fleet, properties_of, register

ACCOUNT = "111111111111"
GROUP = "slm-edge-dev-intents"
PACKAGE = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package/{GROUP}/7"
LIBRARIES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")


# What starts it ---------------------------------------------------------------------------


def event(**changes: Any) -> dict[str, Any]:
    """As SageMaker sends it: "Events that SageMaker AI sends" in its developer guide."""
    detail = {
        "ModelPackageGroupName": GROUP,
        "ModelPackageVersion": 7,
        "ModelPackageArn": PACKAGE,
        "CreationTime": "2026-11-24T09:00:00Z",
        "InferenceSpecification": {"Containers": [{"Image": "i", "ModelDataUrl": "s3://b/k"}]},
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": False,
        "ModelApprovalStatus": "Approved",
        "CustomerMetadataProperties": {"execution_id": "e7"},
        "LastModifiedTime": "2026-11-24T10:00:00Z",
        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
        **changes,
    }
    return {
        "Source": "aws.sagemaker",
        "DetailType": "SageMaker Model Package State Change",
        "Resources": [PACKAGE],
        "Detail": json.dumps({key: value for key, value in detail.items() if value is not None}),
    }


@pytest.fixture(scope="module")
def bus() -> Iterator[Emulated]:
    with running() as address:
        reset(address)
        yield Emulated(address, Path(), Settings.load("dev"))


APPROVED = event()
NEIGHBOURS = {
    "rejected": event(ModelApprovalStatus="Rejected"),
    "pending": event(ModelApprovalStatus="PendingManualApproval"),
    "another group": event(ModelPackageGroupName="slm-edge-prod-intents"),
    "a group that begins alike": event(ModelPackageGroupName=f"{GROUP}-2"),
    "its history was written": event(UpdatedModelPackageFields=["CustomerMetadataProperties"]),
    "its stage was changed": event(UpdatedModelPackageFields=["ModelLifeCycle"]),
    "an execution": {**APPROVED, "DetailType": "SageMaker Pipeline Execution Status Change"},
    "somebody else's": {**APPROVED, "Source": "my.sagemaker"},
}


def test_approved_starts_a_promotion_and_its_neighbours_do_not(
    bus: Emulated, dev: Synthesized
) -> None:
    events, sqs = bus.client("events"), bus.client("sqs")
    [rule] = [
        one["Properties"]
        for one in dev.resources("AWS::Events::Rule", "promotion").values()
        if one["Properties"]["Name"] == dev.settings.approval_rule
    ]
    url = sqs.create_queue(QueueName="started")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="approved", EventPattern=json.dumps(rule["EventPattern"]))
    events.put_targets(Rule="approved", Targets=[{"Id": "q", "Arn": arn["QueueArn"]}])

    def started(one: dict[str, Any]) -> list[str]:
        assert not events.put_events(Entries=[one])["FailedEntryCount"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"])["detail"]["ModelPackageArn"] for message in found]

    assert started(APPROVED) == [PACKAGE]
    registered_as_approved = event(UpdatedModelPackageFields=None)
    assert started(registered_as_approved) == [PACKAGE]
    for name, one in NEIGHBOURS.items():
        assert started(one) == [], name
    transformed = rule["Targets"][0]["InputTransformer"]
    assert transformed["InputPathsMap"] == {"detail-ModelPackageArn": "$.detail.ModelPackageArn"}
    assert rule["Targets"][0]["RetryPolicy"]["MaximumRetryAttempts"] == 3
    assert "DeadLetterConfig" in rule["Targets"][0]


def test_what_stops_a_promotion_is_told_with_its_reason(dev: Synthesized) -> None:
    [rule] = [
        one["Properties"]
        for one in dev.resources("AWS::Events::Rule", "promotion").values()
        if one["Properties"]["Name"] == "slm-edge-dev-promotion-stopped"
    ]
    detail = rule["EventPattern"]["detail"]
    assert detail["stateMachineArn"] == [dev.settings.promotion_machine_arn]
    assert set(detail["status"]) == {"FAILED", "TIMED_OUT", "ABORTED"}
    assert resolve(rule["Targets"][0]["Arn"], dev.names) == dev.settings.alert_topic_arn
    assert "<detail-cause>" in rule["Targets"][0]["InputTransformer"]["InputTemplate"]


def test_where_a_person_promotes_nothing_starts_by_itself(synthesized) -> None:
    stacks = synthesized("dev", promotion={"on_approval": False})
    names = {
        one["Properties"]["Name"]
        for one in stacks.resources("AWS::Events::Rule", "promotion").values()
    }
    assert names == {"slm-edge-dev-promotion-stopped"}
    assert not stacks.resources("AWS::SQS::Queue", "promotion")


# The machine and the function -------------------------------------------------------------


def walk(machine: dict[str, Any], event: dict[str, Any], call: Any) -> tuple[str, dict[str, Any]]:
    """A state machine's way through our states, as Step Functions goes it; waits take no time."""
    name, data = machine["StartAt"], event
    for _ in range(200):
        state = machine["States"][name]
        match state["Type"]:
            case "Pass":
                assert state["Parameters"] == {
                    "arn.$": "$.arn",
                    "execution.$": "$$.Execution.Name",
                }
                data = {"arn": data["arn"], "execution": "execution-1"}
            case "Task":
                data = call(data)
            case "Choice":
                chosen = [
                    one["Next"]
                    for one in state["Choices"]
                    if data[one["Variable"].removeprefix("$.")]
                    == one.get("BooleanEquals", one.get("StringEquals"))
                ]
                name = chosen[0] if chosen else state["Default"]
                continue
            case "Wait":
                assert data[state["SecondsPath"].removeprefix("$.")] >= 1
            case _:
                return name, data
        name = state["Next"]
    raise AssertionError(f"it goes on and on: {data}")


ALONE = """
import json, sys
sys.path[:0] = sys.argv[1:]
from pipeline.cloud.promotion.handler import handler
for line in sys.stdin:
    handler(json.loads(line), None)
    sys.stdout.flush()
assert not {"pydantic", "cryptography", "pipeline.settings"} & set(sys.modules)
"""


def test_the_function_promotes_with_boto3_and_nothing_else_at_hand(
    cloud: Emulated,  # noqa: F811 - the fixture
    service: Greengrass,  # noqa: F811
    fleet: Fleet,  # noqa: F811
    tmp_path: Path,
) -> None:
    code, libraries = write_code(tmp_path / "code"), tmp_path / "libraries"
    libraries.mkdir()
    import boto3

    installed = Path(boto3.__file__).parents[1]
    for name in LIBRARIES:
        (libraries / name).symlink_to(installed / name)
    version = register(cloud, 1)
    plain = json.dumps(to_plain(cloud.settings))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", ALONE, str(code), str(libraries)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(SOURCE=plain, AWS_ENDPOINT_URL=cloud.address, PATH=os.environ["PATH"]),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    states = []

    def call(data: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(data), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        fleet.step()
        states.append(answer["state"])
        if answer["state"] == "watch" and states.count("watch") == 1:
            fleet.tell("c1", "1.0.1", good=220)
        return answer

    machine = definition(cloud.settings, "function")
    end, answer = walk(machine, {"arn": version.arn}, call)
    assert (end, answer["state"], answer["component"]) == ("Done", "done", "1.0.1")
    again, answer = walk(machine, {"arn": version.arn}, call)
    assert (again, answer["state"]) == ("Done", "done")
    pending = register(cloud, 2, status="PendingManualApproval")
    end, answer = walk(machine, {"arn": pending.arn}, call)
    assert (end, answer["state"]) == ("Stopped", "refused")
    assert "only an approved version" in answer["words"]
    process.stdin.close()
    assert process.wait(30) == 0
    assert properties_of(cloud, version)["promotion.state"] == "done"


def test_two_executions_are_one_promotion(
    cloud: Emulated,  # noqa: F811
    fleet: Fleet,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipeline.cloud.promotion.handler import handler

    monkeypatch.setenv("SOURCE", json.dumps(to_plain(cloud.settings)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.address)
    arn = register(cloud, 1).arn
    first = handler({"arn": arn, "execution": "first"}, None)
    assert (first["state"], first["end"]) == ("copy", False)
    second = handler({"arn": arn, "execution": "second"}, None)
    assert (second["state"], second["end"]) == ("under-way", True)
    repeated = handler({"arn": arn, "execution": "first"}, None)
    assert (repeated["state"], repeated["end"]) == ("canary", False)


def test_the_archive_is_the_files_and_each_of_them_is_there(tmp_path: Path) -> None:
    write_code(tmp_path)
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == set(FILES)
    assert all((ROOT / name).is_file() for name in FILES)


def test_an_execution_outlasts_what_the_settings_allow(dev: Synthesized) -> None:
    told = dev.settings.promotion
    minutes = told.canary_minutes + told.watch_minutes + told.fleet_minutes
    assert timeout_seconds(dev.settings) > 60 * minutes
    machine = dev.only("AWS::StepFunctions::StateMachine", "promotion")
    states = json.loads(machine["DefinitionString"])
    arn = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{dev.settings.promotion_function}"
    assert states == definition(dev.settings, arn)
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_a_promotion_enters_as_many_states_and_takes_as_much_memory_as_is_counted(
    dev: Synthesized,
) -> None:
    states = definition(dev.settings, "function")["States"]
    assert states["Step"]["Next"] == "Over?"
    assert states["Over?"]["Choices"][0]["Next"] == "Wait"
    assert states["Wait"]["Next"] == "Step"
    assert len({"Step", "Over?", "Wait"}) == costs.STATES_A_STEP
    # the last step ends in one of two states instead of a pause, so Begin alone comes on top
    assert set(states) == {"Begin", "Step", "Over?", "Wait", "Done", "Stopped"}
    assert costs.STATES_AROUND == 1
    function = dev.only("AWS::Lambda::Function", "promotion")
    assert function["MemorySize"] == costs.PROMOTION_GB * 1024


def test_what_the_function_is_told_fits_into_its_environment(tmp_path: Path) -> None:
    stacks = both(tmp_path)[0]
    function = stacks.only("AWS::Lambda::Function", "promotion")
    told = function["Environment"]["Variables"]
    assert set(told) == {"SOURCE", "TARGET"}
    assert sum(len(key) + len(value) for key, value in told.items()) < 4096


# Who may what -----------------------------------------------------------------------------


def may(stacks: Synthesized, role: str, action: str, resource: str, **context: str) -> bool:
    """What the role's policy says; the boundary, which is wider, never cuts it."""
    given = {key.replace("__", ":"): value for key, value in context.items()}
    call = Call(action, resource, given)
    statements = stacks.statements_of(role)
    allowed = is_allowed(call, statements)
    ceiling = stacks.managed_policy(f"{stacks.settings.name}-promotion-boundary")
    assert allowed is is_allowed(call, statements, boundary=ceiling), call
    return allowed


def test_the_function_approves_nothing_and_deletes_nothing(dev: Synthesized) -> None:
    role = dev.settings.promotion_role
    assert may(dev, role, "sagemaker:UpdateModelPackage", PACKAGE)
    for status in ("Approved", "Rejected"):
        given = {"sagemaker__ModelApprovalStatus": status}
        assert not may(dev, role, "sagemaker:UpdateModelPackage", PACKAGE, **given)
    for action in ("CreateModelPackage", "DeleteModelPackage", "StartPipelineExecution"):
        assert not may(dev, role, f"sagemaker:{action}", PACKAGE)
    place = f"arn:aws:s3:::{dev.settings.deployments_bucket}/components/a/1.0.7/a.zip"
    assert may(dev, role, "s3:PutObject", place)
    assert not may(dev, role, "s3:DeleteObject", place)


def test_the_function_reads_packages_and_windows_and_verifies_but_does_not_sign(
    dev: Synthesized,
) -> None:
    role, settings = dev.settings.promotion_role, dev.settings
    executions = f"arn:aws:s3:::{settings.pipeline_bucket}/executions/e1"
    assert may(dev, role, "s3:GetObject", f"{executions}/PackageComponent/package/package.json")
    assert may(dev, role, "s3:GetObject", f"{executions}/TrainModel/j/output/model.tar.gz")
    for step in ("PrepareData/prepared", "EvaluateModel/evaluation"):
        assert not may(dev, role, "s3:GetObject", f"{executions}/{step}/x")
    assert not may(dev, role, "s3:PutObject", f"{executions}/PackageComponent/package/a.zip")
    windows = f"arn:aws:s3:::{settings.processed_bucket}/telemetry/c1/2026/11/24/a.json"
    assert may(dev, role, "s3:GetObject", windows)
    assert not may(dev, role, "s3:PutObject", windows)
    assert not may(dev, role, "s3:GetObject", f"arn:aws:s3:::{settings.raw_bucket}/datasets/a")
    assert may(dev, role, "kms:Verify", dev.signing_key_arn)
    assert not may(dev, role, "kms:Sign", dev.signing_key_arn)


def test_the_function_deploys_to_the_two_groups_only(dev: Synthesized) -> None:
    role, iot = dev.settings.promotion_role, f"arn:aws:iot:eu-west-1:{ACCOUNT}"
    for group in (dev.settings.thing_group, dev.settings.canary_group):
        assert may(dev, role, "iot:CreateJob", f"{iot}:thinggroup/{group}")
    for other in ("thinggroup/somebody-elses", "thing/kitchen-1"):
        assert not may(dev, role, "iot:CreateJob", f"{iot}:{other}")
    assert not may(dev, role, "iot:UpdateCertificate", f"{iot}:cert/1")


def both(tmp_path: Path, *, accounts: tuple[str, str] = (ACCOUNT, "222222222222")) -> Any:
    """Dev, which promotes to staging, and staging, which lets it."""
    base = 'region = "eu-west-1"\n[budget]\nrecipients = ["nobody@example.com"]\n[promotion]\n'
    files = tmp_path / "dev.toml", tmp_path / "staging.toml"
    for file, account, line in zip(
        files, accounts, (f'to = "{files[1]}"', f'accepts = "{files[0]}"'), strict=True
    ):
        head = f'environment = "{file.stem}"\naccount = "{account}"\n'
        file.write_text(f"{head}{base}{line}\n")
    return [synthesize(Settings.read(file), tmp_path / f"out-{file.stem}") for file in files]


def test_another_environment_is_reached_through_its_own_role_and_by_nobody_else(
    tmp_path: Path,
) -> None:
    here, there = both(tmp_path)
    source, target = here.settings.promotion_role, there.settings.promoted_role
    assert may(here, source, "sts:AssumeRole", there.settings.promoted_role_arn)
    for other in (here.settings.promoted_role_arn, "arn:aws:iam::222222222222:role/admin"):
        assert not may(here, source, "sts:AssumeRole", other)
    place = f"arn:aws:s3:::{here.settings.deployments_bucket}/components/a/1.0.7/a.zip"
    assert not may(here, source, "s3:PutObject", place)
    assert not may(here, source, "kms:Sign", here.signing_key_arn)

    trust = statements_in(there.role(target)["AssumeRolePolicyDocument"], there.names)
    [statement] = trust
    assert statement["Condition"] == {
        "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/{source}"}
    }
    assert ACCOUNT in json.dumps(statement["Principal"])
    group = there.settings.model_package_group
    package = f"arn:aws:sagemaker:eu-west-1:222222222222:model-package/{group}/1"
    assert may(there, target, "sagemaker:CreateModelPackage", package)
    given = {"sagemaker__ModelApprovalStatus": "Approved"}
    assert not may(there, target, "sagemaker:CreateModelPackage", package, **given)
    assert may(there, target, "kms:Sign", there.signing_key_arn)
    executions = f"arn:aws:s3:::{there.settings.pipeline_bucket}/executions/e1/x"
    assert not may(there, target, "s3:GetObject", executions)


def test_no_bucket_key_or_registry_is_opened_to_another_account(tmp_path: Path) -> None:
    for stacks, other in zip(both(tmp_path), ("222222222222", ACCOUNT), strict=True):
        for kind in ("AWS::S3::BucketPolicy", "AWS::KMS::Key"):
            assert other not in json.dumps(list(stacks.resources(kind).values()))


def test_one_account_promotes_through_the_same_role(tmp_path: Path) -> None:
    here, there = both(tmp_path, accounts=(ACCOUNT, ACCOUNT))
    source = here.settings.promotion_role
    assert may(here, source, "sts:AssumeRole", there.settings.promoted_role_arn)


def test_without_another_environment_there_is_no_role_for_it(dev: Synthesized) -> None:
    names = {one["Properties"].get("RoleName") for one in dev.resources("AWS::IAM::Role").values()}
    assert dev.settings.promotion_role in names
    assert dev.settings.promoted_role not in names


def test_both_sides_have_to_say_it(tmp_path: Path) -> None:
    from pipeline.cloud.promotion.environments import source_of, target_of

    both(tmp_path)
    alone = tmp_path / "staging.toml"
    alone.write_text(alone.read_text().partition("[promotion]")[0])
    with pytest.raises(SettingsError, match=r"promotion\.to = .* does not accept its versions"):
        target_of(Settings.read(tmp_path / "dev.toml"))
    both(tmp_path)
    source = tmp_path / "dev.toml"
    source.write_text(source.read_text().partition("[promotion]")[0])
    with pytest.raises(SettingsError, match=r"promotion\.accepts = .* does not promote to it"):
        source_of(Settings.read(alone))


def test_the_boundary_fits_into_a_managed_policy(tmp_path: Path) -> None:
    for stacks in both(tmp_path):
        statements = stacks.managed_policy(f"{stacks.settings.name}-promotion-boundary")
        document = {"Version": "2012-10-17", "Statement": statements}
        assert len(json.dumps(document, separators=(",", ":"))) <= 6144 - 300
        for role in (
            stacks.settings.promotion_role,
            f"{stacks.settings.promotion_machine}-machine",
        ):
            text = json.dumps(stacks.statements_of(role), separators=(",", ":"))
            assert len(text) <= 10_240 - 500
