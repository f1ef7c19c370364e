"""The pipeline as it is deployed in the account: its definition and its executions."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from pipeline.cloud.session import Account, CloudError, MissingError

_ARN = re.compile(r"arn:[a-z-]+:sagemaker:[a-z0-9-]+:[0-9]{12}:pipeline/[^/]+/execution/[a-z0-9]+")
_ID = re.compile(r"[a-z0-9]{12}")


def read_definition(account: Account) -> dict[str, Any]:
    """The definition of the deployed pipeline.

    Raises:
        CloudError: It is not deployed, or cannot be read.
    """
    name = account.settings.pipeline_name
    try:
        answer = account.call(
            "sagemaker", "describe_pipeline", f"read pipeline {name}", PipelineName=name
        )
    except MissingError:
        raise MissingError(_not_deployed(account)) from None
    return _parse(answer["PipelineDefinition"], name)


def definition_of(account: Account, arn: str) -> dict[str, Any]:
    """The definition that an execution runs, which the pipeline may have left behind since."""
    answer = account.call(
        "sagemaker",
        "describe_pipeline_definition_for_execution",
        f"read the definition of execution {short(arn)}",
        PipelineExecutionArn=arn,
    )
    return _parse(answer["PipelineDefinition"], short(arn))


def newest(account: Account, status: str | None = None) -> str:
    """The ARN of the newest execution, or of the newest with ``status``.

    Raises:
        CloudError: There is none, or the pipeline is not deployed.
    """
    name = account.settings.pipeline_name
    found: list[dict[str, Any]] = []
    try:
        for page in account.pages(
            "sagemaker",
            "list_pipeline_executions",
            f"list the executions of {name}",
            PipelineName=name,
            SortBy="CreationTime",
            SortOrder="Descending",
        ):
            found += [
                one
                for one in page["PipelineExecutionSummaries"]
                if status in (None, one["PipelineExecutionStatus"])
            ]
            if found:
                break
    except MissingError:
        raise MissingError(_not_deployed(account)) from None
    if not found:
        kind = f" that {status.lower()}" if status else ""
        raise CloudError(
            f"Pipeline {name} has no execution{kind} in {account.place}: start one with slm start."
        )
    # the service sorts; an emulator may not
    first = max(found, key=lambda one: one["StartTime"])
    return str(first["PipelineExecutionArn"])


def steps(account: Account, arn: str) -> list[dict[str, Any]]:
    """The steps of an execution that have begun, as ``ListPipelineExecutionSteps`` gives them.

    Raises:
        CloudError: They cannot be read.
    """
    found: list[dict[str, Any]] = []
    for page in account.pages(
        "sagemaker",
        "list_pipeline_execution_steps",
        f"list the steps of execution {short(arn)}",
        PipelineExecutionArn=arn,
        SortOrder="Ascending",
    ):
        found += page["PipelineExecutionSteps"]
    return found


def describe(account: Account, arn: str) -> dict[str, Any]:
    """An execution's status and, if it failed, its reason.

    Raises:
        CloudError: There is none, or it cannot be read.
    """
    try:
        return account.call(
            "sagemaker",
            "describe_pipeline_execution",
            f"read execution {short(arn)}",
            PipelineExecutionArn=arn,
        )
    except MissingError:
        raise MissingError(
            f"Pipeline {account.settings.pipeline_name} has no execution {short(arn)} in "
            f"{account.place}: check --env, or leave the id out for the newest."
        ) from None


def execution_arn(account: Account, given: str | None) -> str:
    """The ARN of the execution that a user named by ARN or id; the newest when by neither.

    An ARN may be of the drift check as well, an id is of the main pipeline.

    Raises:
        CloudError: It is neither, or is of another account.
    """
    if given is None:
        return newest(account)
    if _ARN.fullmatch(given):
        ours = (account.settings.pipeline_arn, account.settings.drift_pipeline_arn)
        if not given.startswith(tuple(f"{pipeline}/" for pipeline in ours)):
            raise CloudError(
                f"{given} is not an execution of {account.settings.pipeline_arn}: choose its "
                "environment with --env."
            )
        return given
    if not _ID.fullmatch(given):
        raise CloudError(
            f"{given!r} is not an execution: give its ARN, or the twelve letters at its end."
        )
    return f"{account.settings.pipeline_arn}/execution/{given}"


def short(arn: str) -> str:
    """An execution's id."""
    return arn.rpartition("/")[2]


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        content: object = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CloudError(f"The definition of {name} is not a JSON object: deploy it again.")
    return cast("dict[str, Any]", content)


def _not_deployed(account: Account) -> str:
    settings = account.settings
    return (
        f"Pipeline {settings.pipeline_name} is not deployed in {account.place}: check --env and "
        f"the credentials, or deploy it with cdk deploy --all -c env={settings.environment}."
    )
