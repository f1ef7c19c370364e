"""Settings: every shipped environment parses, and a wrong value is named with its rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.names import ROLE_KINDS
from pipeline.sections import PERMISSION_SETS
from pipeline.settings import ENVIRONMENTS, Settings, SettingsError

SHIPPED = sorted(file.stem for file in ENVIRONMENTS.glob("*.toml"))
VALID: dict[str, Any] = {
    "environment": "dev",
    "account": "123456789012",
    "region": "eu-west-1",
    "budget": {"recipients": ["platform@example.com"]},
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
        *(settings.role_arn(kind) for kind in ROLE_KINDS),
        settings.boundary_arn,
        settings.alert_topic_arn,
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
        == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/slm-edge-dev/training:latest"
    )


def test_the_chinese_partition_changes_arns_and_registry():
    settings = Settings.of({**VALID, "region": "cn-north-1"})
    assert settings.role_arn("training").startswith("arn:aws-cn:iam::123456789012:role/")
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
        ({"processing": {"instance_type": "m5.large"}}, "must be one of ml.m5.large, "),
        ({"training": {"instance_type": "ml.m5.large"}}, "must be one of ml.m5.xlarge, "),
        ({"budget": {"recipients": []}}, "budget.recipients is empty"),
        ({"budget": {"recipients": ["nobody"]}}, "budget.recipients.0 = 'nobody'"),
        ({"budget": {"recipients": ["a@b.co"], "monthly_usd": 0}}, "greater than 0"),
        ({"retraining": {"schedule": "sundays"}}, "retraining.schedule = 'sundays'"),
        ({"retraining": {"cool_down_minutes": 0}}, "retraining.cool_down_minutes = 0"),
        ({"identity": {"instance_arn": "mine"}}, "identity.instance_arn = 'mine'"),
        ({"identity": {"session_hours": {"auditor": 13}}}, "less than or equal to 12"),
        ({"identity": {"assignments": [{"permission_set": "root"}]}}, "'data-scientist'"),
        ({"studio": {"enabled": True}}, "a Studio domain needs vpc and subnets"),
        ({"images": {"training": "me/training:latest"}}, "must name an image by digest"),
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


def test_a_file_of_ones_own_is_read_where_an_environment_is_asked_for(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text((ENVIRONMENTS / "dev.toml").read_text().replace("1" * 12, "4" * 12))
    assert Settings.load(str(file)).account == "4" * 12


def test_images_given_by_digest_win_over_a_registry_and_its_tag():
    digest = f"{'4' * 12}.dkr.ecr.eu-west-1.amazonaws.com/x@sha256:{'a' * 64}"
    settings = Settings.of({**VALID, "images": {"training": digest}})
    assert settings.training_image == digest
    assert settings.processing_image.endswith("/slm-edge-dev/processing:latest")


def test_a_key_of_settings_wins_over_the_alias_of_the_foundation_stack():
    assert Settings.of(VALID).kms_key_arn.endswith(":alias/slm-edge-dev")
    own = Settings.of({**VALID, "kms_key": "key/1234-abcd"})
    assert own.kms_key_arn.endswith(":key/1234-abcd")
    assert own.kms_alias == "alias/slm-edge-dev"


def test_sessions_last_four_hours_for_those_who_may_much_and_eight_for_the_others():
    identity = Settings.of({**VALID, "identity": {"session_hours": {"auditor": 1}}}).identity
    assert [identity.hours(name) for name in PERMISSION_SETS] == [8, 8, 4, 1]


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


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_a_model_is_approved_by_people_where_people_depend_on_it(environment: str):
    automatic = VALID | {"retraining": {"automatic_approval": True}}
    assert Settings.of(automatic).retraining.automatic_approval
    with pytest.raises(
        SettingsError, match=f"automatic_approval is for local and dev.*{environment}"
    ):
        Settings.of(automatic | {"environment": environment})


def test_a_link_into_the_runbook_is_its_address_and_a_section():
    assert Settings.of(VALID).runbook_link("drift") == "docs/runbook.md#drift"
    elsewhere = VALID | {"monitoring": {"runbook": "https://docs.example.com/runbook/"}}
    assert Settings.of(elsewhere).runbook_link("drift") == "https://docs.example.com/runbook/#drift"
    with pytest.raises(SettingsError, match=r"monitoring\.runbook"):
        Settings.of(VALID | {"monitoring": {"runbook": "a page"}})
