"""Permission sets: what each kind of person may do, for how long, and who is one."""

from __future__ import annotations

import json
import re

import pytest

from cdk.identity.names import permission_set_name
from cdk.identity.stack import why_left_out
from pipeline.names import ROLE_KINDS
from pipeline.sections import PERMISSION_SETS, PermissionSet
from pipeline.settings import ENVIRONMENTS, Settings
from tests.cdk.conftest import GROUP, INSTANCE, changed
from tests.cdk.delivery import CONNECTION, NAME, Delivery
from tests.cdk.policies import Call, is_allowed, statements_in
from tests.cdk.synthesized import Synthesized

ACCOUNT = "111111111111"
OTHER = "22345678-1234-1234-1234-123456789012"
PIPELINE = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:pipeline/slm-edge-dev"
PACKAGE = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package/slm-edge-dev-intents/3"
SCIENTIST, ENGINEER, PLATFORM, AUDITOR = PERMISSION_SETS


class Person:
    """A session of a permission set."""

    def __init__(self, stacks: Synthesized, permission_set: PermissionSet) -> None:
        self._stacks = stacks
        [policy] = [
            one["Properties"]["InlinePolicy"]
            for one in stacks.resources("AWS::SSO::PermissionSet").values()
            if one["Properties"]["Name"] == permission_set_name(stacks.settings, permission_set)
        ]
        self._statements = statements_in(policy, stacks.names)

    def may(self, action: str, resource: str, **context: str) -> bool:
        given = {key.replace("__", ":"): value for key, value in context.items()}
        return is_allowed(Call(action, resource, given), self._statements)

    def touches(self, action: str, purpose: str, key: str = "a") -> bool:
        """Whether the session may do ``action`` on an object of a bucket."""
        return self.may(action, f"arn:aws:s3:::{self._stacks.settings.buckets[purpose]}/{key}")

    def uses_key(self, action: str, alias: str = "alias/slm-edge-dev", service: str = "s3") -> bool:
        arn = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
        through = f"{service}.eu-west-1.amazonaws.com"
        return self.may(action, arn, kms__ResourceAliases=alias, kms__ViaService=through)


def permission_sets(stacks: Synthesized) -> dict[str, dict]:
    found = stacks.resources("AWS::SSO::PermissionSet").values()
    return {one["Properties"]["Name"]: one["Properties"] for one in found}


def test_there_are_four_permission_sets_of_the_instance(dev):
    found = permission_sets(dev)
    assert set(found) == {f"slm-dev-{name}" for name in PERMISSION_SETS}
    assert {one["InstanceArn"] for one in found.values()} == {INSTANCE}


def test_a_permission_set_has_no_policy_but_its_own(dev):
    for one in permission_sets(dev).values():
        assert one["InlinePolicy"]["Statement"]
        assert not one.keys() & {"ManagedPolicies", "CustomerManagedPolicyReferences"}


@pytest.mark.parametrize("environment", [path.stem for path in ENVIRONMENTS.glob("*.toml")])
def test_a_permission_sets_name_fits_in_every_environment(environment):
    """32 characters, says Identity Center."""
    settings = Settings.load(environment)
    for name in PERMISSION_SETS:
        assert len(permission_set_name(settings, name)) <= 32


def test_a_permission_sets_policy_fits(dev, tooling):
    """10,240 characters, since it becomes the inline policy of a role."""
    for one in (*permission_sets(dev).values(), *permission_sets(tooling).values()):
        assert len(json.dumps(one["InlinePolicy"], separators=(",", ":"))) <= 10_240 - 500
        assert len(one["Description"]) <= 700


def test_sessions_last_eight_hours_for_those_who_work_in_them_and_four_for_the_others(dev):
    lengths = {name: one["SessionDuration"] for name, one in permission_sets(dev).items()}
    assert lengths == {
        "slm-dev-data-scientist": "PT8H",
        "slm-dev-ml-engineer": "PT8H",
        "slm-dev-platform-engineer": "PT4H",
        "slm-dev-auditor": "PT4H",
    }


def test_sessions_last_as_long_as_a_setting_says(synthesized):
    hours = {"instance_arn": INSTANCE, "session_hours": {"auditor": 1}}
    found = permission_sets(synthesized("dev", identity=hours))
    assert found["slm-dev-auditor"]["SessionDuration"] == "PT1H"
    assert found["slm-dev-ml-engineer"]["SessionDuration"] == "PT8H"


