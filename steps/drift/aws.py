"""Clients of the account that the job runs in, and what it refuses as one sentence.

A run on a laptop has no account: nothing here is called then (``in_account``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from steps.contract import StepError
from steps.registry import REGISTRY_VARIABLE


def in_account() -> bool:
    """Whether there is an account to tell, as for the model registry."""
    return os.environ.get(REGISTRY_VARIABLE, "sagemaker") == "sagemaker"


def client(service: str) -> Any:
    """The boto3 client of a service."""
    with errors(f"reach {service}"):
        import boto3
        from botocore.config import Config

        # an endpoint of one's own rarely answers for one host name per bucket
        emulated = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            max_pool_connections=64,
            s3={"addressing_style": "path" if emulated else "auto"},
        )
        return boto3.Session().client(service, config=config)


def split_address(uri: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://BUCKET/PREFIX``; the prefix ends in a slash or is empty.

    Raises:
        StepError: It is no such address.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise StepError(f"{uri!r} is no place in S3: write s3://BUCKET/PREFIX.")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


@contextmanager
def errors(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into one sentence."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise StepError(
            f"Could not {doing}: {error}; check the name, the region and the role's permissions."
        ) from None
