"""The check for drift in the account: starts the deployed pipeline, and reads what it found."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from pipeline.cloud.deployed import short
from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.drift_definition import OUTPUT, REPORT, STEP


def start(account: Account, parameters: Mapping[str, object]) -> str:
    """Start the check; returns the execution's ARN.

    Raises:
        CloudError: It is not deployed, or was not started.
    """
    name = account.settings.drift_pipeline_name
    try:
        answer = account.call(
            "sagemaker",
            "start_pipeline_execution",
            f"start pipeline {name}",
            PipelineName=name,
            PipelineParameters=[
                {"Name": key, "Value": str(value)} for key, value in parameters.items()
            ],
            ClientRequestToken=uuid.uuid4().hex,
        )
    except MissingError:
        raise MissingError(
            f"Pipeline {name} is not deployed in {account.place}: check --env and the credentials, "
            f"or deploy it with cdk deploy --all -c env={account.settings.environment}."
        ) from None
    return str(answer["PipelineExecutionArn"])


def read(account: Account, arn: str) -> tuple[dict[str, Any], str]:
    """What an execution found, and the address of its report.

    Raises:
        CloudError: It left nothing that can be read.
    """
    place = f"executions/{short(arn)}/{STEP}/{OUTPUT}"
    bucket = Bucket(account, account.settings.pipeline_bucket)
    content = bucket.read(f"{place}/drift.json")
    if content is None:
        raise CloudError(f"{bucket.address(place)} has no drift.json: start the check again.")
    found: dict[str, Any] = json.loads(content)
    return found, bucket.address(f"{place}/{REPORT}")