def test_people_are_assigned_as_the_settings_say_and_in_this_account(synthesized):
    assignments = [
        {"permission_set": SCIENTIST, "principal_type": "GROUP", "principal_id": GROUP},
        {"permission_set": ENGINEER, "principal_type": "GROUP", "principal_id": GROUP},
        {"permission_set": SCIENTIST, "principal_type": "USER", "principal_id": OTHER},
    ]
    stacks = synthesized("dev", identity={"instance_arn": INSTANCE, "assignments": assignments})
    names = {
        logical_id: one["Properties"]["Name"]
        for logical_id, one in stacks.resources("AWS::SSO::PermissionSet").items()
    }
    made = [one["Properties"] for one in stacks.resources("AWS::SSO::Assignment").values()]
    assert sorted(
        (
            names[one["PermissionSetArn"]["Fn::GetAtt"][0]],
            one["PrincipalType"],
            one["PrincipalId"],
        )
        for one in made
    ) == sorted(
        (f"slm-dev-{one['permission_set']}", one["principal_type"], one["principal_id"])
        for one in assignments
    )
    for one in made:
        assert (one["TargetType"], one["TargetId"]) == ("AWS_ACCOUNT", ACCOUNT)
        assert one["InstanceArn"] == INSTANCE


def test_the_same_assignment_twice_is_made_once(synthesized):
    once = {"permission_set": AUDITOR, "principal_id": GROUP}
    stacks = synthesized("dev", identity={"instance_arn": INSTANCE, "assignments": [once, once]})
    assert len(stacks.resources("AWS::SSO::Assignment")) == 1


def test_without_an_instance_the_stack_is_left_out_and_says_so(synthesized):
    assert "identity" not in synthesized("dev").templates
    sentence = why_left_out(Settings.load("dev"))
    assert sentence is not None
    assert sentence.startswith("slm-edge-dev-identity is left out")
    assert "identity.instance_arn" in sentence
    assert "\n" not in sentence
    assert why_left_out(changed("dev", {"identity": {"instance_arn": INSTANCE}})) is None


@pytest.mark.parametrize("who", [SCIENTIST, ENGINEER])
def test_those_who_work_with_models_start_stop_and_follow_executions(dev, who):
    person = Person(dev, who)
    assert person.may("sagemaker:StartPipelineExecution", PIPELINE)
    for action in ("StopPipelineExecution", "RetryPipelineExecution", "DescribePipelineExecution"):
        assert person.may(f"sagemaker:{action}", f"{PIPELINE}/execution/abc")
    assert not person.may("sagemaker:StartPipelineExecution", PIPELINE.replace("slm-", "other-"))


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_everybody_follows_executions_jobs_and_the_registry(dev, who):
    person = Person(dev, who)
    sagemaker = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:"
    logs = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:"
    for action, resource in [
        ("sagemaker:DescribePipeline", PIPELINE),
        ("sagemaker:ListPipelineExecutions", PIPELINE),
        ("sagemaker:ListPipelineExecutionSteps", f"{PIPELINE}/execution/abc"),
        ("sagemaker:DescribePipelineDefinitionForExecution", f"{PIPELINE}/execution/abc"),
        ("sagemaker:DescribeTrainingJob", f"{sagemaker}training-job/pipelines-e1-TrainModel-a"),
        ("sagemaker:DescribeModelPackage", PACKAGE),
        ("sagemaker:ListModelPackages", PACKAGE),
        ("logs:DescribeLogStreams", f"{logs}/aws/sagemaker/ProcessingJobs:log-stream:x"),
        ("logs:GetLogEvents", f"{logs}/aws/sagemaker/ProcessingJobs:log-stream:x"),
        ("budgets:ViewBudget", f"arn:aws:budgets::{ACCOUNT}:budget/slm-edge-dev-monthly-0"),
        ("sagemaker:ListPipelines", "*"),
        ("cloudwatch:GetMetricData", "*"),
    ]:
        assert person.may(action, resource), action


@pytest.mark.parametrize("who", [SCIENTIST, ENGINEER])
def test_studio_opens_for_a_profile_of_this_project_only(dev, who):
    person = Person(dev, who)
    profile = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:user-profile/d-abc/anna"
    ours = {"aws__ResourceTag/project": "slm-edge", "aws__ResourceTag/environment": "dev"}
    action = "sagemaker:CreatePresignedDomainUrl"
    assert person.may(action, profile, **ours)
    assert not person.may(action, profile)
    assert not person.may(action, profile, **{**ours, "aws__ResourceTag/project": "other"})
    assert not person.may(action, profile, **{**ours, "aws__ResourceTag/environment": "prod"})


def test_only_those_who_work_with_models_open_studio(dev):
    ours = {"aws__ResourceTag/project": "slm-edge", "aws__ResourceTag/environment": "dev"}
    profile = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:user-profile/d-abc/anna"
    for who in (PLATFORM, AUDITOR):
        assert not Person(dev, who).may("sagemaker:CreatePresignedDomainUrl", profile, **ours)


