"""Environments that are delivered to, as settings files: in one account, or in an account each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import ENVIRONMENTS, Settings
from tests.cdk.policies import Call, Statement, is_allowed, resolve
from tests.cdk.synthesized import Synthesized, synthesize

TOOLING = "111111111111"
NAME = "slm-edge-dev-delivery"

CONNECTION = (
    "arn:aws:codeconnections:eu-west-1:111111111111:connection/11111111-2222-3333-4444-555555555555"
)
ONE_ACCOUNT = dict.fromkeys(("dev", "staging", "prod"), "111111111111")
THREE_ACCOUNTS = {"dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}


def write_environments(
    folder: Path, accounts: Mapping[str, str] = THREE_ACCOUNTS, more: str = ""
) -> Settings:
    """dev.toml, staging.toml and prod.toml in ``folder``; the tooling environment's settings.

    Args:
        accounts: By environment.
        more: Lines for dev's ``[delivery]`` section.
    """
    for name, account in accounts.items():
        shipped = (ENVIRONMENTS / f"{name}.toml").read_text(encoding="utf-8")
        lines = [line for line in shipped.splitlines() if not line.startswith("account =")]
        delivery = [f'tooling = "{(folder / "dev.toml").as_posix()}"']
        if name == "dev":
            delivery = [
                f'connection = "{CONNECTION}"',
                'repository = "example/slm-edge"',
                'github = "example/slm-edge"',
                f'staging = "{(folder / "staging.toml").as_posix()}"',
                f'prod = "{(folder / "prod.toml").as_posix()}"',
                more,
            ]
        text = [f'account = "{account}"', *lines, "", "[delivery]", *delivery, ""]
        (folder / f"{name}.toml").write_text("\n".join(text), encoding="utf-8")
    return Settings.read(folder / "dev.toml")


@dataclass(frozen=True)
class Delivery:
    """The settings of all environments, and the tooling environment's templates."""

    folder: Path
    settings: Settings
    stacks: Synthesized

    def target(self, name: str) -> Settings:
        return Settings.read(self.folder / f"{name}.toml")

    @cached_property
    def pipeline(self) -> Mapping[str, Any]:
        return resolve(self.stacks.only("AWS::CodePipeline::Pipeline"), self._names)

    @property
    def stages(self) -> dict[str, list[Mapping[str, Any]]]:
        return {stage["Name"]: stage["Actions"] for stage in self.pipeline["Stages"]}

    @cached_property
    def projects(self) -> dict[str, Mapping[str, Any]]:
        found = self.stacks.resources("AWS::CodeBuild::Project", "delivery").values()
        return {one["Properties"]["Name"]: one["Properties"] for one in found}

    @cached_property
    def _names(self) -> dict[str, str]:
        own = self.stacks.resources("AWS::CodeBuild::Project", "delivery")
        return {
            **self.stacks.names,
            **{logical_id: one["Properties"]["Name"] for logical_id, one in own.items()},
        }

    def given(self, action: Mapping[str, Any]) -> dict[str, str]:
        """What an action hands to its build, with what the project adds."""
        found = json.loads(action["Configuration"].get("EnvironmentVariables", "[]"))
        project = self.projects[action["Configuration"]["ProjectName"]]
        found = [
            {"name": one["Name"], "value": one["Value"]}
            for one in project["Environment"].get("EnvironmentVariables", [])
        ] + found
        return {one["name"]: one["value"] for one in found}

    def builds(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Stage and action of every build, in order."""
        return [
            (stage, action)
            for stage, actions in self.stages.items()
            for action in sorted(actions, key=lambda one: one["RunOrder"])
            if action["ActionTypeId"]["Provider"] == "CodeBuild"
        ]

    def role(self, name: str) -> list[Statement]:
        return self.stacks.statements_of(f"{NAME}-{name}")

    @cached_property
    def boundary(self) -> list[Statement]:
        return self.stacks.managed_policy(f"{NAME}-boundary")

    def may(self, role: str, action: str, resource: str, **context: str) -> bool:
        call = Call(action, resource, context)
        return is_allowed(call, self.role(role), boundary=self.boundary)


def made(folder: Path, accounts: Mapping[str, str], more: str = "") -> Delivery:
    settings = write_environments(folder, accounts, more)
    return Delivery(folder, settings, synthesize(settings, folder / "out", whole=True))


@pytest.fixture(scope="session")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """Three accounts."""
    return made(tmp_path_factory.mktemp("delivery"), THREE_ACCOUNTS)


@pytest.fixture(scope="session")
def staging(delivery: Delivery) -> Synthesized:
    """Staging's own stacks, in its own account."""
    settings = delivery.target("staging")
    return synthesize(settings, delivery.folder / "staging-out")
