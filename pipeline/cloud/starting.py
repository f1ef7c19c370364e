"""Starts an execution of the deployed pipeline, its parameters checked before the call.

What is checked against is the *deployed* definition, not the one in this checkout: names, types
and choices are those that the service will apply.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.cloud import deployed
from pipeline.cloud.session import Account, CloudError
from pipeline.local.cursor import Cursor
from pipeline.local.errors import DefinitionError
from pipeline.local.parameters import ParameterValue, bind_parameters, read_parameters


@dataclass(frozen=True)
class Plan:
    """An execution that may be started.

    Attributes:
        definition: What is deployed.
        values: Every parameter's value, those left out at their default.
        given: The values that were given, as text, which is how the service takes them.
    """

    definition: Mapping[str, Any]
    values: Mapping[str, ParameterValue]
    given: Mapping[str, str]


def plan(account: Account, given: Mapping[str, object]) -> Plan:
    """Check the parameters that were given against the deployed definition.

    Raises:
        UsageError: There is no such parameter, or a value does not fit.
        CloudError: The pipeline is not deployed or cannot be read.
    """
    definition = deployed.read_definition(account)
    try:
        declared = read_parameters(Cursor(definition))
    except DefinitionError as error:
        name = account.settings.pipeline_name
        raise CloudError(f"The definition of {name} cannot be read: {error}") from None
    values = bind_parameters(declared, given)
    return Plan(definition, values, {name: _text(values[name]) for name in given})


def start(account: Account, checked: Plan, description: str = "") -> str:
    """Start the execution, described in words if there are any; returns its ARN.

    The token makes a repeated request, such as a retry after a lost answer, start nothing twice.

    Raises:
        CloudError: It was not started.
    """
    name = account.settings.pipeline_name
    answer = account.call(
        "sagemaker",
        "start_pipeline_execution",
        f"start pipeline {name}",
        PipelineName=name,
        PipelineParameters=[
            {"Name": parameter, "Value": value} for parameter, value in checked.given.items()
        ],
        ClientRequestToken=uuid.uuid4().hex,
        **({"PipelineExecutionDescription": description} if description else {}),
    )
    return str(answer["PipelineExecutionArn"])


def _text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
