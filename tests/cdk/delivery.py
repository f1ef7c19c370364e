"""Environments that are delivered to, as settings files: in one account, or in an account each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.settings import ENVIRONMENTS, Settings

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