def test_a_data_scientist_reads_data_and_writes_none(dev):
    person = Person(dev, SCIENTIST)
    for purpose in ("raw", "processed", "models", "pipeline"):
        assert person.touches("s3:GetObject", purpose)
        assert not person.touches("s3:PutObject", purpose)
        assert person.may("s3:ListBucket", f"arn:aws:s3:::{dev.settings.buckets[purpose]}")
    assert not person.touches("s3:GetObject", "deployments")
    assert person.uses_key("kms:Decrypt")
    assert not person.uses_key("kms:GenerateDataKey")


def test_an_ml_engineer_imports_datasets_and_publishes_models_and_packages(dev):
    person = Person(dev, ENGINEER)
    for purpose in dev.settings.buckets:
        assert person.touches("s3:GetObject", purpose)
    assert person.touches("s3:PutObject", "raw", "datasets/new/manifest.json")
    assert not person.touches("s3:PutObject", "raw", "elsewhere/a")
    assert person.touches("s3:PutObject", "models", "pushed/e1/model.tar.gz")
    assert person.touches("s3:PutObject", "deployments", "pushed/e1/recipe.json")
    assert not person.touches("s3:PutObject", "pipeline", "executions/e1/TrainModel/a")
    for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"):
        assert person.uses_key(action)
    assert person.may("cloudwatch:PutMetricData", "*", cloudwatch__namespace="slm-edge/dev")
    assert not person.may("cloudwatch:PutMetricData", "*", cloudwatch__namespace="slm-edge/prod")


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_only_an_ml_engineer_registers_and_approves_and_nobody_deletes(dev, who):
    person = Person(dev, who)
    for action in ("CreateModelPackage", "UpdateModelPackage"):
        assert person.may(f"sagemaker:{action}", PACKAGE) is (who == ENGINEER)
    assert not person.may("sagemaker:DeleteModelPackage", PACKAGE)
    other = PACKAGE.replace("slm-edge-dev", "slm-edge-prod")
    assert not person.may("sagemaker:UpdateModelPackage", other)


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_nobody_deletes_data_but_a_platform_engineer_where_none_is_retained(dev, prod, who):
    for purpose in dev.settings.buckets:
        allowed = Person(dev, who).touches("s3:DeleteObjectVersion", purpose)
        assert allowed is (who == PLATFORM)


def test_in_prod_nobody_deletes_data(synthesized):
    stacks = synthesized("prod", identity={"instance_arn": INSTANCE})
    for who in PERMISSION_SETS:
        for purpose in stacks.settings.buckets:
            assert not Person(stacks, who).touches("s3:DeleteObject", purpose)
            assert not Person(stacks, who).touches("s3:DeleteObjectVersion", purpose)


def test_a_platform_engineer_deploys_through_the_bootstraps_roles(dev):
    person = Person(dev, PLATFORM)
    roles = f"arn:aws:iam::{ACCOUNT}:role/"
    for name in ("deploy", "file-publishing", "image-publishing", "lookup"):
        bootstrap = f"{roles}cdk-hnb659fds-{name}-role-{ACCOUNT}-eu-west-1"
        assert person.may("sts:AssumeRole", bootstrap)
    assert not person.may("sts:AssumeRole", f"{roles}cdk-hnb659fds-deploy-role-{ACCOUNT}-us-east-1")
    assert not person.may("sts:AssumeRole", f"{roles}Administrator")
    stack = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/slm-edge-dev-roles/1"
    assert person.may("cloudformation:DescribeStacks", stack)
    assert not person.may("cloudformation:DeleteStack", stack)


def test_a_platform_engineer_lifts_the_budgets_brake_and_nobody_else_does(dev):
    action = f"arn:aws:budgets::{ACCOUNT}:budget/slm-edge-dev-monthly-0/action/1"
    for who in PERMISSION_SETS:
        allowed = Person(dev, who).may("budgets:ExecuteBudgetAction", action)
        assert allowed is (who == PLATFORM)
    other = action.replace("slm-edge-dev", "somebody-elses")
    assert not Person(dev, PLATFORM).may("budgets:ExecuteBudgetAction", other)


@pytest.mark.parametrize("who", [PLATFORM, AUDITOR])
def test_those_who_do_not_work_with_data_do_not_read_it(dev, who):
    person = Person(dev, who)
    for purpose in dev.settings.buckets:
        assert not person.touches("s3:GetObject", purpose)
        assert not person.touches("s3:PutObject", purpose)
    for step in ("PrepareData", "TrainModel", "EvaluateModel"):
        assert not person.touches("s3:GetObject", "pipeline", f"executions/e1/{step}/output/a")
    assert person.uses_key("kms:Decrypt") is (who == PLATFORM)  # of the packages


