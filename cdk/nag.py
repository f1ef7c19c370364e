"""cdk-nag's AwsSolutions rules, and the findings that we answer for: one list, each with a reason.

A finding that no entry of :func:`acknowledged` covers fails ``cdk synth``. An entry names its rule,
where it may occur and, since the rule for IAM reports every wildcard by itself, which wildcards it
covers: a regular expression over ARNs without partition, region and account. A test sees to it that
every entry still covers something.

Leaves out: fixing what nag finds, which comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from pipeline.settings import Settings

WILDCARD = "AwsSolutions-IAM5"


@dataclass(frozen=True)
class Acknowledged:
    """One kind of finding that stays, and why."""

    rule: str
    where: str
    """Regular expression for the construct's path below its stack."""
    covers: str
    """Regular expression for what stands in brackets after the rule."""
    reason: str

    def is_about(self, path: str, finding: str) -> bool:
        rule, _, detail = finding.removesuffix("]").partition("[")
        return (
            rule == self.rule
            and re.match(self.where, path.partition("/")[2]) is not None
            and re.fullmatch(self.covers, _plain(detail)) is not None
        )


def acknowledged(settings: Settings) -> tuple[Acknowledged, ...]:
    """Every kind of finding that stays. Where nothing else is said it is a wildcard of IAM."""
    raw, processed, models, deployments, executions = (
        re.escape(settings.buckets[purpose])
        for purpose in ("raw", "processed", "models", "deployments", "pipeline")
    )
    group = re.escape(settings.model_package_group)
    base_model = re.escape((settings.base_model_uri or "").removeprefix("s3://").rstrip("/"))
    jobs = r"(Processing|Training|Registration|Drift)/"
    return (
        Acknowledged(
            WILDCARD,
            r"(Promotion)?Boundary/",
            r".*",
            "A permissions boundary grants nothing. It is the ceiling over every role of the "
            "project, so it speaks of the project's names, and IAM allows it 6,144 characters.",
        ),
        Acknowledged(
            WILDCARD,
            rf"{jobs}|(Telemetry|Watch)/Role/",
            r"Resource::\*",
            "The registry's login token, metrics (with their namespaces as a condition) and, in a "
            "VPC, EC2's describing calls know no resource; cdk/roles/wildcards.py lists each.",
        ),
        Acknowledged(
            WILDCARD,
            rf"{jobs}|LogRetention/Role/",
            r"Resource::logs:log-group:/aws/sagemaker/(\*|(Processing|Training)Jobs:\*)",
            "SageMaker names the log groups of jobs, and a stream when its job starts; IAM wants "
            "the streams' wildcard even where only the group is meant.",
        ),
        Acknowledged(
            WILDCARD,
            rf"Pipeline/|{jobs}|Studio/",
            rf"Resource::s3:{executions}/executions/\*(/[A-Za-z]+/\*(/registered/\*)?)?",
            "An execution's id is made when it starts. The role is limited to the folders of the "
            "steps that it reads or writes; Studio's role may read the reports of all of them.",
        ),
        Acknowledged(
            WILDCARD,
            r"Processing/|Studio/|Retraining/FunctionRole/",
            rf"Resource::s3:{raw}/datasets/\*(/manifest\.json)?",
            "A dataset is named by whoever uploads it, and is read whole; the function behind the "
            "rule reads the manifests alone.",
        ),
        Acknowledged(
            WILDCARD,
            r"(Processing|Registration)/",
            rf"Resource::s3:{models}/(neo/)?\*",
            "The champion that evaluation compares with lies under a key made when it was pushed "
            "(read only); Neo's results lie under one prefix, in keys that SageMaker chooses.",
        ),
        Acknowledged(
            WILDCARD,
            r"(Processing|Training|Boundary)/",
            rf"Resource::s3:{base_model}/\*",
            "A base model is a folder of files named by its publisher; it is only read.",
        ),
        Acknowledged(
            WILDCARD,
            r"(Processing|Registration)/",
            rf"Resource::sagemaker:model-package/{group}/\*",
            "The versions of this project's one group are numbered as models are registered.",
        ),
        Acknowledged(
            WILDCARD,
            r"(Pipeline|Registration)/",
            rf"Resource::sagemaker:((processing|training)-job/pipelines|compilation-job/{group})-\*",
            "A job's name ends in what its execution makes of it; the pipeline's role reaches the "
            "jobs of pipelines only, registration's the compilation jobs of this group only.",
        ),
        Acknowledged(
            WILDCARD,
            jobs,
            r"Resource::ec2:network-interface/\*",
            "In a VPC a job makes its interfaces when it starts; subnets and security groups are "
            "named, and only interfaces in those subnets can be used.",
        ),
        Acknowledged(
            WILDCARD,
            r"Studio/",
            rf"Resource::sagemaker:pipeline/{re.escape(settings.pipeline_name)}/execution/\*",
            "An execution's id is made when it starts; the pipeline is named.",
        ),
        Acknowledged(
            WILDCARD,
            r"((Devices|Telemetry)/Role|Drift)/",
            rf"Resource::s3:({deployments}/({settings.components_prefix}"
            rf"|{settings.references_prefix})|{processed}/{settings.telemetry_prefix})/\*",
            "Versions of components are numbered as models are registered, and a device's windows "
            "are named by the device; each role has the prefixes that it reads or writes.",
        ),
        Acknowledged(
            "AwsSolutions-SQS3",
            r"(Telemetry|Promotion)/DeadLetters/",
            r"",
            "This queue is itself the one for dead letters, of a topic rule's error action or of "
            "an event rule's target, which the rules do not look into; an alarm says when "
            "something waits in it.",
        ),
        _of_promotion(settings),
        *_of_delivery(settings),
    )


