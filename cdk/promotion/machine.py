"""The state machine: one step, a pause, the next one, until the function says that it is over.

It knows nothing of promotion; every decision is the function's, which keeps them in S3. So an
execution that ends half-way (or is stopped) leaves a promotion that ``slm promote`` takes up again.
One that was refused or rolled back ends as failed, with the reason, and that is told.
"""

from __future__ import annotations

from typing import Any

from pipeline.settings import Settings

RETRIES = 5
RETRY_SECONDS = 30  # then twice as long each time: a quarter of an hour together
_WAITING_HOURS = 24
"""For a version that is packaged only later, and for promotions that come first."""


def definition(settings: Settings, function_arn: str) -> dict[str, Any]:
    """In the Amazon States Language."""
    return {
        "Comment": "Takes an approved version to the devices, step by step",
        "StartAt": "Begin",
        "TimeoutSeconds": timeout_seconds(settings),
        "States": {
            "Begin": {
                "Type": "Pass",
                "Parameters": {"arn.$": "$.arn", "execution.$": "$$.Execution.Name"},
                "Next": "Step",
            },
            "Step": {
                "Type": "Task",
                "Resource": f"arn:{settings.partition}:states:::lambda:invoke",
                "Parameters": {"FunctionName": function_arn, "Payload.$": "$"},
                "OutputPath": "$.Payload",
                "Retry": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "IntervalSeconds": RETRY_SECONDS,
                        "BackoffRate": 2,
                        "MaxAttempts": RETRIES,
                    }
                ],
                "Next": "Over?",
            },
            "Over?": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.end", "BooleanEquals": False, "Next": "Wait"},
                    {"Variable": "$.state", "StringEquals": "done", "Next": "Done"},
                    {"Variable": "$.state", "StringEquals": "under-way", "Next": "Done"},
                ],
                "Default": "Stopped",
            },
            "Wait": {"Type": "Wait", "SecondsPath": "$.wait", "Next": "Step"},
            "Done": {"Type": "Succeed"},
            "Stopped": {"Type": "Fail", "ErrorPath": "$.state", "CausePath": "$.words"},
        },
    }


def timeout_seconds(settings: Settings) -> int:
    """Longer than a promotion can take that somebody goes on with."""
    told = settings.promotion
    minutes = told.canary_minutes + told.watch_minutes + told.fleet_minutes
    return 60 * (2 * minutes + 60 * _WAITING_HOURS)
