"""The templates of one environment as a list of resources, with every reference resolved.

What is drawn is dev with all that its settings can add: an identity instance, a Studio domain, a
schedule and the delivery, each marked in the picture as a part that a setting brings.

Leaves out: deploying, and what a resource means (graph.py, access.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from cdk.app import add_stacks, new_app
from cdk.context import ContextError, Request
from pipeline.settings import ENVIRONMENTS, Settings

CDK_JSON = Path(__file__).resolve().parents[2] / "cdk.json"
EXAMPLE: Mapping[str, Mapping[str, Any]] = {
    "identity": {
        "instance_arn": "arn:aws:sso:::instance/ssoins-1234567890abcdef",
        "assignments": [
            {
                "permission_set": "data-scientist",
                "principal_id": "12345678-1234-1234-1234-123456789012",
            }
        ],
    },
    "studio": {
        "enabled": True,
        "vpc": "vpc-00000000000000000",
        "subnets": ["subnet-00000000000000000"],
    },
    "retraining": {"schedule": "cron(0 3 ? * SUN *)"},
    "delivery": {
        "connection": (
            "arn:aws:codeconnections:eu-west-1:111111111111:connection/"
            "00000000-0000-0000-0000-000000000000"
        ),
        "repository": "owner/name",
        "github": "owner/name",
    },
}
"""What the drawn dev has set besides its file; none of these things exists."""
BY_SETTING: Mapping[str, str] = {
    "AWS::SSO::": "identity.instance_arn",
    "AWS::SageMaker::Domain": "studio.enabled",
    "AWS::EC2::SecurityGroup": "studio.enabled",
}
"""By resource type, or its beginning: the setting without which there is no such resource."""
KEY_ID, SIGNING_KEY_ID = "KEY-ID", "SIGNING-KEY-ID"  # KMS chooses them

_NAMED: Mapping[str, tuple[str, str, str]] = {
    "AWS::CodeBuild::Project": ("Name", "codebuild", "project/{}"),
    "AWS::CodePipeline::Pipeline": ("Name", "codepipeline", "{}"),
    "AWS::CloudWatch::Alarm": ("AlarmName", "cloudwatch", "alarm:{}"),
    "AWS::CloudWatch::Dashboard": ("DashboardName", "cloudwatch", "dashboard/{}"),
    "AWS::ECR::Repository": ("RepositoryName", "ecr", "repository/{}"),
    "AWS::Events::Rule": ("Name", "events", "rule/{}"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", "iam", "policy/{}"),
    "AWS::IAM::Role": ("RoleName", "iam", "role/{}"),
    "AWS::IoT::Policy": ("PolicyName", "iot", "policy/{}"),
    "AWS::IoT::RoleAlias": ("RoleAlias", "iot", "rolealias/{}"),
    "AWS::IoT::ThingGroup": ("ThingGroupName", "iot", "thinggroup/{}"),
    "AWS::IoT::ThingType": ("ThingTypeName", "iot", "thingtype/{}"),
    "AWS::IoT::TopicRule": ("RuleName", "iot", "rule/{}"),
    "AWS::Lambda::Function": ("FunctionName", "lambda", "function:{}"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", "states", "stateMachine:{}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs", "log-group:{}:*"),
    "AWS::S3::Bucket": ("BucketName", "s3", "{}"),
    "AWS::SNS::Topic": ("TopicName", "sns", "{}"),
    "AWS::SQS::Queue": ("QueueName", "sqs", "{}"),
    "AWS::SSO::PermissionSet": ("Name", "sso", "permissionSet/{}"),
    "AWS::SageMaker::Pipeline": ("PipelineName", "sagemaker", "pipeline/{}"),
    "AWS::SageMaker::ModelPackageGroup": (
        "ModelPackageGroupName",
        "sagemaker",
        "model-package-group/{}",
    ),
    "AWS::SageMaker::Domain": ("DomainName", "sagemaker", "domain/{}"),
    "AWS::Scheduler::Schedule": ("Name", "scheduler", "schedule/{}"),
    "AWS::Scheduler::ScheduleGroup": ("Name", "scheduler", "schedule-group/{}"),
}
"""By type: the property that names it, the service of its ARN and the ARN's last part."""
_REF_IS_ARN = (
    "AWS::SNS::Topic",
    "AWS::IAM::ManagedPolicy",
    "AWS::StepFunctions::StateMachine",
)
_ONLY_PARTITION = ("s3",)
_ONLY_ACCOUNT = ("iam", "sso")


@dataclass(frozen=True)
class Resource:
    """One resource of a stack, its properties resolved."""

    stack: str
    """The part of the stack's name: ``foundation``."""
    id: str
    type: str
    name: str
    """What it is called in the account; its logical id where the template does not say."""
    arn: str
    properties: Mapping[str, Any]

    @property
    def setting(self) -> str | None:
        """The setting that brings it; None for what every environment has."""
        if self.type == "AWS::IAM::Role" and self.name.endswith("-studio"):
            return "studio.enabled"
        if self.stack == "delivery":
            github = self.type == "AWS::IAM::OIDCProvider" or "-delivery-github-" in self.name
            return "delivery.github" if github else "delivery.connection"
        if self.type == "AWS::IAM::Role" and self.name.endswith("-delivery"):
            return "delivery.connection"
        if self.type == "AWS::Scheduler::Schedule" and self.name.endswith("-periodic"):
            return "retraining.schedule"
        found = (name for start, name in BY_SETTING.items() if _is_kind(self.type, start))
        return next(found, None)


