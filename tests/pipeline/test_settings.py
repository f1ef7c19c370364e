"""Settings: every shipped environment parses, and a wrong value is named with its rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.settings import ENVIRONMENTS, Settings, SettingsError

SHIPPED = sorted(file.stem for file in ENVIRONMENTS.glob("*.toml"))
VALID: dict[str, Any] = {
    "environment": "dev",
    "account": "123456789012",
    "region": "eu-west-1",
    "kms_key": "alias/slm-edge-dev",
}


def test_the_four_environments_are_shipped():
    assert SHIPPED == ["dev", "local", "prod", "staging"]


@pytest.mark.parametrize("environment", SHIPPED)
def test_every_shipped_environment_parses_and_is_named_after_its_file(environment: str):
    settings = Settings.load(environment)
    assert settings.environment == environment
    assert settings.pipeline_name.endswith(environment)


@pytest.mark.parametrize("environment", SHIPPED)
def test_every_shared_name_is_a_plain_string_that_names_account_or_environment(environment: str):
    settings = Settings.load(environment)
    names = [
        settings.pipeline_arn,
        settings.execution_role_arn,
        settings.kms_key_arn,
        settings.model_package_group_arn,
        *settings.buckets.values(),
    ]
    assert all(type(name) is str and settings.account in name for name in names)
    assert len(set(settings.buckets.values())) == 5
    assert all(3 <= len(name) <= 63 for name in settings.buckets.values())


def test_local_images_come_from_this_machine_and_others_from_the_accounts_registry():
    assert Settings.load("local").processing_image == "localhost/slm-edge/processing:local"
    assert Settings.load("local").training_image == "localhost/slm-edge/training:local"
    assert (
        Settings.of(VALID).training_image
        == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/slm-edge/training:latest"
    )


def test_the_chinese_partition_changes_arns_and_registry():
    settings = Settings.of({**VALID, "region": "cn-north-1"})
    assert settings.execution_role_arn.startswith("arn:aws-cn:iam::123456789012:role/")
    assert ".amazonaws.com.cn/" in settings.processing_image


def test_tags_of_an_environment_join_ours_and_cannot_replace_them():
    settings = Settings.of({**VALID, "tags": {"owner": "voice", "project": "other"}})
    assert settings.all_tags == {"environment": "dev", "owner": "voice", "project": "slm-edge"}


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings.of(VALID).account = "999999999999"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"colour": "red"}, "colour is not a setting"),
        ({"training": {"spots": True}}, "training.spots is not a setting"),
        ({"account": "12"}, "account = '12' is not allowed"),
        ({"account": 123456789012}, "account = 123456789012 is not allowed"),
        ({"environment": "qa"}, "'local', 'dev', 'staging' or 'prod'"),
        ({"kms_key": "1234"}, "kms_key = '1234'"),
        ({"training": {"volume_gb": 0}}, "greater than or equal to 1"),
        ({"training": {"max_wait_seconds": 90}}, "max_wait_seconds 90 must be at least"),
        ({"network": {"subnets": ["subnet-1"]}}, "must be given together"),
        ({"processing": {"instance_type": "m5.large"}}, "such as ml.m5.xlarge"),
        ({"base_model_uri": "/models"}, "base_model_uri = '/models'"),
        ({"region": "us-verylongnamedregionofsomewhere-1"}, "more than 63"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_key_value_and_rule(wrong: dict[str, Any], said: str):
    with pytest.raises(SettingsError) as error:
        Settings.of({**VALID, **wrong}, where="dev.toml")
    sentence = str(error.value)
    assert said in sentence
    assert sentence.startswith("dev.toml: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_missing_key_is_named():
    with pytest.raises(SettingsError, match="region is missing"):
        Settings.of({key: value for key, value in VALID.items() if key != "region"})


def test_an_unknown_environment_is_answered_with_the_known_ones():
    with pytest.raises(SettingsError, match="'qa' is not one of dev, local, prod, staging"):
        Settings.load("qa")


def test_an_environment_cannot_be_a_path_outside_the_folder():
    with pytest.raises(SettingsError, match="is not one of"):
        Settings.load("../settings")


def test_a_file_that_is_not_toml_and_one_that_is_missing_are_named(tmp_path: Path):
    broken = tmp_path / "broken.toml"
    broken.write_text("account = ")
    with pytest.raises(SettingsError, match=r"broken\.toml is not valid TOML"):
        Settings.read(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"broken\.toml is not valid TOML"):
        Settings.read(broken)
    with pytest.raises(SettingsError, match=r"nothing\.toml does not exist"):
        Settings.read(tmp_path / "nothing.toml")


def test_without_spot_no_waiting_time_is_compared():
    training = {"spot": False, "max_wait_seconds": 60}
    assert Settings.of({**VALID, "training": training}).training.spot is False
