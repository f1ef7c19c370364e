"""What is written on the card of a resource: a title, what it is, and what is said of it.

Leaves out: which resources have a card (graph.py), and where it stands (infrastructure.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdk.drawing import release
from cdk.drawing.access import SETTINGS, Principal, is_boundary, level, principals, targets, trusted
from cdk.drawing.account import AccountTemplates, Resource, is_signing_key

_ACCESS = ("bucket ", "pipeline", "model registry", "alert topic")
"""Titles, or their beginnings, of what a role's card says that the role reads and writes; the rest
is in security.svg."""


_BESIDE = 44
"""How many characters a card's title and its tag have room for together."""


@dataclass(frozen=True)
class Node:
    """A card: what it is, what it is called, and what is said of it."""

    resource: Resource
    title: str
    tag: str
    lines: tuple[str, ...]


class Cards:
    """What is written on each card."""

    def __init__(self, account: AccountTemplates) -> None:
        self._account = account
        self._principals = {one.resource.arn: one for one in principals(account)}
        self._by_type: Mapping[str, Callable[[Resource], tuple[str, str, list[str]]]] = {
            "AWS::KMS::Key": self._key,
            "AWS::S3::Bucket": self._bucket,
            "AWS::SNS::Topic": self._topic,
            "AWS::Budgets::Budget": self._budget,
            "AWS::Budgets::BudgetsAction": self._action,
            "AWS::IAM::Role": self._role,
            "AWS::IAM::ManagedPolicy": self._policy,
            "AWS::SSO::PermissionSet": self._permission_set,
            "AWS::ECR::Repository": self._repository,
            "AWS::SageMaker::Pipeline": self._pipeline,
            "AWS::SageMaker::ModelPackageGroup": self._group,
            "AWS::SageMaker::Domain": self._domain,
            "AWS::Events::Rule": self._rule,
            "AWS::Lambda::Function": self._function,
            "AWS::StepFunctions::StateMachine": self._state_machine,
            "AWS::Scheduler::ScheduleGroup": self._schedules,
            "AWS::Scheduler::Schedule": self._schedule,
            "AWS::SQS::Queue": self._queue,
            "AWS::CloudWatch::Alarm": self._alarm,
            "AWS::CloudWatch::Dashboard": self._dashboard,
            "AWS::Logs::LogGroup": self._logs,
            "AWS::IoT::Policy": self._device_policy,
            "AWS::IoT::RoleAlias": self._role_alias,
            "AWS::IoT::ThingGroup": self._thing_group,
            "AWS::IoT::ThingType": self._thing_type,
            "AWS::IoT::TopicRule": self._topic_rule,
            "AWS::CodePipeline::Pipeline": release.pipeline,
            "AWS::CodeBuild::Project": self._build,
            "AWS::IAM::OIDCProvider": release.provider,
        }

    def node(self, one: Resource) -> Node:
        """The card of a resource, whatever its type."""
        make = self._by_type.get(one.type)
        if make is None:
            return Node(one, one.name, one.type.removeprefix("AWS::").replace("::", " "), ())
        title, tag, lines = make(one)
        return Node(one, title, tag, tuple(lines))

    def _key(self, one: Resource) -> tuple[str, str, list[str]]:
        alias = [
            a.properties["AliasName"]
            for a in self._account.of_type("AWS::KMS::Alias")
            if a.properties["TargetKeyId"] in (one.arn, one.name)
        ]
        if is_signing_key(one.properties):
            return "Signing key", "KMS key", [*alias, "signs what devices install; not rotated"]
        rotated = "rotated yearly" if one.properties.get("EnableKeyRotation") else "not rotated"
        return "Encryption key", "KMS key", [*alias, f"for everything that is stored; {rotated}"]

    def _bucket(self, one: Resource) -> tuple[str, str, list[str]]:
        buckets = self._account.settings.buckets
        purpose = next((key for key, name in buckets.items() if name == one.name), "access logs")
        [rule, *prefixes] = one.properties["LifecycleConfiguration"]["Rules"]
        cheaper = [str(to["TransitionInDays"]) for to in rule.get("Transitions", [])]
        days = [f"cheaper after {' and '.join(cheaper)}"] if cheaper else []
        days += [f"gone after {rule['ExpirationInDays']}"] if "ExpirationInDays" in rule else []
        days += [f"old versions {rule['NoncurrentVersionExpiration']['NoncurrentDays']}"]
        lines = [one.name, f"days: {', '.join(days)}"]
        lines += [f"{one['Prefix']} gone after {one['ExpirationInDays']} days" for one in prefixes]
        return f"Bucket {purpose}", "S3", lines

    def _topic(self, one: Resource) -> tuple[str, str, list[str]]:
        told = [
            sub.properties["Endpoint"]
            for sub in self._account.of_type("AWS::SNS::Subscription")
            if sub.properties["TopicArn"] == one.arn
        ]
        return "Alerts", "SNS topic", [one.name, f"mails {', '.join(told)}"]

    def _budget(self, one: Resource) -> tuple[str, str, list[str]]:
        limit = one.properties["Budget"]["BudgetLimit"]
        shares: dict[str, list[str]] = {}
        for found in one.properties["NotificationsWithSubscribers"]:
            notification = found["Notification"]
            kind = "spent" if notification["NotificationType"] == "ACTUAL" else "forecast"
            shares.setdefault(kind, []).append(f"{notification['Threshold']:g}")
        told = "; ".join(f"{', '.join(numbers)} % {kind}" for kind, numbers in shares.items())
        return "Budget", "AWS Budgets", [
            one.name, f"${limit['Amount']:g} a month; at {told}",
        ]  # fmt: skip

    def _action(self, one: Resource) -> tuple[str, str, list[str]]:
        definition = one.properties["Definition"]["IamActionDefinition"]
        return "Budget action", "AWS Budgets", [
            f"at {one.properties['ActionThreshold']['Value']} % spent attaches the denial to",
            ", ".join(self._short(name) for name in definition["Roles"]),
        ]  # fmt: skip

    def _role(self, one: Resource) -> tuple[str, str, list[str]]:
        whose, lines = f"for {', '.join(trusted(one))}", self._may(one)
        if len(one.name) + len(whose) > _BESIDE:
            return one.name, "IAM", [whose, *lines]
        return one.name, whose, lines

    def _policy(self, one: Resource) -> tuple[str, str, list[str]]:
        if is_boundary(one):
            return one.name, "IAM policy", ["permissions boundary: the most that a role can do"]
        return one.name, "IAM policy", ["denies new jobs and executions"]

    def _permission_set(self, one: Resource) -> tuple[str, str, list[str]]:
        hours = one.properties["SessionDuration"].removeprefix("PT").removesuffix("H")
        return one.name, f"{hours} hours", [one.properties["Description"]]

    def _repository(self, one: Resource) -> tuple[str, str, list[str]]:
        facts = ["ECR"]
        if one.properties.get("ImageTagMutability") == "IMMUTABLE":
            facts.append("tags stay")
        if one.properties.get("ImageScanningConfiguration", {}).get("ScanOnPush"):
            facts.append("scanned")
        return f"Images {one.name.rpartition('/')[2]}", ", ".join(facts), [one.name]

    def _pipeline(self, one: Resource) -> tuple[str, str, list[str]]:
        text = one.properties["PipelineDefinition"].get("PipelineDefinitionBody")
        jobs: dict[str, list[str]] = {}
        if text:
            for name, role in _jobs(json.loads(text)["Steps"]):
                jobs.setdefault(self._short(role.rpartition("/")[2]), []).append(name)
        runs = [f"{', '.join(names)} as {role}" for role, names in jobs.items()]
        role = self._short(one.properties["RoleArn"].rpartition("/")[2])
        title = "Pipeline" if one.name == self._account.settings.pipeline_name else "Drift check"
        return title, "SageMaker", [one.name, f"runs as role {role}; its jobs:", *runs]

    def _group(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Model registry", "model package group", [
            one.name, "register adds a version; a person approves it",
        ]  # fmt: skip

    def _domain(self, one: Resource) -> tuple[str, str, list[str]]:
        network = "in your VPC only" if one.properties["AppNetworkAccessType"] == "VpcOnly" else ""
        sign_in = "Identity Center" if one.properties["AuthMode"] == "SSO" else "IAM"
        return "Studio domain", "SageMaker", [one.name, f"{network}; sign-in by {sign_in}"]

    def _rule(self, one: Resource) -> tuple[str, str, list[str]]:
        pattern: Mapping[str, Any] = one.properties.get("EventPattern", {})
        if not pattern:
            return "Rule", "EventBridge", [one.name, str(one.properties["ScheduleExpression"])]
        detail: Mapping[str, Any] = pattern.get("detail", {})
        keys = [_key_pattern(key) for key in detail.get("object", {}).get("key", [])]
        status = detail.get("currentPipelineExecutionStatus", [])
        status += [state.capitalize() for state in detail.get("state", [])]
        kinds = ", ".join(pattern.get("detail-type", [one.properties.get("Description", "")]))
        if keys:
            when = f"{kinds}: {', '.join(keys)}"
        else:
            when = f"an execution is {', '.join(status)}" if status else kinds
        return "Rule", "EventBridge", [one.name, when]

    def _function(self, one: Resource) -> tuple[str, str, list[str]]:
        said = str(one.properties.get("Description", ""))
        return "Function", "Lambda", [one.name, _lower(said)]

    def _state_machine(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Promotion", "Step Functions", [
            one.name, "verify, copy, canary, watch, fleet; or back",
        ]  # fmt: skip

    def _schedules(self, one: Resource) -> tuple[str, str, list[str]]:
        lines = [one.name]
        for function in self._account.of_type("AWS::Lambda::Function"):
            variables = function.properties.get("Environment", {}).get("Variables", {})
            if variables.get("SCHEDULE_GROUP") == one.name:
                minutes = variables["COOL_DOWN_MINUTES"]
                lines.append(f"one-time schedule, {minutes} minutes after the first manifest")
        return "Schedules", "EventBridge Scheduler", lines

    def _schedule(self, one: Resource) -> tuple[str, str, list[str]]:
        said = str(one.properties["Description"])
        return "Schedule", "EventBridge Scheduler", [
            one.name, _lower(said), f"{one.properties['ScheduleExpression']}, UTC",
        ]  # fmt: skip

    def _queue(self, one: Resource) -> tuple[str, str, list[str]]:
        days = one.properties["MessageRetentionPeriod"] // 86400
        what = "be stored" if "telemetry" in one.name else "be started"
        return "Dead letters", "SQS queue", [one.name, f"what could not {what}, kept {days} days"]

    def _alarm(self, one: Resource) -> tuple[str, str, list[str]]:
        said = str(one.properties.get("AlarmDescription", "")).partition(". What to do")[0]
        return (
            "Alarm",
            "CloudWatch",
            [one.name, _lower(said)],
        )

    def _dashboard(self, one: Resource) -> tuple[str, str, list[str]]:
        widgets: list[Mapping[str, Any]] = json.loads(one.properties["DashboardBody"])["widgets"]
        return "Dashboard", "CloudWatch", [one.name, f"{len(widgets)} widgets; see dashboard.svg"]

    def _logs(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Log group", f"kept {one.properties['RetentionInDays']} days", [one.name]

    def _device_policy(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Policy of devices", "IoT Core", [
            one.name, "each connects as itself, to its own topics",
        ]  # fmt: skip

    def _role_alias(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Role alias", "IoT Core", [one.name, "a device's certificate for credentials"]

    def _thing_group(self, one: Resource) -> tuple[str, str, list[str]]:
        said = one.properties["ThingGroupProperties"]["ThingGroupDescription"]
        return "Thing group", "IoT Core", [one.name, said]

    def _thing_type(self, one: Resource) -> tuple[str, str, list[str]]:
        return "Thing type", "IoT Core", [one.name]

    def _topic_rule(self, one: Resource) -> tuple[str, str, list[str]]:
        payload: Mapping[str, Any] = one.properties["TopicRulePayload"]
        topic = payload["Sql"].split("FROM ")[1].split("'")[1]
        metrics = [
            action["CloudwatchMetric"]["MetricName"]
            for action in payload["Actions"]
            if "CloudwatchMetric" in action
        ]
        return "Rule", "IoT Core", [
            one.name, f"{topic} to a file each", f"metrics {', '.join(metrics)}",
        ]  # fmt: skip

    def _build(self, one: Resource) -> tuple[str, str, list[str]]:
        return release.build(one, self._account)

    def _may(self, one: Resource) -> list[str]:
        """What a role reads and writes, of buckets, key, pipeline, registry and topic."""
        principal: Principal | None = self._principals.get(one.arn)
        if principal is None:
            return []
        by_verb: dict[str, list[str]] = {}
        key, signs = "", False
        for target in targets(self._account):
            if target.title == "encryption key":
                key = level(principal, target)
            elif target.title == "signing key":
                signs = "W" in level(principal, target)
            elif target.title.startswith(_ACCESS):
                for letter in level(principal, target):
                    by_verb.setdefault(letter, []).append(target.title)
        verbs = {"R": "reads", "W": "writes", "D": "deletes", SETTINGS: "sees settings of"}
        lines = [f"{verb} {_joined(by_verb[on])}" for on, verb in verbs.items() if on in by_verb]
        uses = [word for letter, word in (("R", "decrypts"), ("W", "encrypts")) if letter in key]
        lines += [f"{' and '.join(uses)} with the key"] if uses else []
        return [*lines, "signs with the signing key"] if signs else lines

    def _short(self, name: str) -> str:
        return name.removeprefix(f"{self._account.settings.name}-")


def _lower(said: str) -> str:
    """A description, within a sentence."""
    return said[:1].lower() + said[1:]


def _key_pattern(key: str | Mapping[str, str]) -> str:
    """``datasets/*/manifest.json`` of ``{"wildcard": …}``, or a key that is written out."""
    return key if isinstance(key, str) else next(iter(key.values()))


def _joined(titles: list[str]) -> str:
    """``buckets raw and models, model registry``"""
    buckets = [title.removeprefix("bucket ") for title in titles if title.startswith("bucket ")]
    others = [title for title in titles if not title.startswith("bucket ")]
    word = "bucket" if len(buckets) == 1 else "buckets"
    return ", ".join(([f"{word} {' and '.join(buckets)}"] if buckets else []) + others)


def _jobs(steps: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each job of a definition with its role's ARN, those behind gates included."""
    for step in steps:
        arguments = step["Arguments"]
        if "RoleArn" in arguments:
            yield step["Name"], str(arguments["RoleArn"])
        for branch in ("IfSteps", "ElseSteps"):
            yield from _jobs(arguments.get(branch, []))
