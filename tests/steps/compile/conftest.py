from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.moto_server import reset, running


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def aws(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """An emulated account with the bucket ``models``; returns boto3's client function."""
    import boto3

    reset(moto_endpoint)
    for name, value in {
        "AWS_ENDPOINT_URL": moto_endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "SLM_REGISTRY": "sagemaker",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(
        Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return boto3.client
