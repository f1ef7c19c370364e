"""The account, told from an empty one to an empty one: the real ``cdk`` and ``slm`` on moto's AWS.

Each test goes on where the one before ended, so they run in order and in one process.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.cdk.policies import Call, is_allowed
from tests.e2e.account import Account, emulated_account
from tests.e2e.conftest import Slm

pytestmark = [pytest.mark.e2e, pytest.mark.infra]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Account]:
    with emulated_account(tmp_path_factory.mktemp("account"), repository) as account:
        yield account


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A third of the sample as somebody's CSV file."""
    lines = (repository / "data/smart_home/utterances.jsonl").read_text().splitlines()[::3]
    path = tmp_path_factory.mktemp("rows") / "home.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["said", "meant"])
        writer.writerows([row["text"], row["intent"]] for row in map(json.loads, lines))
    return path


# Standing up ------------------------------------------------------------------------------


def test_bootstrap_and_deploy_stand_up_every_stack(account: Account):
    assembly = account.synth("first")
    place = f"aws://{account.settings.account}/{account.settings.region}"
    account.cdk("bootstrap", place, "--app", assembly)
    account.deploy(assembly)
    stacks = account.client("cloudformation").list_stacks()["StackSummaries"]
    status = {stack["StackName"]: stack["StackStatus"] for stack in stacks}
    assert {"foundation", "roles", "training", "edge", "monitoring"} <= set(account.parts)
    ours = {account.settings.stack_name(part) for part in account.parts}
    assert {name for name in status if name != "CDKToolkit"} == ours
    assert set(status.values()) == {"CREATE_COMPLETE"}
    account.make_what_is_passed_over()


def test_the_buckets_are_encrypted_with_the_one_key(account: Account):
    s3, settings = account.client("s3"), account.settings
    for bucket in settings.buckets.values():
        encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        [rule] = encryption["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == account.key_arn


def test_every_role_that_was_made_has_the_boundary(account: Account):
    iam, settings = account.client("iam"), account.settings
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    ours = [name for name in names if not name.startswith("cdk-")]
    assert {settings.role_name(kind) for kind in ("pipeline", "training", "retraining")} < {*ours}
    for name in ours:
        role = iam.get_role(RoleName=name)["Role"]
        boundary = role["PermissionsBoundary"]["PermissionsBoundaryArn"]
        own = name.startswith((settings.promotion_role, settings.approval_rule))
        expected = settings.boundary_arn
        if own:  # the roles that deploy to devices
            expected = expected.replace("-boundary", "-promotion-boundary")
        assert boundary == expected, name
    assert iam.list_users()["Users"] == []


def test_the_deployed_definition_names_the_keys_arn_and_no_alias_but_what_signs(account: Account):
    found = account.client("sagemaker").describe_pipeline(
        PipelineName=account.settings.pipeline_name
    )
    assert account.key_arn in found["PipelineDefinition"]
    aliases = set(re.findall(r'"([^"]*:alias/[^"]*)"', found["PipelineDefinition"]))
    assert aliases == {account.settings.signing_key_arn}
    assert found["RoleArn"] == account.settings.role_arn("pipeline")


# New data ---------------------------------------------------------------------------------


def test_a_dataset_is_imported_and_uploaded_with_its_manifest_last(account: Account, dataset: Path):
    folder = account.folder / "home"
    account.slm("import", "csv", dataset, "--text", "said", "--intent", "meant", "--out", folder)
    before = len(account.requests())
    account.cloud("upload", folder)
    puts = [
        request["path"].rpartition("/")[2]
        for request in account.requests()[before:]
        if request["method"] == "PUT"
    ]
    assert puts == ["utterances.jsonl", "manifest.json"]


@pytest.fixture(scope="module")
def started(account: Account) -> dict[str, Any]:
    """What the schedule that new data leaves would start the pipeline with.

    The path that EventBridge takes: the event of S3, the rule's pattern, its input transformed,
    the function behind it in its deployed environment, and the schedule that it makes.
    """
    settings = account.settings
    key = f"{settings.datasets_prefix}/home/manifest.json"
    account.client("s3").head_object(Bucket=settings.raw_bucket, Key=key)
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-23T09:00:00Z",
        "detail": {"bucket": {"name": settings.raw_bucket}, "object": {"key": key}},
    }
    events = account.client("events")
    rule = events.describe_rule(Name=settings.new_data_rule)
    assert rule["State"] == "ENABLED"
    assert matches(json.loads(rule["EventPattern"]), event)
    elsewhere = {**event, "detail": {**event["detail"], "object": {"key": "executions/a/b.json"}}}
    assert not matches(json.loads(rule["EventPattern"]), elsewhere)
    [target] = events.list_targets_by_rule(Rule=settings.new_data_rule)["Targets"]
    given = transformed(target["InputTransformer"], event)
    assert given == {"bucket": settings.raw_bucket, "key": key, "time": event["time"]}

    [function] = [
        one for one in account.properties("AWS::Lambda::Function")
        if one["FunctionName"] == settings.retraining_function
    ]  # fmt: skip
    scheduler = account.client("scheduler")
    groups = scheduler.list_schedule_groups()["ScheduleGroups"]
    if settings.schedule_group not in {group["Name"] for group in groups}:
        scheduler.create_schedule_group(Name=settings.schedule_group)  # passed over by moto
    for _ in range(10):  # ten manifests in a minute
        invoke(account, function, given)
    [schedule] = scheduler.list_schedules(GroupName=settings.schedule_group)["Schedules"]
    waiting = scheduler.get_schedule(Name=schedule["Name"], GroupName=settings.schedule_group)
    assert waiting["ScheduleExpression"].startswith("at(")
    assert waiting["Target"]["RoleArn"] == settings.role_arn("retraining")
    assert waiting["Target"]["RetryPolicy"]["MaximumRetryAttempts"] <= 5
    return json.loads(waiting["Target"]["Input"])


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether an event fits a rule's pattern, for what our patterns use of that language."""
    for name, wanted in pattern.items():
        value = event.get(name)
        if isinstance(wanted, dict):
            if not (isinstance(value, dict) and matches(wanted, value)):
                return False
        elif not any(_fits(one, value) for one in wanted):
            return False
    return True


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict):
        [(kind, argument)] = wanted.items()
        assert kind == "wildcard"
        return isinstance(value, str) and fnmatchcase(value, argument)
    return wanted == value