def _of_promotion(settings: Settings) -> Acknowledged:
    """The findings of the roles that promote."""
    processed, models, deployments, executions = (
        re.escape(settings.buckets[purpose])
        for purpose in ("processed", "models", "deployments", "pipeline")
    )
    component, group = re.escape(settings.component_name), settings.model_package_group
    return Acknowledged(
        WILDCARD,
        r"Promotion/(FunctionRole|MachineRole)/|Promoted/",
        rf"Resource::(\*|s3:{executions}/executions/\*/(PackageComponent|TrainModel)/\*"
        rf"|s3:{deployments}/(components|promotions|references|pushed)/\*"
        rf"|s3:{models}/(pushed|promoted)/\*|s3:{processed}/{settings.telemetry_prefix}/\*"
        rf"|sagemaker:model-package/{re.escape(group)}/\*"
        rf"|greengrass:(components:{component}:versions|coreDevices|deployments):\*"
        r"|iot:job/\*)",
        "Versions, their components, deployments and the jobs that carry them are named when they "
        "are made, and devices when they are provisioned; the group, the component and the two "
        "groups of devices are named. What knows no resource stands in cdk/roles/wildcards.py.",
    )


def _of_delivery(settings: Settings) -> Iterator[Acknowledged]:
    """The findings that the settings of delivery bring."""
    raw, executions, deployments = (
        re.escape(settings.buckets[purpose]) for purpose in ("raw", "pipeline", "deployments")
    )
    pipeline = re.escape(settings.pipeline_name)
    if settings.delivery.here or settings.delivery.tooling:
        yield Acknowledged(
            WILDCARD,
            r"Delivery/",
            rf"Resource::(s3:{executions}/executions/\*/(EvaluateModel|PackageComponent)/\*"
            rf"|s3:{raw}/datasets/delivery-\*|s3:{deployments}/{settings.promotions_prefix}/\*"
            rf"|logs:log-group:/aws/sagemaker/\*"
            rf"|sagemaker:(pipeline/{pipeline}/execution|model-package/{pipeline}-intents)/\*)",
            "Executions, their jobs and the versions that they register are named when they are "
            "made; delivery follows those of this environment's one pipeline and no others.",
        )
    if settings.delivery.here:
        yield Acknowledged(
            WILDCARD,
            r"(Pipeline|DeliveryBoundary)/",
            rf"Resource::(s3:{executions}/{re.escape(settings.delivery_prefix)}"
            rf"/\*|logs:log-group:/aws/codebuild/{re.escape(settings.delivery_pipeline)}:\*"
            rf"|codebuild:project/{re.escape(settings.delivery_pipeline)}-\*)",
            "CodePipeline names an artifact, and CodeBuild a stream of its log, when an execution "
            "begins; the prefix and the group are this delivery's alone.",
        )
        yield Acknowledged(
            WILDCARD,
            r"Pipeline/Builds/ImagesRole/|GitHub/|DeliveryBoundary/",
            r"Resource::\*",
            "The token for registries is the caller's and knows no resource; what it opens is the "
            "statement beside it, on the repositories of the two images.",
        )


def attach(app: App, settings: Settings) -> None:
    """Check the app when it is synthesized, but for what :func:`acknowledged` covers."""
    entries = acknowledged(settings)
    for path, finding in findings(app):
        for entry in entries:
            if entry.is_about(path, finding):
                # Validations.acknowledge refuses an id with "::" twice, which every ARN of IAM and
                # S3 has (cdk-nag issue 2351); this is the metadata that it would write.
                _construct(app, path).node.add_metadata(
                    Validations.ACKNOWLEDGED_RULES_METADATA_KEY,
                    {finding: entry.reason},
                    stack_trace=False,
                )
                break
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def findings(app: App) -> list[tuple[str, str]]:
    """Path and finding of everything that the rules object to."""
    report = AwsSolutionsChecks().validate_scope(app)
    return [
        (resource.construct_path, violation.rule_name)
        for violation in report.violations
        for resource in violation.violating_resources
        if resource.construct_path
    ]


def _plain(detail: str) -> str:
    """``Resource::arn:aws:s3:::bucket/*`` as ``Resource::s3:bucket/*``."""
    return re.sub(r"arn:[^:]+:([a-z0-9-]+):[a-z0-9-]*:[0-9]*:", r"\1:", detail)


def _construct(app: App, path: str) -> IConstruct:
    found: IConstruct = app
    for name in path.split("/"):
        found = found.node.find_child(name)
    return found
