"""An environment's account, as the role that the environment gives to whoever delivers to it.

A build of CodeBuild and a workflow of GitHub have credentials of the tooling account. boto3 takes
the role with them and takes it again before it is over, which it is after an hour: an execution may
be waited for longer than that.

Leaves out: who may take the role (cdk/roles/delivery.py).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from pipeline.cloud.session import Account
from pipeline.settings import Settings

_CONTAINER = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"  # CodeBuild's


def open_as_role(settings: Settings, endpoint_url: str | None = None) -> Account:
    """The account of ``settings``, as ``settings.delivery_role``."""
    boto3: Any = importlib.import_module("boto3")
    botocore: Any = importlib.import_module("botocore.session")
    source = "EcsContainer" if os.environ.get(_CONTAINER) else "Environment"
    lines = [
        f"[profile {settings.delivery_role}]",
        f"role_arn = {settings.delivery_role_arn}",
        "role_session_name = delivery",
        f"credential_source = {source}",
        f"region = {settings.region}",
        *([f"endpoint_url = {endpoint_url}"] if endpoint_url else []),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        session = botocore.Session(profile=settings.delivery_role)
        session.set_config_variable("config_file", str(file))
        session.set_config_variable("credentials_file", os.devnull)
        session.get_credentials()  # reads the file, which is gone afterwards; asks nobody yet
    return Account(settings, endpoint_url, boto3.Session(botocore_session=session))
