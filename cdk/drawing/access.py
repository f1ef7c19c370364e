"""Which principal may do what to which resource, computed from the policies of the templates.

A principal's statements are compared with the ARNs of every kind of resource, wildcards on either
side included. That is what a policy allows, not what a call needs: conditions are written out in
docs/roles.md and are not weighed here, and neither is the boundary, which is a row of its own.

Leaves out: denials, which take away from everybody alike (bucket policies, the budget's brake).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, cast

from cdk.drawing.account import KEY_ID, SIGNING_KEY_ID, AccountTemplates, Resource, listed
from cdk.edge.telemetry import dead_letters_name

READ, WRITE, DELETE, SETTINGS = "R", "W", "D", "S"
LETTERS = {
    READ: "reads",
    WRITE: "writes, starts, passes",
    DELETE: "deletes",
    SETTINGS: "settings only",
}

_SETTINGS = (
    "s3:GetBucket*",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:List*",
    "kms:DescribeKey",
    "kms:Get*",
    "kms:List*",
    "sns:Get*",
    "sqs:GetQueue*",
)
"""Actions that show how something is set up or what it holds by name, and none of its content."""
_READS = (
    "Batch", "Decrypt", "Describe", "Filter", "Get", "List", "Lookup", "Receive", "Search",
    "Verify", "View",
)  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """One statement of a policy."""

    sid: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Principal:
    """Somebody who may do something: a role, a permission set, or the boundary's ceiling."""

    title: str
    kind: str
    """``people``, ``service`` or ``boundary``."""
    resource: Resource
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Target:
    """A kind of resource: its title, its service's prefix in actions, and patterns of its ARNs."""

    title: str
    service: str
    patterns: tuple[str, ...]
    alias: str = ""
    """Of a key, which a policy may name by a condition on it."""


def principals(account: AccountTemplates) -> list[Principal]:
    """People first, then services, then the boundaries."""
    found = [*_people(account), *_services(account)]
    for one in account.of_type("AWS::IAM::ManagedPolicy"):
        if is_boundary(one):
            title = one.name.removeprefix(f"{account.settings.name}-")
            found.append(Principal(title, "boundary", one, _statements(one)))
    return sorted(found, key=lambda who: (who.kind == "boundary", who.title == "boundary"))


def is_boundary(policy: Resource) -> bool:
    """Whether a managed policy is the ceiling of roles."""
    return policy.name.endswith("-boundary")


def _people(account: AccountTemplates) -> Iterator[Principal]:
    for one in account.of_type("AWS::SSO::PermissionSet"):
        title = one.name.removeprefix(f"slm-{account.settings.environment}-")
        yield Principal(title, "people", one, _statements(one))


def _services(account: AccountTemplates) -> Iterator[Principal]:
    roles = account.of_type("AWS::IAM::Role")
    for one in sorted(roles, key=lambda role: role.stack == "delivery"):
        title = one.name.removeprefix(f"{account.settings.name}-")
        yield Principal(title, "service", one, _statements(one))


def _statements(resource: Resource) -> tuple[Statement, ...]:
    properties = resource.properties
    documents: list[Any] = [one["PolicyDocument"] for one in properties.get("Policies", [])]
    documents += [
        properties[key] for key in ("PolicyDocument", "InlinePolicy") if key in properties
    ]
    return tuple(statement for document in documents for statement in read_statements(document))