def transformed(transformer: dict[str, Any], event: dict[str, Any]) -> Any:
    """What a target gets: the template with the event's values in the place of their names."""

    def value(path: str) -> Any:
        found: Any = event
        for name in path.removeprefix("$.").split("."):
            found = found[name]
        return found

    paths = transformer["InputPathsMap"]
    text = re.sub(
        r"<([^<>]+)>", lambda name: json.dumps(value(paths[name[1]])), transformer["InputTemplate"]
    )
    return json.loads(text)


def invoke(account: Account, function: dict[str, Any], event: dict[str, Any]) -> None:
    """Run a function's handler in a process with the environment that was deployed."""
    code = "import json, sys; from index import handler; handler(json.load(sys.stdin), None)"
    environment = {
        **account.environment(),
        **function["Environment"]["Variables"],
        "PYTHONPATH": str(account.repository / "cdk/functions/retraining"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(event),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_ten_manifests_in_a_minute_start_one_execution_on_their_dataset(
    account: Account, started: dict[str, Any]
):
    settings = account.settings
    assert started["PipelineName"] == settings.pipeline_name
    assert started["PipelineParameters"] == [
        {"Name": "InputData", "Value": f"s3://{settings.raw_bucket}/datasets/home"}
    ]


# An execution -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def executed(account: Account, started: dict[str, Any], tiny_arguments: list[str]) -> str:
    """``slm run`` of the deployed definition with the parameters of the schedule."""
    return run_deployed(account, started, tiny_arguments)


def run_deployed(
    account: Account,
    started: dict[str, Any],
    tiny_arguments: list[str],
    *more: str,
    exit_code: int = 0,
) -> str:
    parameters = {p["Name"]: p["Value"] for p in started["PipelineParameters"]}
    tiny = tiny_arguments[tiny_arguments.index("--set") :]
    given = [f"--set={name}={value}" for name, value in parameters.items()]
    return account.cloud(
        "run", "--pipeline", account.settings.pipeline_name,
        *tiny, *given, *more, "--home", account.folder / "home.slm", exit_code=exit_code,
    )  # fmt: skip


def test_the_deployed_definition_runs_with_all_its_data_in_the_account(
    account: Account, executed: str
):
    s3, settings = account.client("s3"), account.settings
    listed = s3.list_objects_v2(Bucket=settings.pipeline_bucket, Prefix="executions/")["Contents"]
    steps = {entry["Key"].split("/")[2] for entry in listed}
    assert steps == {
        "PrepareData", "TrainModel", "EvaluateModel", "RegisterModel", "CompileModel",
        "PackageComponent",
    }  # fmt: skip
    assert not (account.folder / "home.slm" / "s3").exists()


def test_every_upload_names_the_key_and_passes_the_buckets_policies(
    account: Account, executed: str
):
    buckets = {*account.settings.buckets.values()}
    uploads = [
        request for request in account.requests()
        if request["method"] in ("PUT", "POST")
        and request["path"].split("/")[1] in buckets
        and request["path"].count("/") > 1
        and not request.get("query", "").startswith(("partNumber", "uploadId"))
    ]  # fmt: skip
    assert len(uploads) > 20
    refused = []
    for upload in uploads:
        bucket, _, key = upload["path"].lstrip("/").partition("/")
        context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
        if "encryption" in upload:
            context["s3:x-amz-server-side-encryption"] = upload["encryption"]
        if "kms_key" in upload:
            context["s3:x-amz-server-side-encryption-aws-kms-key-id"] = upload["kms_key"]
        call = Call(
            "s3:PutObject", f"arn:aws:s3:::{bucket}/{key}", context, {"AWS": account_root(account)}
        )
        policy = account.bucket_policy(bucket)
        everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
        if not is_allowed(call, everything, resource_policy=policy):
            refused.append(upload)
        without = Call(call.action, call.resource, {**context, "aws:SecureTransport": "false"}, call.principal)  # fmt: skip  # noqa: E501
        assert not is_allowed(without, everything, resource_policy=policy)
    assert refused == []


def account_root(account: Account) -> str:
    return f"arn:aws:iam::{account.settings.account}:role/anybody"


# The registry -----------------------------------------------------------------------------


def versions(account: Account) -> list[tuple[int, str]]:
    found = account.client("sagemaker").list_model_packages(
        ModelPackageGroupName=account.settings.model_package_group
    )["ModelPackageSummaryList"]
    return sorted((one["ModelPackageVersion"], one["ModelApprovalStatus"]) for one in found)


def test_the_model_waits_for_approval_and_is_approved(account: Account, executed: str):
    assert versions(account) == [(1, "PendingManualApproval")]
    printed = account.cloud("approve", "1", "--note", "heard it myself")
    assert "approved" in printed
    assert versions(account) == [(1, "Approved")]


def test_the_next_model_is_compared_with_the_champion_and_rejected_where_compiling_spoils_it(
    account: Account, executed: str, started: dict[str, Any], tiny_arguments: list[str]
):
    bounds = {"MinAgreement": "1", "MaxAccuracyDrop": "0", "MaxAurocDrop": "0"}
    closed = [
        f"--set={name}={value}" for name, value in {"Seed": "1", "Epochs": "1", **bounds}.items()
    ]
    printed = run_deployed(account, started, tiny_arguments, *closed, exit_code=1)
    assert "The parity gate is closed" in printed
    assert versions(account) == [(1, "Approved"), (2, "Rejected")]


# Who asked for what ------------------------------------------------------------------------


ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}


def calls_of_jobs(account: Account) -> set[tuple[str, str, str]]:
    """Step, action and resource of everything that a job asked of the account by itself."""
    found = set()
    for request in account.requests():
        job = re.fullmatch(r"pipelines-[a-z0-9]+-([A-Za-z]+)-[a-z0-9]+", request["job"])
        if job is None:
            continue
        step = job[1]
        target = request.get("target", "")
        service, _, operation = target.partition(".")
        if service == "TrentService":
            found.add((step, f"kms:{operation}", _signing_key(account)))
        elif service.startswith("GraniteService"):
            found.add((step, f"cloudwatch:{operation}", account.settings.metric_namespace))
        elif target:
            action = f"sagemaker:{target.removeprefix('SageMaker.')}"
            found.add((step, action, _resource(account, request)))
        else:
            bucket, _, key = request["path"].lstrip("/").partition("/")
            listing = request["method"] == "GET" and not key
            action = "s3:ListBucket" if listing else ACTIONS[request["method"]]
            found.add((step, action, f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")))
    return found


def _resource(account: Account, request: dict[str, str]) -> str:
    for name in ("ModelPackageName", "ModelPackageArn"):
        if request.get(name, "").startswith("arn:"):
            return request[name]
    return account.settings.model_package_group_arn


def _signing_key(account: Account) -> str:
    key = account.client("kms").describe_key(KeyId=account.settings.signing_alias)
    return key["KeyMetadata"]["Arn"]


def test_every_call_of_a_job_is_allowed_to_its_role_and_no_unrelated_one_is(
    account: Account, executed: str
):
    definition = json.loads(
        account.client("sagemaker").describe_pipeline(PipelineName=account.settings.pipeline_name)[
            "PipelineDefinition"
        ]
    )
    roles = dict(roles_of(definition["Steps"]))
    iam = account.client("iam")
    calls = calls_of_jobs(account)
    assert {step for step, _, _ in calls} == {
        "EvaluateModel", "RegisterModel", "CompileModel", "PackageComponent",
    }  # fmt: skip
    assert {action for _, action, _ in calls} >= {
        "s3:GetObject", "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage",
        "sagemaker:ListModelPackages", "sagemaker:UpdateModelPackage", "kms:Sign",
    }  # fmt: skip
    for step, action, resource in calls:
        name = roles[step].rpartition("/")[2]
        allowed = policies_of(iam, name)
        boundary = managed(iam, account.settings.boundary_arn)
        context = {"aws:SourceAccount": account.settings.account}
        other = f"{resource}0" if action.startswith("kms:") else resource.replace("dev", "other")
        assert other != resource
        for one, expected in ((resource, True), (other, False)):
            if action.startswith("cloudwatch:"):  # a metric has no ARN, its namespace is asked for
                call = Call(action, "*", {**context, "cloudwatch:namespace": one})
            else:
                call = Call(action, one, context)
            assert is_allowed(call, allowed, boundary=boundary) is expected, (name, call)


def roles_of(steps: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for step in steps:
        arguments = step["Arguments"]
        if "RoleArn" in arguments:
            yield step["Name"], arguments["RoleArn"]
        for branch in ("IfSteps", "ElseSteps"):
            yield from roles_of(arguments.get(branch, []))


def policies_of(iam: Any, role: str) -> list[dict[str, Any]]:
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=n)["PolicyDocument"] for n in names]
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    return [statement for document in documents for statement in _statements(document)]


def managed(iam: Any, arn: str) -> list[dict[str, Any]]:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    return _statements(found["Document"])


def _statements(document: Any) -> list[dict[str, Any]]:
    """moto gives what came from a template back as Python's text of it."""
    parsed = ast.literal_eval(document) if isinstance(document, str) else document
    return parsed["Statement"]


# A laptop ---------------------------------------------------------------------------------


def test_a_run_of_a_laptop_is_pushed_and_joins_the_registry(
    account: Account, executed: str, undisturbed: Slm
):
    home = shutil.copytree(undisturbed.home, account.folder / "laptop.slm")
    account.cloud("push", "--home", home)
    assert versions(account)[2:] == [(3, "PendingManualApproval")]
    s3, settings = account.client("s3"), account.settings
    for bucket in (settings.model_bucket, settings.deployments_bucket):
        for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
            head = s3.head_object(Bucket=bucket, Key=entry["Key"])
            assert head["SSEKMSKeyId"] == account.key_arn, entry["Key"]


# Changing and leaving ---------------------------------------------------------------------


def test_deploying_again_without_a_change_changes_nothing(account: Account):
    before = account.templates()
    assembly = account.folder / "first"
    printed = account.cdk("diff", "--app", assembly, "--method", "template")
    assert "Number of stacks with differences: 0" in printed
    assert account.deploy(assembly).count("(no changes)") == len(account.parts)
    assert account.templates() == before


def test_a_changed_setting_changes_only_what_it_says(account: Account):
    before = account.templates()
    account.write_settings(**{"monthly_usd = 10": "monthly_usd = 12"})
    account.deploy(account.synth("changed"))
    changed = [
        (part, name)
        for part, template in account.templates().items()
        for name, resource in template["Resources"].items()
        if before[part]["Resources"].get(name) != resource
    ]
    assert changed
    kinds = {before[part]["Resources"][name]["Type"] for part, name in changed}
    assert kinds == {"AWS::Budgets::Budget"}, changed


def test_destroying_dev_leaves_nothing_but_the_bootstrap(account: Account):
    settings = account.settings
    account.run(
        sys.executable, "-m", "cdk.foundation.emptying", account.settings_file,
        "--yes", "--endpoint-url", account.address,
    )  # fmt: skip
    account.cdk("destroy", "--all", "--force", "--app", account.folder / "changed")
    stacks = account.client("cloudformation").list_stacks()["StackSummaries"]
    left = {s["StackName"] for s in stacks if s["StackStatus"] != "DELETE_COMPLETE"}
    assert left == {"CDKToolkit"}
    buckets = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    assert [name for name in buckets if not name.startswith("cdk-")] == []
    roles = [role["RoleName"] for role in account.client("iam").list_roles()["Roles"]]
    assert [name for name in roles if not name.startswith("cdk-")] == []
    assert account.client("events").list_rules()["Rules"] == []
    functions = account.client("lambda").list_functions()["Functions"]
    assert functions == []
    repositories = account.client("ecr").describe_repositories()["repositories"]
    ours = [one for one in repositories if one["repositoryName"].startswith(settings.name)]
    assert ours == []
