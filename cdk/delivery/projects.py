"""The builds: one project of CodeBuild for each thing that is done, with a role of its own.

What a build does stands in its buildspec, which comes with the commit and calls ``make`` and
``slm deliver`` and nothing else. All of them log to one group and encrypt with the one key.

Leaves out: the order in which they run (pipeline.py), and what their roles may do (permissions.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.delivery import permissions
from cdk.roles import principals
from cdk.roles.names import Names
from pipeline.settings import Settings

BUILDSPECS = "cdk/delivery/buildspecs"
SET_UP_MINUTES = 75
"""The most that a build takes which does not wait for an execution."""

_RETENTION = {
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}


@dataclass(frozen=True)
class Build:
    """One project."""

    name: str
    """After the pipeline's name: ``staging-run``."""
    buildspec: str
    description: str
    statements: list[iam.PolicyStatement] = field(default_factory=list[iam.PolicyStatement])
    """Beside what every build may."""
    environment: str = ""
    """``--env`` of the commands; empty where they need none."""
    to: str = ""
    """``--to`` of the command that promotes."""
    minutes: int = SET_UP_MINUTES
    medium: bool = False
    arm: bool = False
    docker: bool = False


def builds(names: Names, targets: tuple[Settings, Settings, Settings]) -> Iterator[Build]:
    """Every project of the delivery of ``names.settings`` to ``targets``."""
    tooling, staging, prod = targets
    delivery = tooling.delivery
    # as the commands are told: the tooling environment is what the others call it
    envs = {
        tooling.environment: staging.delivery.tooling,
        staging.environment: delivery.staging,
        prod.environment: delivery.prod,
    }
    yield Build("test", "test.yml", "make check test synth", minutes=90, medium=True)
    yield Build(
        "images",
        "images.yml",
        "Builds the images once and pushes them",
        permissions.of_images(names),
        envs[tooling.environment],
        medium=True,
        docker=True,
    )
    for target in targets:
        yield Build(
            f"{target.environment}-deploy",
            "deploy.yml",
            f"Deploys {target.environment} with the images by digest",
            permissions.of_deployment(names, target),
            envs[target.environment],
        )
    for target in (tooling, staging):
        yield Build(
            f"{target.environment}-run",
            "smoke.yml" if target is tooling else "run.yml",
            f"Runs the pipeline in {target.environment} and waits for its end",
            [permissions.take("ActIn", [target.delivery_role_arn])],
            envs[target.environment],
            minutes=delivery.run_minutes + 10,
        )
    for machine, arm in (("x86", False), ("arm", True)):
        yield Build(
            f"{staging.environment}-device-{machine}",
            "device.yml",
            f"Carries the component's lifecycle out, as a device of {staging.environment} would",
            [permissions.take("ActIn", [staging.delivery_role_arn])],
            envs[staging.environment],
            arm=arm,
        )
    yield Build(
        f"{prod.environment}-promote",
        "promote.yml",
        f"Promotes the package of {staging.environment} to {prod.environment}",
        [permissions.take("ActIn", [staging.delivery_role_arn, prod.delivery_role_arn])],
        envs[staging.environment],
        to=envs[prod.environment],
    )


class Projects(Construct):
    """The projects (``by_name``) with their log group."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: Names,
        key: kms.IKey,
        targets: tuple[Settings, Settings, Settings],
    ) -> None:
        super().__init__(scope, construct_id)
        self._names, self._key = names, key
        settings = names.settings
        self._logs = logs.LogGroup(
            self,
            "Logs",
            log_group_name=permissions.log_group(settings),
            encryption_key=key,
            retention=_RETENTION[settings.delivery.log_days],
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.by_name = {build.name: self._project(build) for build in builds(names, targets)}

    def _project(self, build: Build) -> codebuild.IProject:
        name = f"{self._names.settings.delivery_pipeline}-{build.name}"
        title = "".join(part.capitalize() for part in build.name.split("-"))
        variables = {"SLM_ENV": build.environment, "SLM_TO": build.to}
        project = codebuild.PipelineProject(
            self,
            title,
            project_name=name,
            description=build.description,
            role=self._role(build, title, name).without_policy_updates(),
            build_spec=codebuild.BuildSpec.from_source_filename(f"{BUILDSPECS}/{build.buildspec}"),
            environment=codebuild.BuildEnvironment(
                build_image=_image(build),
                compute_type=(
                    codebuild.ComputeType.MEDIUM if build.medium else codebuild.ComputeType.SMALL
                ),
                privileged=build.docker,
            ),
            environment_variables={
                key: codebuild.BuildEnvironmentVariable(value=value)
                for key, value in variables.items()
                if value
            },
            encryption_key=self._key,
            logging=codebuild.LoggingOptions(
                cloud_watch=codebuild.CloudWatchLoggingOptions(
                    log_group=cast("Any", self._logs), prefix=build.name
                )
            ),
            timeout=Duration.minutes(build.minutes),
            queued_timeout=Duration.hours(8),
            grant_report_group_permissions=False,
            ssm_session_permissions=False,
        )
        return cast("codebuild.IProject", project)

    def _role(self, build: Build, title: str, name: str) -> iam.Role:
        settings = self._names.settings
        project = self._names.arn("codebuild", f"project/{name}")
        return iam.Role(
            self,
            f"{title}Role",
            role_name=name,
            description=build.description,
            assumed_by=principals.service(
                "codebuild",
                {
                    "StringEquals": {"aws:SourceAccount": settings.account},
                    "ArnLike": {"aws:SourceArn": project},
                },
            ),
            inline_policies={
                "build": iam.PolicyDocument(
                    statements=[*permissions.of_every_build(self._names), *build.statements]
                )
            },
        )


def _image(build: Build) -> codebuild.IBuildImage:
    """Amazon Linux 2023 with Python 3.11, which the component's wheels are made for."""
    if build.arm:
        return cast("Any", codebuild.LinuxArmBuildImage.AMAZON_LINUX_2023_STANDARD_3_0)
    return cast("Any", codebuild.LinuxBuildImage.AMAZON_LINUX_2023_5)
