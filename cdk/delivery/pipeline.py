"""The pipeline: source, test, images, dev, staging, approval, prod.

    Source -> Test -> Images -> Dev: deploy, run -> Staging: deploy, run, devices
           -> Approve -> Prod: deploy, promote

Executions queue up, so that none overtakes another between two stages and each release is approved
by itself. The images' digests, and the version and hash of the package that staging made, are
variables of the execution: every later stage is handed the same ones.

Leaves out: the builds (projects.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from aws_cdk import Duration
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_codepipeline_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.delivery import permissions
from cdk.delivery.projects import Projects
from cdk.roles import principals
from cdk.roles.names import Names
from pipeline.settings import Settings

DOCUMENTS = ("docs/**", "*.md", "**/*.md", "LICENSE", ".github/**")
"""What no release is made of (at most 8 patterns; ``**`` crosses folders)."""
DEFAULT_DATASET = "default"
"""The pipeline variable ``Dataset`` where nobody gave one: the environment's own."""
IMAGES: Mapping[str, str] = {
    "SLM_PROCESSING_IMAGE": "#{Images.PROCESSING_IMAGE}",
    "SLM_TRAINING_IMAGE": "#{Images.TRAINING_IMAGE}",
}
COMMIT: Mapping[str, str] = {"SLM_COMMIT": "#{Source.CommitId}"}
STAGED: Mapping[str, str] = {
    "SLM_EXECUTION": "#{Staged.EXECUTION}",
    "SLM_MODEL_PACKAGE": "#{Staged.MODEL_PACKAGE}",
    "SLM_PACKAGE_SHA256": "#{Staged.PACKAGE_SHA256}",
}
RETRIES = 3


