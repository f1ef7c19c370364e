"""Which environment delivers to which: each side names the other, or nothing is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cloud.delivery.environments import targets_of, tooling_of
from pipeline.settings import Settings, SettingsError
from tests.cdk.delivery import ONE_ACCOUNT, write_environments


def test_the_tooling_environment_delivers_to_itself_staging_and_prod(tmp_path: Path):
    dev = write_environments(tmp_path)
    assert [one.environment for one in targets_of(dev)] == ["dev", "staging", "prod"]
    assert tooling_of(dev) == dev
    staging = Settings.read(tmp_path / "staging.toml")
    tooling = tooling_of(staging)
    assert tooling is not None
    assert (tooling.account, tooling.name) == ("111111111111", "slm-edge-dev")


def test_the_shipped_environments_deliver_nothing_until_somebody_says_so():
    for name in ("dev", "staging", "prod"):
        settings = Settings.load(name)
        assert not settings.delivery.here
        assert tooling_of(settings) is None


def read(folder: Path, name: str) -> None:
    """Read an environment as the app does."""
    settings = Settings.read(folder / f"{name}.toml")
    tooling_of(settings)
    if settings.delivery.here:
        targets_of(settings)


@pytest.mark.parametrize(
    ("asked", "file", "old", "new", "said"),
    [
        ("dev", "staging", 'tooling = "', '# "', "does not let this environment deliver to it"),
        ("staging", "staging", 'tooling = "', 'tooling = "prod" # "', "delivers nothing"),
        ("dev", "prod", "eu-west-1", "us-east-1", "is in us-east-1, not in eu-west-1"),
        ("dev", "prod", 'environment = "prod"', 'environment = "staging"', "staging again"),
        ("dev", "dev", 'github = "', 'tooling = "prod"\ngithub = "', "not allowed beside"),
        ("dev", "dev", "repository =", "#", "connection and repository must be given together"),
        ("dev", "dev", "connection/1111", "connection/zzzz", "delivery.connection"),
    ],
)
def test_settings_that_do_not_agree_are_refused_in_a_sentence(
    tmp_path: Path, asked: str, file: str, old: str, new: str, said: str
):
    write_environments(tmp_path, ONE_ACCOUNT)
    read(tmp_path, asked)
    path = tmp_path / f"{file}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, asked)
