"""An emulated account over HTTP, as the stacks would leave it, and a way to call ``slm`` in it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipeline.settings import Settings
from tests.moto_server import reset, running

ACCOUNT, REGION = "123456789012", "eu-west-1"
SETTINGS = f"""
environment = "dev"
account = "{ACCOUNT}"
region = "{REGION}"

[budget]
recipients = ["nobody@example.com"]
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def definition() -> dict[str, Any]:
    """Two jobs and a gate, with a parameter of each type."""
    cluster = {"InstanceType": {"Get": "Parameters.Machine"}, "InstanceCount": 1,
               "VolumeSizeInGB": 30}  # fmt: skip
    prepare = {
        "Name": "PrepareData",
        "Type": "Processing",
        "DisplayName": "Prepare the data",
        "Arguments": {"ProcessingResources": {"ClusterConfig": cluster}},
    }
    train = {
        "Name": "TrainModel",
        "Type": "Training",
        "DisplayName": "Train the model",
        "Arguments": {
            "EnableManagedSpotTraining": True,
            "ResourceConfig": {**cluster, "InstanceCount": {"Get": "Parameters.Count"}},
        },
    }
    closed = {
        "Name": "Closed",
        "Type": "Fail",
        "DisplayName": "Gate closed",
        "Arguments": {"ErrorMessage": "The gate is closed."},
    }
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "DisplayName": "Quality gate",
        "Arguments": {"Conditions": [], "IfSteps": [train], "ElseSteps": [closed]},
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Machine", "Type": "String", "DefaultValue": "ml.m5.xlarge",
             "EnumValues": ["ml.m5.xlarge", "ml.p4d.24xlarge", "ml.unheard.of"]},
            {"Name": "Epochs", "Type": "Integer", "DefaultValue": 4},
            {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
            {"Name": "MinAccuracy", "Type": "Float", "DefaultValue": 0.8},
            {"Name": "Verbose", "Type": "Boolean", "DefaultValue": False},
        ],
        "Steps": [prepare, gate],
    }  # fmt: skip


@functools.cache
def _client(service: str, address: str) -> Any:
    """Making a client takes longer than most of what is tested with it."""
    return boto3.client(
        service,
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@dataclass(frozen=True)
class Emulated:
    """An account: where it answers, and its settings."""

    address: str
    file: Path
    settings: Settings
    key_arn: str = ""

    def client(self, service: str) -> Any:
        return _client(service, self.address)

    @property
    def options(self) -> list[str]:
        return ["--env", str(self.file), "--endpoint-url", self.address]

    def slm(self, *words: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """Call ``slm`` as a process of its own, with the options of this account."""
        return run_slm(*words, *self.options, **changes)

    def head(self, address: str) -> dict[str, Any]:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        return self.client("s3").head_object(Bucket=bucket, Key=key)

    def keys(self, bucket: str) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
        return [entry["Key"] for entry in found]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a process that is logged in to the emulated account."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**clean, **CREDENTIALS, "COLUMNS": "200", "AWS_MAX_ATTEMPTS": "2", **changes}


def run_slm(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
    """Call ``slm`` as a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *(str(word) for word in words)],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """The address of a moto server."""
    with running() as address:
        yield address


@pytest.fixture
def emulated(emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulated:
    """An account with nothing in it."""
    reset(emulator)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    return Emulated(emulator, file, Settings.read(file))


@pytest.fixture
def account(emulated: Emulated) -> Emulated:
    """An account with a key, the buckets and the pipeline."""
    kms, s3 = emulated.client("kms"), emulated.client("s3")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName=emulated.settings.kms_alias, TargetKeyId=key["KeyId"])
    for bucket in emulated.settings.buckets.values():
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    emulated.client("sagemaker").create_pipeline(
        PipelineName=emulated.settings.pipeline_name,
        PipelineDefinition=json.dumps(definition()),
        ClientRequestToken="0" * 32,
        RoleArn=emulated.settings.role_arn("pipeline"),
    )
    return Emulated(emulated.address, emulated.file, emulated.settings, key["Arn"])
