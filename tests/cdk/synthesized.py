"""The stacks of an environment, synthesized in this process, and what tests ask of the templates.

``python -m cdk.app`` itself, nag and the command line tool are left out; other tests run those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from cdk.app import add_stacks, new_app
from cdk.context import Request
from cdk.edge.stack import EdgeStack
from cdk.foundation.stack import FoundationStack
from cdk.identity.stack import IdentityStack
from cdk.monitoring.stack import MonitoringStack
from cdk.promotion.stack import PromotionStack
from cdk.roles.stack import RolesStack
from pipeline.cloud.promotion.environments import source_of, target_of
from pipeline.names import RoleKind
from pipeline.settings import Settings
from tests.cdk.policies import Statement, resolve, statements_in

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"  # what KMS would have chosen
SIGNING_KEY_ID = "5678abcd-12ab-34cd-56ef-1234567890ab"
CDK_JSON = Path(__file__).resolve().parents[2] / "cdk.json"


@dataclass(frozen=True)
class Synthesized:
    """The templates of one environment."""

    settings: Settings
    folder: Path
    templates: Mapping[str, Mapping[str, Any]]
    """By the part of the stack's name, such as ``foundation``."""

    def resources(self, kind: str, part: str | None = None) -> dict[str, Mapping[str, Any]]:
        """Resources of a type such as ``AWS::S3::Bucket``, by logical id."""
        return {
            logical_id: resource
            for name, template in self.templates.items()
            if part in (None, name)
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def only(self, kind: str, part: str | None = None) -> Mapping[str, Any]:
        """The properties of the only resource of its type."""
        [resource] = self.resources(kind, part).values()
        return resource["Properties"]

    def pipeline(self, name: str | None = None) -> Mapping[str, Any]:
        """The properties of a SageMaker pipeline: the main one's, unless another is named."""
        [found] = [
            one["Properties"]
            for one in self.resources("AWS::SageMaker::Pipeline").values()
            if one["Properties"]["PipelineName"] == (name or self.settings.pipeline_name)
        ]
        return found

    @cached_property
    def names(self) -> dict[str, str]:
        """What the templates' references stand for once deployed; see ``policies.resolve``."""
        names: dict[str, str] = {"AWS::NoValue": ""}
        for template in self.templates.values():
            for logical_id, resource in template["Resources"].items():
                names |= _names_of(logical_id, resource, self.settings)
        for template in self.templates.values():
            for name, output in template.get("Outputs", {}).items():
                value = resolve(output["Value"], names)
                names[name] = value
                if "Export" in output:
                    names[output["Export"]["Name"]] = value
        return names

    @property
    def key_arn(self) -> str:
        return _arn(self.settings, "kms", f"key/{KEY_ID}")

    @property
    def signing_key_arn(self) -> str:
        return _arn(self.settings, "kms", f"key/{SIGNING_KEY_ID}")

    def key(self, use: str = "ENCRYPT_DECRYPT") -> Mapping[str, Any]:
        """The properties of the key that encrypts, or with ``SIGN_VERIFY`` of the other one."""
        [found] = [
            one["Properties"]
            for one in self.resources("AWS::KMS::Key").values()
            if one["Properties"].get("KeyUsage", "ENCRYPT_DECRYPT") == use
        ]
        return found

    def role(self, name: str) -> Mapping[str, Any]:
        """The properties of the role of this name."""
        [found] = [
            one["Properties"]
            for one in self.resources("AWS::IAM::Role").values()
            if one["Properties"].get("RoleName") == name
        ]
        return found

    def statements(self, kind: RoleKind) -> list[Statement]:
        """All that the policies of a service role say."""
        return self.statements_of(self.settings.role_name(kind))

    def statements_of(self, role_name: str) -> list[Statement]:
        """All that the policies of the role of this name say, attached ones included."""
        role = self.role(role_name)
        assert not role.get("ManagedPolicyArns"), "a managed policy is not looked into"
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        for policy in self.resources("AWS::IAM::Policy").values():
            properties = resolve(policy["Properties"], self.names)
            if role_name in properties.get("Roles", []):
                documents.append(properties["PolicyDocument"])
        return [one for document in documents for one in statements_in(document, self.names)]

    @property
    def boundary(self) -> list[Statement]:
        """What the permissions boundary says."""
        return self.managed_policy(self.settings.boundary_name)

    def managed_policy(self, name: str) -> list[Statement]:
        """What the managed policy of this name says."""
        [found] = [
            one["Properties"]["PolicyDocument"]
            for one in self.resources("AWS::IAM::ManagedPolicy").values()
            if one["Properties"]["ManagedPolicyName"] == name
        ]
        return statements_in(found, self.names)

    def bucket_policy(self, bucket: str) -> list[Statement]:
        """What the policy of the bucket of this name says."""
        return [
            statement
            for policy in self.resources("AWS::S3::BucketPolicy").values()
            if resolve(policy["Properties"]["Bucket"], self.names) == bucket
            for statement in statements_in(policy["Properties"]["PolicyDocument"], self.names)
        ]

    def identity_policies(self) -> Iterator[tuple[str, Statement]]:
        """Where it stands, and every statement of roles, managed policies and permission sets."""
        for part, template in self.templates.items():
            for logical_id, resource in template["Resources"].items():
                for document in _documents(resource):
                    for statement in statements_in(document, self.names):
                        yield f"{part}/{logical_id}", statement


def synthesize(settings: Settings, folder: Path, *, whole: bool = False) -> Synthesized:
    """Synthesize the stacks that need no definition: identity's only with an instance.

    Args:
        whole: All of the app's stacks, which takes seconds more for the pipeline's definition.
    """
    app = new_app(folder, json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"])
    if whole:
        add_stacks(app, Request(settings, "build"))
    else:
        _add_own_stacks(app, settings)
    app.synth()
    return Synthesized(settings, folder, _templates(settings, folder))


def _add_own_stacks(app: App, settings: Settings) -> None:
    env = Environment(account=settings.account, region=settings.region)
    names = {
        part: settings.stack_name(part)
        for part in ("foundation", "roles", "edge", "promotion", "monitoring", "identity")
    }
    foundation = FoundationStack(app, names["foundation"], settings=settings, env=env)
    roles = RolesStack(app, names["roles"], settings=settings, foundation=foundation, env=env)
    given = {"settings": settings, "foundation": foundation, "roles": roles, "env": env}
    edge = EdgeStack(app, names["edge"], **given)
    PromotionStack(
        app,
        names["promotion"],
        settings=settings,
        target=target_of(settings),
        source=source_of(settings),
        foundation=foundation,
        edge=edge,
        env=env,
    )
    MonitoringStack(app, names["monitoring"], **given)
    if settings.identity.instance_arn:
        IdentityStack(app, names["identity"], settings=settings, env=env)


def _templates(settings: Settings, folder: Path) -> dict[str, Mapping[str, Any]]:
    prefix, suffix = settings.stack_name(""), ".template.json"
    return {
        path.name.removeprefix(prefix).removesuffix(suffix): json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.glob(f"{prefix}*{suffix}"))
    }


def _documents(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    properties = resource.get("Properties", {})
    if resource["Type"] == "AWS::IAM::Role":
        return [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    if resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        return [properties["PolicyDocument"]]
    if resource["Type"] == "AWS::SSO::PermissionSet":
        return [properties["InlinePolicy"]]
    return []


def _names_of(logical_id: str, resource: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    properties: Mapping[str, Any] = resource.get("Properties", {})

    def named(ref: str, arn: str) -> dict[str, str]:
        return {logical_id: ref, f"{logical_id}.Arn": arn}

    def iam(path: str) -> str:
        return f"arn:{settings.partition}:iam::{settings.account}:{path}"

    match resource["Type"]:
        case "AWS::S3::Bucket":
            name = properties["BucketName"]
            return named(name, f"arn:{settings.partition}:s3:::{name}")
        case "AWS::KMS::Key":
            signs = properties.get("KeyUsage") == "SIGN_VERIFY"
            key_id = SIGNING_KEY_ID if signs else KEY_ID
            return named(key_id, _arn(settings, "kms", f"key/{key_id}"))
        case "AWS::KMS::Alias":
            return {logical_id: properties["AliasName"]}
        case "AWS::IAM::Role" if "RoleName" in properties:
            return named(properties["RoleName"], iam(f"role/{properties['RoleName']}"))
        case "AWS::IAM::ManagedPolicy":
            return {logical_id: iam(f"policy/{properties['ManagedPolicyName']}")}
        case "AWS::SNS::Topic":
            return {logical_id: _arn(settings, "sns", properties["TopicName"])}
        case "AWS::SQS::Queue" if "QueueName" in properties:
            name = properties["QueueName"]
            return named(f"https://sqs.invalid/{name}", _arn(settings, "sqs", name))
        case "AWS::Logs::LogGroup" if "LogGroupName" in properties:
            name = properties["LogGroupName"]
            return named(name, _arn(settings, "logs", f"log-group:{name}:*"))
        case "AWS::ECR::Repository" if "RepositoryName" in properties:
            name = properties["RepositoryName"]
            return named(name, _arn(settings, "ecr", f"repository/{name}"))
        case "AWS::StepFunctions::StateMachine":
            arn = _arn(settings, "states", f"stateMachine:{properties['StateMachineName']}")
            return {logical_id: arn, f"{logical_id}.Arn": arn}
        case "AWS::Lambda::Function" if "FunctionName" in properties:
            name = properties["FunctionName"]
            return named(name, _arn(settings, "lambda", f"function:{name}"))
        case _:
            return {}


def _arn(settings: Settings, service: str, resource: str) -> str:
    return f"arn:{settings.partition}:{service}:{settings.region}:{settings.account}:{resource}"
