"""Each job of the definition can do its work under its role, and nothing of another job's."""

from __future__ import annotations

import pytest

from pipeline.names import ROLE_KINDS, RoleKind
from pipeline.settings import Settings
from tests.cdk.jobs import Job, jobs_of
from tests.cdk.policies import Call, is_allowed
from tests.cdk.synthesized import Synthesized

JOBS = (
    "PrepareData",
    "TrainModel",
    "EvaluateModel",
    "RegisterModel",
    "CompileModel",
    "PackageComponent",
)
ACCOUNT = "111111111111"
GROUP = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package-group/slm-edge-dev-intents"
PACKAGE = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model-package/slm-edge-dev-intents/3"
THROUGH_S3 = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}


@pytest.fixture(scope="module")
def jobs() -> dict[str, Job]:
    return {job.name: job for job in jobs_of(Settings.load("dev"))}


class Role:
    """A service role as synthesized."""

    def __init__(self, stacks: Synthesized, name: str) -> None:
        self._statements = stacks.statements_of(name)
        self._boundary = stacks.boundary
        self.key_arn = stacks.key_arn

    def may(self, action: str, resource: str, **context: str) -> bool:
        """What the role's own policy says; the boundary, which is wider, never cuts it."""
        given = {key.replace("__", ":"): value for key, value in context.items()}
        call = Call(action, resource, given)
        allowed = is_allowed(call, self._statements)
        assert allowed is is_allowed(call, self._statements, boundary=self._boundary), call
        return allowed

    def reads(self, uri: str) -> bool:
        """Lists below the address, and gets the object or one below it."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        arn = f"arn:aws:s3:::{bucket}"
        listed = self.may("s3:ListBucket", arn, s3__prefix=key)
        return listed and any(
            self.may("s3:GetObject", f"{arn}/{one}") for one in (key, f"{key}/part")
        )

    def writes(self, uri: str) -> bool:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        actions = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
        return all(self.may(one, f"arn:aws:s3:::{bucket}/{key}/part") for one in actions)


def role_of(stacks: Synthesized, kind: RoleKind) -> Role:
    return Role(stacks, stacks.settings.role_name(kind))


def test_the_definition_has_the_jobs_that_these_tests_are_about(jobs):
    assert set(jobs) == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_reads_its_inputs(dev, jobs, name):
    role = Role(dev, jobs[name].role)
    assert jobs[name].reads
    for uri in jobs[name].reads:
        assert role.reads(uri), uri


@pytest.mark.parametrize("name", JOBS)
def test_a_job_writes_its_outputs(dev, jobs, name):
    role = Role(dev, jobs[name].role)
    for uri in jobs[name].writes:
        assert role.writes(uri), uri


def test_training_keeps_checkpoints_and_finds_them_again(dev, jobs):
    role, uri = Role(dev, jobs["TrainModel"].role), jobs["TrainModel"].checkpoints
    assert role.writes(uri)
    assert role.reads(uri)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_writes_nothing_that_is_another_roles(dev, jobs, name):
    """One exception: registering puts the evaluation that it points to beside the model."""
    role = Role(dev, jobs[name].role)
    for other in jobs.values():
        if other.role != jobs[name].role:
            for uri in other.writes:
                assert not role.writes(uri), uri


@pytest.mark.parametrize("name", JOBS)
def test_a_job_does_not_write_what_it_was_given(dev, jobs, name):
    role = Role(dev, jobs[name].role)
    raw = f"s3://{dev.settings.raw_bucket}/datasets/smart_home"
    assert not role.writes(raw)
    assert not role.writes(f"s3://{dev.settings.deployments_bucket}/components")


@pytest.mark.parametrize("kind", ["training", "registration", "pipeline", "retraining"])
def test_only_processing_reads_raw_data(dev, kind):
    assert not role_of(dev, kind).reads(f"s3://{dev.settings.raw_bucket}/datasets/smart_home")


@pytest.mark.parametrize("kind", ROLE_KINDS)
def test_a_role_lists_no_bucket_as_a_whole(dev, kind):
    role = role_of(dev, kind)
    for name in dev.settings.buckets.values():
        assert not role.may("s3:ListBucket", f"arn:aws:s3:::{name}")
        if name != dev.settings.model_bucket:
            assert not role.may("s3:ListBucket", f"arn:aws:s3:::{name}", s3__prefix="")


@pytest.mark.parametrize("kind", ["processing", "training", "registration"])
def test_a_job_pulls_its_image_and_logs_and_publishes_its_metrics(dev, kind):
    role = role_of(dev, kind)
    assert role.may("ecr:GetAuthorizationToken", "*")
    repositories = f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/"
    for name in (
        "slm-edge-dev/processing",
        "slm-edge-dev/training",
        f"cdk-hnb659fds-container-assets-{ACCOUNT}-eu-west-1",
    ):
        for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
            assert role.may(f"ecr:{action}", repositories + name)
    assert not role.may("ecr:BatchGetImage", f"{repositories}another")
    assert not role.may("ecr:PutImage", f"{repositories}slm-edge-dev/training")
    logs = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:"
    stream = f"{logs}/aws/sagemaker/TrainingJobs:log-stream:pipelines-e1-TrainModel-abc/algo-1"
    assert role.may("logs:CreateLogGroup", f"{logs}/aws/sagemaker/TrainingJobs")
    assert role.may("logs:CreateLogStream", stream)
    assert role.may("logs:PutLogEvents", stream)
    assert not role.may("logs:PutLogEvents", f"{logs}/aws/lambda/another:log-stream:x")
    metric = {"cloudwatch__namespace": "/aws/sagemaker/TrainingJobs"}
    assert role.may("cloudwatch:PutMetricData", "*", **metric)
    assert role.may("cloudwatch:PutMetricData", "*", cloudwatch__namespace="slm-edge/dev")
    assert not role.may("cloudwatch:PutMetricData", "*", cloudwatch__namespace="AWS/Billing")


@pytest.mark.parametrize("kind", ["processing", "training", "registration"])
def test_a_job_uses_the_key_through_s3_and_for_its_volume(dev, kind):
    role = role_of(dev, kind)
    s3 = {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert role.may(action, dev.key_arn, **s3)
        assert not role.may(action, dev.key_arn)
        assert not role.may(action, dev.key_arn.replace("1234abcd", "deadbeef"), **s3)
    assert role.may("kms:CreateGrant", dev.key_arn, kms__GrantIsForAWSResource="true")
    assert not role.may("kms:CreateGrant", dev.key_arn)


def test_an_image_of_another_account_can_be_pulled_where_settings_name_it(synthesized):
    digest = "sha256:" + "0" * 64
    shared = "999999999999.dkr.ecr.eu-west-1.amazonaws.com/shared/training"
    role = role_of(synthesized("dev", images={"training": f"{shared}@{digest}"}), "training")
    arn = "arn:aws:ecr:eu-west-1:999999999999:repository/shared/"
    assert role.may("ecr:BatchGetImage", f"{arn}training")
    assert not role.may("ecr:BatchGetImage", f"{arn}other")


def test_a_base_model_in_s3_is_read_by_the_jobs_that_use_it(synthesized):
    stacks = synthesized("dev", base_model_uri="s3://models-of-ours/bert/small")
    for kind in ("processing", "training"):
        assert role_of(stacks, kind).reads("s3://models-of-ours/bert/small")
        assert not role_of(stacks, kind).reads("s3://models-of-ours/bert/large")
    assert not role_of(stacks, "registration").reads("s3://models-of-ours/bert/small")


def test_evaluation_reads_the_registry_and_the_champion_and_changes_neither(dev):
    role = role_of(dev, "processing")
    for action in ("sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"):
        assert role.may(action, PACKAGE)
    pushed = f"arn:aws:s3:::{dev.settings.model_bucket}/pushed/e0/model.tar.gz"
    assert role.may("s3:GetObject", pushed)
    assert not role.may("s3:PutObject", pushed)
    for action in ("CreateModelPackage", "DeleteModelPackage"):
        assert not role.may(f"sagemaker:{action}", PACKAGE)


def test_packaging_notes_where_the_package_is_and_approves_nothing(dev):
    role = role_of(dev, "processing")
    assert role.may("sagemaker:UpdateModelPackage", PACKAGE)
    for status in ("Approved", "Rejected", "PendingManualApproval"):
        given = {"sagemaker__ModelApprovalStatus": status}
        assert not role.may("sagemaker:UpdateModelPackage", PACKAGE, **given)


def test_registering_makes_a_version_and_puts_its_evaluation_beside_the_model(dev, jobs):
    role = role_of(dev, "registration")
    for action in ("CreateModelPackage", "DescribeModelPackageGroup", "CreateModelPackageGroup"):
        assert role.may(f"sagemaker:{action}", GROUP)
    assert role.may("sagemaker:CreateModelPackage", PACKAGE)
    [model] = [uri for uri in jobs["RegisterModel"].reads if uri.endswith("model.tar.gz")]
    folder = model.rpartition("/")[0]
    assert role.writes(f"{folder}/registered/0123")
    assert not role.writes(folder)


def test_compiling_rejects_a_version_but_deletes_none(dev):
    role = role_of(dev, "registration")
    assert role.may("sagemaker:UpdateModelPackage", PACKAGE)
    assert not role.may("sagemaker:DeleteModelPackage", PACKAGE)
    assert not role.may("sagemaker:UpdateModelPackage", PACKAGE.replace("slm-edge-dev", "other"))


def test_compiling_asks_neo_with_its_own_role_and_no_other(dev):
    role = role_of(dev, "registration")
    jobs = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:compilation-job/"
    for action in ("CreateCompilationJob", "DescribeCompilationJob"):
        assert role.may(f"sagemaker:{action}", f"{jobs}slm-edge-dev-intents-3-1790000000")
        assert not role.may(f"sagemaker:{action}", f"{jobs}another-3")
    assert role.writes(f"s3://{dev.settings.model_bucket}/neo/job")
    assert role.reads(f"s3://{dev.settings.model_bucket}/neo/job")
    assert not role.writes(f"s3://{dev.settings.model_bucket}/pushed")
    to_sagemaker = {"iam__PassedToService": "sagemaker.amazonaws.com"}
    for kind in ROLE_KINDS:
        passed = role.may("iam:PassRole", dev.settings.role_arn(kind), **to_sagemaker)
        assert passed is (kind == "registration")


def test_the_pipeline_starts_watches_and_stops_its_own_jobs(dev, jobs):
    role = role_of(dev, "pipeline")
    for job in jobs.values():
        arn = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:{job.kind}/pipelines-e1-{job.name}-abc"
        kind = "".join(word.capitalize() for word in job.kind.split("-"))
        for verb in ("Create", "Describe", "Stop"):
            assert role.may(f"sagemaker:{verb}{kind}", arn)
            assert not role.may(f"sagemaker:{verb}{kind}", arn.replace("pipelines-", "mine-"))
        creating = {"sagemaker__TaggingAction": f"Create{kind}"}
        assert role.may("sagemaker:AddTags", arn, **creating)
        assert not role.may("sagemaker:AddTags", arn)


def test_the_pipeline_hands_jobs_the_roles_of_jobs_and_to_sagemaker_only(dev, jobs):
    role = role_of(dev, "pipeline")
    used = {job.role for job in jobs.values()} | {dev.settings.role_name("drift")}
    for kind in ROLE_KINDS:
        arn = dev.settings.role_arn(kind)
        passed = role.may("iam:PassRole", arn, iam__PassedToService="sagemaker.amazonaws.com")
        assert passed is (dev.settings.role_name(kind) in used)
        assert not role.may("iam:PassRole", arn, iam__PassedToService="lambda.amazonaws.com")
        assert not role.may("iam:PassRole", arn)


def test_the_pipeline_reads_the_figures_that_gates_compare_and_no_data(dev, jobs):
    role = role_of(dev, "pipeline")
    for name in ("EvaluateModel", "CompileModel"):
        [output] = jobs[name].writes
        assert role.reads(output)
        assert not role.writes(output)
    for name in ("PrepareData", "TrainModel"):
        [output] = jobs[name].writes
        assert not role.reads(output)


def test_retraining_starts_this_pipeline_and_keeps_what_it_could_not_start(dev):
    role = role_of(dev, "retraining")
    start = "sagemaker:StartPipelineExecution"
    assert role.may(start, dev.settings.pipeline_arn)
    assert not role.may(start, f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:pipeline/another")
    queue = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:"
    assert role.may("sqs:SendMessage", queue + dev.settings.dead_letter_queue)
    assert not role.may("sqs:SendMessage", f"{queue}another")
    through = {"kms__ViaService": "sqs.eu-west-1.amazonaws.com"}
    assert role.may("kms:GenerateDataKey", dev.key_arn, **through)
    assert not role.may("kms:GenerateDataKey", dev.key_arn)


def test_a_job_joins_the_given_subnets_and_no_others(synthesized, dev):
    network = {"subnets": ["subnet-0a"], "security_groups": ["sg-0b"]}
    stacks = synthesized("dev", network=network)
    ec2 = f"arn:aws:ec2:eu-west-1:{ACCOUNT}:"
    for kind in ("processing", "training", "registration"):
        role, without = role_of(stacks, kind), role_of(dev, kind)
        create = "ec2:CreateNetworkInterface"
        for resource in ("network-interface/eni-1", "subnet/subnet-0a", "security-group/sg-0b"):
            assert role.may(create, ec2 + resource)
            assert not without.may(create, ec2 + resource)
        assert not role.may(create, f"{ec2}subnet/subnet-0c")
        there = {"ec2__Subnet": f"{ec2}subnet/subnet-0a"}
        elsewhere = {"ec2__Subnet": f"{ec2}subnet/subnet-0c"}
        for action in ("DeleteNetworkInterface", "CreateNetworkInterfacePermission"):
            assert role.may(f"ec2:{action}", f"{ec2}network-interface/eni-1", **there)
            assert not role.may(f"ec2:{action}", f"{ec2}network-interface/eni-1", **elsewhere)
        assert role.may("ec2:DescribeSubnets", "*")
        assert not without.may("ec2:DescribeSubnets", "*")


def test_no_role_reaches_another_projects_bucket_key_or_group(dev):
    for kind in ROLE_KINDS:
        role = role_of(dev, kind)
        for action in ("s3:GetObject", "s3:PutObject"):
            assert not role.may(action, "arn:aws:s3:::somebody-elses/executions/e1/TrainModel/a")
        other_key = dev.key_arn.replace("1234abcd", "deadbeef")
        assert not role.may("kms:Decrypt", other_key, kms__ViaService=THROUGH_S3["kms:ViaService"])
        other = PACKAGE.replace("slm-edge-dev-intents", "slm-edge-prod-intents")
        for action in ("DescribeModelPackage", "UpdateModelPackage"):
            assert not role.may(f"sagemaker:{action}", other)
