"""The SageMaker SDK, imported when it is needed and kept offline.

The SDK wants a region before its first import, looks roles and credentials up, reads defaults
from the user's home (which would change the definition from one machine to the next) and logs
that it starts no job. :func:`offline_session` settles all of that for the time of one build and
leaves the process as it was: environment, loggers and boto3's default session.

Leaves out: what is built with it (builder.py).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Generator, Mapping
from typing import Any

from pipeline.settings import Settings

_OFFLINE: dict[str, str | None] = {
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_PROFILE": None,
    "AWS_DEFAULT_PROFILE": None,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_SESSION_TOKEN": None,
}


def sdk(path: str) -> Any:
    """``module:name`` of the SDK; untyped, as the SDK is."""
    module, name = path.split(":")
    return getattr(importlib.import_module(f"sagemaker.{module}"), name)


@contextlib.contextmanager
def offline_session(settings: Settings) -> Generator[Any]:
    """A ``PipelineSession`` that can reach nothing and needs nothing."""
    region = {"AWS_REGION": settings.region, "AWS_DEFAULT_REGION": settings.region}
    with _environment({**_OFFLINE, **region}), _quiet(), _own_boto3_session() as boto3:
        boto_session = boto3.Session(region_name=settings.region)
        yield sdk("core.workflow.pipeline_context:PipelineSession")(
            boto_session=boto_session,
            sagemaker_client=boto_session.client("sagemaker"),
            default_bucket=settings.pipeline_bucket,
        )


@contextlib.contextmanager
def _environment(values: Mapping[str, str | None]) -> Generator[None]:
    """Set variables, or remove those that are None, for a while."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hold back the SDK's notices: that no job is started is exactly what is wanted here.

    The SDK gives its loggers handlers and levels of their own, so only switching logging off
    altogether for the moment holds them all back.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _own_boto3_session() -> Generator[Any]:
    """boto3, with the default session of its own that the SDK makes when it is imported."""
    boto3: Any = importlib.import_module("boto3")
    before = boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION = None
    try:
        yield boto3
    finally:
        boto3.DEFAULT_SESSION = before
