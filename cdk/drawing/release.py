"""The cards of the delivery: the pipeline with its stages, and each build with its role.

A build's role is called like the build and is used by nothing else, so it is a line of that card.

Leaves out: all other cards (cards.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdk.drawing.account import AccountTemplates, Resource

Card = tuple[str, str, list[str]]
"""Title, what it is, and lines."""


def is_of_a_build(one: Resource, account: AccountTemplates) -> bool:
    """Whether a resource is the role of a build."""
    return one.type == "AWS::IAM::Role" and one.name in {
        build.name for build in account.of_type("AWS::CodeBuild::Project")
    }


def pipeline(one: Resource) -> Card:
    """The delivery pipeline, a line for each stage."""
    stages = [f"{stage['Name']}: {_said(stage)}" for stage in one.properties["Stages"]]
    return "Delivery pipeline", "CodePipeline", [one.name, *stages]


def build(one: Resource, account: AccountTemplates) -> Card:
    """A build: what it does, and which roles its own role may take."""
    delivery = one.name.partition("-delivery-")
    said = str(one.properties["Description"])
    taken = list(dict.fromkeys(_taken(one, account)))
    as_role = f"its role, called alike, takes {', '.join(taken) or 'no other'}"
    return f"Build {delivery[2]}", "CodeBuild", [one.name, said[:1].lower() + said[1:], as_role]


def provider(one: Resource) -> Card:
    """GitHub's identity provider."""
    url = str(one.properties["Url"]).removeprefix("https://")
    return "Identity provider", "IAM", [url, "signs what a workflow shows to get a role"]


def _said(stage: Mapping[str, Any]) -> str:
    """Its actions in order; those that run side by side are joined by *and*."""
    by_order: dict[int, list[str]] = {}
    for action in stage["Actions"]:
        by_order.setdefault(int(action["RunOrder"]), []).append(_action(action))
    return ", then ".join(" and ".join(by_order[order]) for order in sorted(by_order))


def _action(action: Mapping[str, Any]) -> str:
    configuration: Mapping[str, Any] = action["Configuration"]
    match action["ActionTypeId"]["Category"]:
        case "Source":
            return f"{configuration['FullRepositoryId']}, branch {configuration['BranchName']}"
        case "Approval":
            return f"a person, within {action['TimeoutInMinutes'] // 1440} days"
        case _:
            return str(action["Name"])


def _taken(one: Resource, account: AccountTemplates) -> Iterator[str]:
    """The roles that a build takes, those of one bootstrap as one."""
    for role in account.of_type("AWS::IAM::Role"):
        if role.name != one.name:
            continue
        for policy in role.properties["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Action"] == "sts:AssumeRole":
                    found = statement["Resource"]
                    for arn in [found] if isinstance(found, str) else found:
                        yield _short(str(arn))


def _short(arn: str) -> str:
    name = arn.rpartition("/")[2]
    number = arn.split(":")[4]
    return f"the bootstrap's of account {number}" if name.startswith("cdk-") else name