class DeliveryPipeline(Construct):
    """CodePipeline, type V2, with its role, its trigger and its alert."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: Names,
        key: kms.IKey,
        alerts: sns.ITopic,
        targets: tuple[Settings, Settings, Settings],
    ) -> None:
        super().__init__(scope, construct_id)
        self._names, self._alerts = names, alerts
        self._projects = Projects(self, "Builds", names=names, key=key, targets=targets).by_name
        settings = names.settings
        self._source = codepipeline.Artifact("Source")
        fetch = self._fetch()
        bucket = s3.Bucket.from_bucket_attributes(
            self, "Artifacts", bucket_name=settings.pipeline_bucket, encryption_key=key
        )
        pipeline = codepipeline.Pipeline(
            self,
            "Resource",
            pipeline_name=settings.delivery_pipeline,
            pipeline_type=codepipeline.PipelineType.V2,
            execution_mode=codepipeline.ExecutionMode.QUEUED,
            # by its name: by reference, CDK would also name it as a dependency, which cfn-lint
            # calls redundant
            role=iam.Role.from_role_arn(self, "ByName", self._role_arn, mutable=False),
            use_pipeline_role_for_actions=True,
            artifact_bucket=bucket,
            cross_account_keys=False,
            variables=[
                codepipeline.Variable(
                    variable_name="Dataset",
                    default_value=DEFAULT_DATASET,
                    description="What staging trains on: a name below datasets/ in its raw bucket",
                )
            ],
            triggers=[_trigger(fetch, settings)],
            stages=[
                codepipeline.StageProps(stage_name="Source", actions=[_action(fetch)]),
                *self._stages(*targets),
            ],
        )
        pipeline.node.add_dependency(self._role())
        self._tell_failures()

    @property
    def _role_name(self) -> str:
        return f"{self._names.settings.delivery_pipeline}-pipeline"

    @property
    def _role_arn(self) -> str:
        settings = self._names.settings
        return f"arn:{settings.partition}:iam::{settings.account}:role/{self._role_name}"

    def _fetch(self) -> actions.CodeStarConnectionsSourceAction:
        delivery = self._names.settings.delivery
        owner, _, repository = delivery.repository.rpartition("/")
        return actions.CodeStarConnectionsSourceAction(
            action_name="Fetch",
            connection_arn=delivery.connection,
            owner=owner,
            repo=repository,
            branch=delivery.branch,
            output=self._source,
            trigger_on_push=False,  # the filter below does
            variables_namespace="Source",
        )

    def _stages(
        self, dev: Settings, staging: Settings, prod: Settings
    ) -> list[codepipeline.StageProps]:
        one, two, three = (target.environment for target in (dev, staging, prod))
        stages: dict[str, list[codepipeline.IAction]] = {
            "Test": [self._build("Test", "test")],
            "Images": [self._build("Build", "images", COMMIT, namespace="Images")],
            one.capitalize(): [
                self._build("Deploy", f"{one}-deploy", {**IMAGES, **COMMIT}),
                self._build("Run", f"{one}-run", COMMIT, order=2),
            ],
            two.capitalize(): [
                self._build("Deploy", f"{two}-deploy", {**IMAGES, **COMMIT}),
                self._build(
                    "Run",
                    f"{two}-run",
                    {**COMMIT, "SLM_DATASET": "#{variables.Dataset}"},
                    order=2,
                    namespace="Staged",
                ),
                *(
                    self._build(f"Device-{machine}", f"{two}-device-{machine}", STAGED, order=3)
                    for machine in ("x86", "arm")
                ),
            ],
            permissions.APPROVAL: [self._approval()],
            three.capitalize(): [
                self._build("Deploy", f"{three}-deploy", {**IMAGES, **COMMIT}),
                self._build("Promote", f"{three}-promote", STAGED, order=2),
            ],
        }
        return [
            codepipeline.StageProps(stage_name=name, actions=found)
            for name, found in stages.items()
        ]

    def _build(
        self,
        name: str,
        project: str,
        given: Mapping[str, str] | None = None,
        *,
        order: int = 1,
        namespace: str | None = None,
    ) -> codepipeline.IAction:
        return _action(
            actions.CodeBuildAction(
                action_name=name,
                project=self._projects[project],
                input=self._source,
                run_order=order,
                variables_namespace=namespace,
                environment_variables={
                    key: codebuild.BuildEnvironmentVariable(value=value)
                    for key, value in (given or {}).items()
                },
            )
        )

    def _approval(self) -> codepipeline.IAction:
        delivery = self._names.settings.delivery
        return _action(
            actions.ManualApprovalAction(
                action_name=permissions.APPROVAL,
                additional_information="#{Staged.FIGURES}",
                external_entity_link="#{Staged.REPORT}",
                notification_topic=self._alerts,
                timeout=Duration.days(delivery.approval_days),
            )
        )

    def _role(self) -> iam.Role:
        settings = self._names.settings
        pipeline = self._names.arn("codepipeline", settings.delivery_pipeline)
        projects = [f"{settings.delivery_pipeline}-{project}" for project in self._projects]
        return iam.Role(
            self,
            "Role",
            role_name=self._role_name,
            description="Fetches the source, starts the builds, asks for the approval",
            assumed_by=principals.service(
                "codepipeline",
                {
                    "StringEquals": {"aws:SourceAccount": settings.account},
                    "ArnLike": {"aws:SourceArn": pipeline},
                },
            ),
            inline_policies={
                "pipeline": iam.PolicyDocument(
                    statements=permissions.of_pipeline(self._names, projects)
                )
            },
        )

    def _tell_failures(self) -> None:
        settings = self._names.settings
        execution = events.EventField.from_path("$.detail.execution-id")
        place = (
            f"https://{settings.region}.console.aws.amazon.com/codesuite/codepipeline/pipelines/"
            f"{settings.delivery_pipeline}/executions/{execution}/timeline"
        )
        events.Rule(
            self,
            "Failed",
            rule_name=f"{settings.delivery_pipeline}-failed",
            description="A release failed on its way, an approval that was refused included",
            event_pattern=events.EventPattern(
                source=["aws.codepipeline"],
                detail_type=["CodePipeline Pipeline Execution State Change"],
                detail={"pipeline": [settings.delivery_pipeline], "state": ["FAILED"]},
            ),
            targets=[
                cast(
                    "events.IRuleTarget",
                    targets.SnsTopic(
                        self._alerts,
                        message=events.RuleTargetInput.from_text(
                            f"{settings.delivery_pipeline}: a release failed. Read why: {place}"
                        ),
                        retry_attempts=RETRIES,
                        max_event_age=Duration.hours(1),
                    ),
                )
            ],
        )


def _trigger(
    fetch: actions.CodeStarConnectionsSourceAction, settings: Settings
) -> codepipeline.TriggerProps:
    """A push to the branch that changes more than documents."""
    return codepipeline.TriggerProps(
        provider_type=codepipeline.ProviderType.CODE_STAR_SOURCE_CONNECTION,
        git_configuration=codepipeline.GitConfiguration(
            source_action=_action(fetch),
            push_filter=[
                codepipeline.GitPushFilter(
                    branches_includes=[settings.delivery.branch],
                    file_paths_excludes=list(DOCUMENTS),
                )
            ],
        ),
    )


def _action(action: object) -> codepipeline.IAction:
    """The type that jsii's Python names a little differently in the interface."""
    return cast("codepipeline.IAction", cast("Any", action))