def test_an_auditor_reads_configuration_policies_and_trails(dev):
    person = Person(dev, AUDITOR)
    raw, logs = dev.settings.raw_bucket, dev.settings.access_log_bucket
    training = f"arn:aws:iam::{ACCOUNT}:role/slm-edge-dev-training"
    for action, resource in [
        ("s3:GetBucketPolicy", f"arn:aws:s3:::{raw}"),
        ("s3:GetEncryptionConfiguration", f"arn:aws:s3:::{raw}"),
        ("s3:GetObject", f"arn:aws:s3:::{logs}/raw/2026"),
        ("iam:GetRolePolicy", training),
        ("iam:ListAttachedRolePolicies", training),
        ("sns:GetTopicAttributes", dev.settings.alert_topic_arn),
        ("cloudtrail:LookupEvents", "*"),
    ]:
        assert person.may(action, resource), action
    assert person.uses_key("kms:GetKeyPolicy")


def test_an_auditor_changes_nothing(dev):
    """Every action that an auditor's policy names is one that reads."""
    [policy] = [
        one["InlinePolicy"]
        for name, one in permission_sets(dev).items()
        if name.endswith("auditor")
    ]
    # StartQuery starts a query over logs, and nothing that stays
    reading = re.compile(
        r"[a-z0-9-]+:(Describe|Get|List|Filter|Lookup|Search|View|StartQuery)\w*\*?"
    )
    for statement in statements_in(policy, dev.names):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert reading.fullmatch(action), action


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_nobody_passes_a_role_or_touches_iam_or_another_projects_key_and_buckets(dev, who):
    person = Person(dev, who)
    for kind in ROLE_KINDS:
        role = dev.settings.role_arn(kind)
        assert not person.may("iam:PassRole", role, iam__PassedToService="sagemaker.amazonaws.com")
        assert not person.may("sts:AssumeRole", role)
        for action in ("PutRolePolicy", "AttachRolePolicy", "DeleteRolePermissionsBoundary"):
            assert not person.may(f"iam:{action}", role)
    for action in ("CreateUser", "CreateAccessKey", "CreateGroup"):
        assert not person.may(f"iam:{action}", f"arn:aws:iam::{ACCOUNT}:user/x")
    assert not person.uses_key("kms:Decrypt", alias="alias/another")
    assert not person.uses_key("kms:Decrypt", service="ec2")
    assert not person.may("s3:GetObject", "arn:aws:s3:::somebody-elses/a")


IOT = f"arn:aws:iot:eu-west-1:{ACCOUNT}"
GREENGRASS = f"arn:aws:greengrass:eu-west-1:{ACCOUNT}"
COMPONENT = f"{GREENGRASS}:components:slm.edge.IntentModel"


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_only_a_platform_engineer_provisions_devices_and_deploys_to_the_two_groups(dev, who):
    person = Person(dev, who)
    for action, resource in [
        ("iot:CreateThing", f"{IOT}:thing/kitchen-1"),
        ("iot:CreateCertificateFromCsr", "*"),
        ("iot:AttachPolicy", f"{IOT}:cert/abc"),
        ("iot:AddThingToThingGroup", f"{IOT}:thinggroup/slm-edge-dev-canary"),
        ("iot:CreateJob", f"{IOT}:thinggroup/slm-edge-dev"),
        ("greengrass:CreateComponentVersion", COMPONENT),
        ("greengrass:CreateDeployment", "*"),
    ]:
        assert person.may(action, resource) is (who == PLATFORM), action


def test_a_platform_engineer_reaches_no_other_projects_groups_components_or_policies(dev):
    person = Person(dev, PLATFORM)
    for action, resource in [
        ("iot:AddThingToThingGroup", f"{IOT}:thinggroup/another"),
        ("iot:CreateJob", f"{IOT}:thinggroup/another"),
        ("iot:AttachPolicy", f"{IOT}:thinggroup/slm-edge-dev"),
        ("iot:CreatePolicyVersion", f"{IOT}:policy/slm-edge-dev-device"),
        ("iot:UpdateRoleAlias", f"{IOT}:rolealias/slm-edge-dev-device"),
        ("iot:Publish", f"{IOT}:topic/slm/kitchen-1/requests"),
        ("greengrass:CreateComponentVersion", f"{GREENGRASS}:components:another"),
        ("greengrass:DeleteComponent", f"{COMPONENT}:versions:1.0.1"),
    ]:
        assert not person.may(action, resource), action


