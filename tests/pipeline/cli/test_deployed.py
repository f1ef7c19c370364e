"""``slm run --pipeline NAME``: a deployed definition and S3, both of an emulated account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.moto_server import reset, running
from tests.pipeline.cli.conftest import BUCKET, definition

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"


@pytest.fixture(scope="module")
def account() -> Iterator[str]:
    """The address of an emulated account with a bucket and a pipeline called ``cakes``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        with running() as address:
            reset(address)
            fill(address)
            yield address
            reset(address)


def fill(address: str) -> None:
    place = {"LocationConstraint": "eu-west-1"}
    s3 = boto3.client("s3", endpoint_url=address)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    sagemaker = boto3.client("sagemaker", endpoint_url=address)
    for name, body in (("cakes", json.dumps(encrypted(definition()))), ("broken", "no json")):
        sagemaker.create_pipeline(
            PipelineName=name,
            PipelineDefinition=body,
            ClientRequestToken="0" * 32,
            RoleArn="arn:aws:iam::123456789012:role/slm",
        )


def encrypted(definition: dict[str, Any]) -> dict[str, Any]:
    definition["Steps"][0]["Arguments"]["ProcessingOutputConfig"]["KmsKeyId"] = KEY
    return definition


def test_a_deployed_pipeline_runs_here_with_its_data_and_results_in_s3(slm, home, data, account):
    done = slm("run", "--home", home, "--pipeline", "cakes", "--endpoint-url", account, "--data", data)  # fmt: skip  # noqa: E501
    assert done.exit_code == 0, done.output
    assert "94.0% (92.0–96.0)" in done.stdout
    stored = boto3.client("s3", endpoint_url=account).list_objects_v2(Bucket=BUCKET)
    keys = [entry["Key"] for entry in stored["Contents"]]
    assert any(key.startswith("my-data/") for key in keys)
    assert any(key.endswith("/package/lights.zip") for key in keys)
    assert not (home / "s3").exists()
    s3 = boto3.client("s3", endpoint_url=account)
    heads = [s3.head_object(Bucket=BUCKET, Key=key) for key in keys]
    assert {head["SSEKMSKeyId"] for head in heads} == {KEY}, "data and outputs, all of them"


@pytest.mark.parametrize(
    ("name", "said"),
    [("pies", "Pipeline pies cannot be fetched from eu-west-1"), ("broken", "is not JSON")],
)
def test_a_pipeline_that_cannot_be_fetched_is_one_sentence(slm, home, account, name, said):
    done = slm("run", "--home", home, "--pipeline", name, "--endpoint-url", account)
    assert (done.exit_code, said in done.stderr) == (1, True), done.output
    assert "Traceback" not in done.output
