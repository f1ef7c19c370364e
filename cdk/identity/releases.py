"""What people may do with the delivery pipeline: answer its approval, or govern its releases.

Who answers for a model and who answers for the account are two people: an ML engineer says yes or
no to a release and starts none, a platform engineer starts, stops and holds releases and says yes
to none. Neither changes the pipeline, which takes a deployment. The pipeline exists in the tooling
environment alone; in any other there is nothing to allow.

Leaves out: what the pipeline itself and its builds may do (cdk/delivery/permissions.py).
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from cdk.delivery.permissions import approval
from cdk.roles.names import Names
from cdk.roles.statements import allow

_READING = (
    "codepipeline:GetPipeline",  # which the console's page of a pipeline opens with
    "codepipeline:GetPipelineExecution",
    "codepipeline:GetPipelineState",
    "codepipeline:ListActionExecutions",
    "codepipeline:ListPipelineExecutions",
)


def approving(names: Names) -> list[iam.PolicyStatement]:
    """Answer the one approval, with what there is to see before; nothing without a pipeline."""
    if not names.settings.delivery.connection:
        return []
    return [
        _following(names),
        allow("ApproveReleases", ["codepipeline:PutApprovalResult"], [approval(names)]),
    ]


def governing(names: Names) -> list[iam.PolicyStatement]:
    """Start, stop, repeat and hold releases; nothing without a pipeline."""
    if not names.settings.delivery.connection:
        return []
    pipeline = _pipeline(names)
    return [
        _following(names),
        allow(
            "StartAndStopReleases",
            ["codepipeline:StartPipelineExecution", "codepipeline:StopPipelineExecution"],
            [pipeline],
        ),
        allow(
            "RepeatAndHoldStages",
            [
                "codepipeline:DisableStageTransition",
                "codepipeline:EnableStageTransition",
                "codepipeline:RetryStageExecution",
            ],
            [f"{pipeline}/*"],
        ),
    ]


def _following(names: Names) -> iam.PolicyStatement:
    return allow("FollowReleases", _READING, [_pipeline(names)])


def _pipeline(names: Names) -> str:
    return names.arn("codepipeline", names.settings.delivery_pipeline)