def test_a_platform_engineer_publishes_components_reads_packages_and_signs_nothing(dev):
    person = Person(dev, PLATFORM)
    assert person.touches("s3:PutObject", "deployments", "components/a/1.0.1/a.zip")
    assert not person.touches("s3:PutObject", "deployments", "pushed/e1/a.zip")
    assert person.touches("s3:GetObject", "pipeline", "executions/e1/PackageComponent/output/a.zip")
    signing = dev.settings.signing_alias
    assert person.uses_key("kms:GetPublicKey", alias=signing)
    assert not person.uses_key("kms:Sign", alias=signing)
    assert not person.uses_key("kms:Decrypt", alias=signing)
    assert person.uses_key("kms:GenerateDataKey")


def test_the_platform_engineer_looks_at_what_failed(dev):
    queue = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:slm-edge-dev-retraining-dead-letters"
    for one in (queue, queue.replace("retraining", "telemetry")):
        assert Person(dev, PLATFORM).may("sqs:ReceiveMessage", one)
    assert Person(dev, PLATFORM).uses_key("kms:Decrypt", service="sqs")
    assert not Person(dev, SCIENTIST).may("sqs:ReceiveMessage", queue)


# The delivery ------------------------------------------------------------------------------

RELEASES = f"arn:aws:codepipeline:eu-west-1:{ACCOUNT}:{NAME}"
READING = (
    "GetPipeline",
    "GetPipelineExecution",
    "GetPipelineState",
    "ListActionExecutions",
    "ListPipelineExecutions",
)
GOVERNING = {
    "StartPipelineExecution": RELEASES,
    "StopPipelineExecution": RELEASES,
    "RetryStageExecution": f"{RELEASES}/Staging",
    "EnableStageTransition": f"{RELEASES}/Prod",
    "DisableStageTransition": f"{RELEASES}/Prod",
}


@pytest.fixture(scope="module")
def tooling(synthesized) -> Synthesized:
    """Dev as the environment in which the delivery pipeline lies."""
    return synthesized(
        "dev",
        identity={"instance_arn": INSTANCE},
        delivery={"connection": CONNECTION, "repository": "example/slm-edge"},
    )


def approval_in(delivery: Delivery) -> str:
    """The ARN of the one manual approval that the delivery's template has."""
    [(stage, action)] = [
        (stage, action["Name"])
        for stage, actions in delivery.stages.items()
        for action in actions
        if action["ActionTypeId"]["Category"] == "Approval"
    ]
    return f"arn:aws:codepipeline:eu-west-1:{ACCOUNT}:{delivery.pipeline['Name']}/{stage}/{action}"


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_only_an_ml_engineer_answers_the_approval_of_a_release(tooling, delivery, who):
    person, approval = Person(tooling, who), approval_in(delivery)
    assert person.may("codepipeline:PutApprovalResult", approval) is (who == ENGINEER)
    for other in (
        approval.replace(NAME, "somebody-elses"),
        f"{RELEASES}/Approve/Another",
        f"{RELEASES}/Prod/Approve",
        RELEASES,
    ):
        assert not person.may("codepipeline:PutApprovalResult", other)


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_only_a_platform_engineer_starts_stops_and_holds_releases(tooling, who):
    person = Person(tooling, who)
    for action, resource in GOVERNING.items():
        assert person.may(f"codepipeline:{action}", resource) is (who == PLATFORM), action
        other = resource.replace(NAME, "somebody-elses")
        assert not person.may(f"codepipeline:{action}", other), action
        assert not person.may(f"codepipeline:{action}", f"{RELEASES}-too"), action


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_those_who_decide_on_a_release_see_how_far_it_is(tooling, who):
    person = Person(tooling, who)
    for action in READING:
        assert person.may(f"codepipeline:{action}", RELEASES) is (who in (ENGINEER, PLATFORM))
        assert not person.may(f"codepipeline:{action}", RELEASES.replace(NAME, "somebody-elses"))


@pytest.mark.parametrize("who", PERMISSION_SETS)
def test_nobody_changes_the_delivery_pipeline(tooling, who):
    person = Person(tooling, who)
    for action in ("CreatePipeline", "DeletePipeline", "OverrideStageCondition", "UpdatePipeline"):
        for resource in (RELEASES, f"{RELEASES}/Prod"):
            assert not person.may(f"codepipeline:{action}", resource)


def test_where_there_is_no_delivery_pipeline_nobody_has_a_right_to_one(dev):
    assert "codepipeline:" not in json.dumps(permission_sets(dev))