def read_statements(document: Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of a policy document."""
    for one in cast("list[dict[str, Any]]", document["Statement"]):
        yield Statement(
            str(one.get("Sid", "")),
            str(one["Effect"]),
            tuple(listed(one["Action"])),
            tuple(listed(one.get("Resource", []))),
            one.get("Condition", {}),
        )


def trusted(role: Resource) -> list[str]:
    """Who may assume a role: services, roles by their names' pattern, or GitHub's environments."""
    statements: list[dict[str, Any]] = role.properties["AssumeRolePolicyDocument"]["Statement"]
    return [one for statement in statements for one in _trusted(statement)]


def _trusted(statement: Mapping[str, Any]) -> Iterator[str]:
    who: Mapping[str, Any] = statement["Principal"]
    conditions: Mapping[str, Mapping[str, Any]] = statement.get("Condition", {})
    for service in listed(who.get("Service", [])):
        yield service.removesuffix(".amazonaws.com")
    if "AWS" in who:
        for arn in listed(conditions.get("ArnLike", {}).get("aws:PrincipalArn", [])):
            yield arn.rpartition("/")[2]
    if "Federated" in who:
        for key, subject in conditions["StringEquals"].items():
            if key.endswith(":sub"):
                yield f"GitHub's environment {str(subject).rpartition(':')[2]}"


def targets(account: AccountTemplates) -> list[Target]:
    """Every kind of resource that somebody may reach, in the order in which it is drawn."""
    settings = account.settings
    here = f"{settings.region}:{settings.account}"
    arn = f"arn:{settings.partition}"
    buckets = {**settings.buckets, "access logs": settings.access_log_bucket}
    sagemaker = f"{arn}:sagemaker:{here}"
    role = f"{arn}:iam::{settings.account}:role"
    pipeline, check = settings.pipeline_arn, settings.drift_pipeline_arn
    group = settings.model_package_group
    release = f"{arn}:codepipeline:{here}:{settings.delivery_pipeline}"
    return [
        *(
            Target(f"bucket {purpose}", "s3", (f"{arn}:s3:::{name}", f"{arn}:s3:::{name}/*"))
            for purpose, name in buckets.items()
        ),
        Target("encryption key", "kms", (f"{arn}:kms:{here}:key/{KEY_ID}",), settings.kms_alias),
        Target(
            "signing key",
            "kms",
            (f"{arn}:kms:{here}:key/{SIGNING_KEY_ID}",),
            settings.signing_alias,
        ),
        Target("pipeline", "sagemaker", (pipeline, f"{pipeline}/execution/*")),
        Target("drift check", "sagemaker", (check, f"{check}/execution/*")),
        Target(
            "jobs",
            "sagemaker",
            (
                f"{sagemaker}:processing-job/pipelines-*",
                f"{sagemaker}:training-job/pipelines-*",
                f"{sagemaker}:compilation-job/{group}-*",
            ),
        ),
        Target(
            "model registry",
            "sagemaker",
            (f"{sagemaker}:model-package-group/{group}", f"{sagemaker}:model-package/{group}/*"),
        ),
        Target("Studio profile", "sagemaker", (f"{sagemaker}:user-profile/d-*",)),
        Target("images", "ecr", (f"{arn}:ecr:{here}:repository/{settings.name}/*",)),
        Target("logs", "logs", (f"{arn}:logs:{here}:log-group:/aws/*",)),
        Target("metrics", "cloudwatch", ("*",)),
        Target("schedules", "scheduler", (f"{arn}:scheduler:{here}:schedule/*",)),
        Target("event bus", "events", (f"{arn}:events:{here}:event-bus/default",)),
        Target(
            "dead letters",
            "sqs",
            tuple(
                f"{arn}:sqs:{here}:{name}"
                for name in (
                    settings.dead_letter_queue,
                    settings.promotion_dead_letter_queue,
                    dead_letters_name(settings),
                )
            ),
        ),
        Target("devices", "iot", (f"{arn}:iot:{here}:thing/*", f"{arn}:iot:{here}:cert/*")),
        Target("device groups", "iot", (f"{arn}:iot:{here}:thinggroup/{settings.name}*",)),
        Target(
            "components",
            "greengrass",
            (f"{arn}:greengrass:{here}:components:{settings.component_name}*",),
        ),
        Target("alert topic", "sns", (settings.alert_topic_arn,)),
        Target("budget", "budgets", (f"{arn}:budgets::{settings.account}:budget/*",)),
        Target("delivery pipeline", "codepipeline", (release, f"{release}/*")),
        Target("stacks", "cloudformation", (f"{arn}:cloudformation:{here}:stack/*",)),
        Target("service roles", "iam", (f"{role}/{settings.name}-*",)),
        Target("bootstrap's roles", "sts", (f"{role}/cdk-*",)),
        Target("trail", "cloudtrail", ("*",)),
    ]


def level(principal: Principal, target: Target) -> str:
    """Letters of what the principal may do to the target: ``RW``; empty for nothing."""
    found = {
        kind_of(action)
        for statement in principal.statements
        if statement.effect == "Allow"
        and _reaches(statement.resources, target)
        and _means(statement, target)
        for action in statement.actions
        if action.partition(":")[0] == target.service
    }
    content = [letter for letter in (READ, WRITE, DELETE) if letter in found]
    return "".join(content) if content else "".join(found & {SETTINGS})


def _reaches(resources: Iterable[str], target: Target) -> bool:
    """Whether one of the resources is the target's; all of them only where it has no ARN."""
    if target.patterns == ("*",):
        return "*" in resources
    return any(
        overlap(resource, pattern)
        for resource in resources
        if resource != "*"
        for pattern in target.patterns
    )


def _means(statement: Statement, target: Target) -> bool:
    """Whether a statement on every key, whose condition names one by its alias, is about it."""
    for keys in statement.conditions.values():
        if "kms:ResourceAliases" in keys:
            return target.alias in listed(keys["kms:ResourceAliases"])
    return True


def kind_of(action: str) -> str:
    """The letter of an action, which may hold a wildcard."""
    if any(fnmatchcase(action, pattern) for pattern in _SETTINGS):
        return SETTINGS
    verb = action.partition(":")[2]
    if verb.startswith(("Delete", "Abort")):
        return DELETE if verb != "AbortMultipartUpload" else ""  # of what was never written
    return READ if verb.startswith(_READS) else WRITE


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns, in which ``*`` stands for anything."""

    @cache
    def meet(i: int, j: int) -> bool:
        if i == len(one) or j == len(other):
            return set(one[i:] + other[j:]) <= {"*"}
        if one[i] == "*":
            return meet(i + 1, j) or meet(i, j + 1)
        if other[j] == "*":
            return meet(i, j + 1) or meet(i + 1, j)
        return one[i] == other[j] and meet(i + 1, j + 1)

    return meet(0, 0)
