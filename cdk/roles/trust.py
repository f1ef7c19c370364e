"""Who may assume which service role, and on whose behalf.

A service acts for every customer. The conditions say that it may assume a role only for something
in this account, so that nobody else's job can be handed our role's ARN.

Leaves out: what the role may do then (statements.py).
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from cdk.roles import principals
from pipeline.names import RoleKind
from pipeline.settings import Settings


def trusted_by(kind: RoleKind, settings: Settings) -> iam.IPrincipal:
    """The principals of one service role."""
    if kind == "retraining":
        return scheduler(settings)
    return _service("sagemaker", settings, f"sagemaker:{settings.region}:{settings.account}:*")


def scheduler(settings: Settings) -> iam.IPrincipal:
    """EventBridge Scheduler, for the project's own group of schedules."""
    group = f"schedule-group/{settings.schedule_group}"
    return _service(
        "scheduler", settings, f"scheduler:{settings.region}:{settings.account}:{group}"
    )


def _service(name: str, settings: Settings, source: str) -> iam.IPrincipal:
    return principals.service(
        name,
        {
            "StringEquals": {"aws:SourceAccount": settings.account},
            "ArnLike": {"aws:SourceArn": f"arn:{settings.partition}:{source}"},
        },
    )