@dataclass(frozen=True)
class AccountTemplates:
    """What the stacks of ``settings`` make."""

    settings: Settings
    templates: Mapping[str, Mapping[str, Any]]
    """By the part of the stack's name."""

    @classmethod
    def read(cls, folder: Path, settings: Settings) -> AccountTemplates:
        """Read a cloud assembly.

        Raises:
            ContextError: It holds no stack of ``settings``.
        """
        prefix, suffix = settings.stack_name(""), ".template.json"
        templates = {
            path.name.removeprefix(prefix).removesuffix(suffix): json.loads(
                path.read_text(encoding="utf-8")
            )
            for path in sorted(folder.glob(f"{prefix}*{suffix}"))
        }
        if not templates:
            raise ContextError(
                f"{folder} holds no template of {settings.name}: name a folder that cdk synth "
                f"-c env={settings.environment} wrote, or leave --assembly out."
            )
        return cls(settings, templates)

    def description(self, stack: str) -> str:
        """What a stack says of itself, without the environment's name."""
        said = str(self.templates[stack].get("Description", ""))
        return said.partition(": ")[2] or said

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Every resource, stack by stack in the order of the template."""
        return tuple(self._resources())

    def of_type(self, *types: str) -> list[Resource]:
        """The resources whose type is one of ``types``."""
        return [one for one in self.resources if one.type in types]

    def _resources(self) -> Iterator[Resource]:
        for stack, template in self.templates.items():
            names = {**self._exports, **self._local_names(stack)}
            for logical_id, found in template["Resources"].items():
                properties: dict[str, Any] = resolve(found.get("Properties", {}), names)
                name, arn = self._identity(found["Type"], logical_id, properties)
                yield Resource(stack, logical_id, found["Type"], name, arn, properties)

    @cached_property
    def _exports(self) -> dict[str, str]:
        """What stacks hand to other stacks, by the export's name."""
        return {
            output["Export"]["Name"]: str(resolve(output["Value"], self._local_names(stack)))
            for stack, template in self.templates.items()
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }

    def _local_names(self, stack: str) -> dict[str, str]:
        """What ``Ref`` and ``Fn::GetAtt`` stand for in a stack; two stacks may use one id."""
        names: dict[str, str] = {}
        for logical_id, found in self.templates[stack]["Resources"].items():
            kind = found["Type"]
            name, arn = self._identity(kind, logical_id, found.get("Properties", {}))
            names |= {logical_id: arn if kind in _REF_IS_ARN else name, f"{logical_id}.Arn": arn}
        return names

    def _identity(
        self, kind: str, logical_id: str, properties: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Name and ARN."""
        if kind == "AWS::KMS::Key":
            key_id = SIGNING_KEY_ID if is_signing_key(properties) else KEY_ID
            return key_id, self._arn("kms", f"key/{key_id}")
        if kind == "AWS::Budgets::Budget":
            name = str(properties["Budget"].get("BudgetName", logical_id))
            return name, name
        key, service, pattern = _NAMED.get(kind, ("", "", "{}"))
        name = str(properties.get(key, logical_id))
        return name, self._arn(service, pattern.format(name)) if service else name

    def _arn(self, service: str, resource: str) -> str:
        where = self.settings
        region = "" if service in (*_ONLY_PARTITION, *_ONLY_ACCOUNT) else where.region
        account = "" if service in _ONLY_PARTITION else where.account
        return f"arn:{where.partition}:{service}:{region}:{account}:{resource}"


def is_signing_key(properties: Mapping[str, Any]) -> bool:
    """Whether a key of KMS signs, and does not encrypt."""
    return properties.get("KeyUsage") == "SIGN_VERIFY"


def example_settings(folder: Path) -> Settings:
    """Dev, with what its settings can add.

    Args:
        folder: Gets the files of staging and prod, which have to say that dev delivers to them.
    """
    values = Settings.load("dev").model_dump()
    for section, changes in EXAMPLE.items():
        values[section] = {**values[section], **changes}
    for name in ("staging", "prod"):
        shipped = (ENVIRONMENTS / f"{name}.toml").read_text(encoding="utf-8")
        path = folder / f"{name}.toml"
        path.write_text(f'{shipped}\n[delivery]\ntooling = "dev"\n', encoding="utf-8")
        values["delivery"][name] = str(path)
    return Settings.of(values, where="the example")


def synthesize(settings: Settings, folder: Path) -> AccountTemplates:
    """Synthesize the stacks of ``settings`` into ``folder``, as ``cdk synth`` does."""
    context: Mapping[str, Any] = json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"]
    app = new_app(folder, context)
    add_stacks(app, Request(settings, "build"))
    app.synth()
    return AccountTemplates.read(folder, settings)


def resolve(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` of a template with its references replaced by what ``names`` has for them."""
    if isinstance(value, list):
        return [resolve(one, names) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast("dict[str, Any]", value)
    if len(found) != 1 or not ("Ref" in found or next(iter(found)).startswith("Fn::")):
        return {key: resolve(one, names) for key, one in found.items()}
    [(function, argument)] = found.items()
    if function == "Fn::Join":
        return str(argument[0]).join(str(resolve(one, names)) for one in argument[1])
    if function == "Fn::GetAtt":
        argument = ".".join(cast("list[str]", argument))
    elif function == "Fn::ImportValue":
        argument = resolve(argument, names)
    name = str(argument)
    return names.get(name, names.get(name.partition(".")[0], name))


def listed(value: Any) -> list[str]:
    """A value that may stand alone or in a list, as a list."""
    found = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [str(one) for one in found]


def _is_kind(kind: str, start: str) -> bool:
    return kind.startswith(start) if start.endswith("::") or "EC2" in start else kind == start
