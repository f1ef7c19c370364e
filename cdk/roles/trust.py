"""Who may assume which service role, and on whose behalf.

A service acts for every customer. The conditions say that it may assume a role only for something
in this account, so that nobody else's job can be handed our role's ARN.

Leaves out: what the role may do then (statements.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_iam as iam

from pipeline.settings import RoleKind, Settings


def trusted_by(kind: RoleKind, settings: Settings) -> iam.IPrincipal:
    """The principals of one service role."""
    if kind == "retraining":
        return iam.CompositePrincipal(_scheduler(settings), _lambda(settings))
    return _service("sagemaker", settings, f"sagemaker:{settings.region}:{settings.account}:*")


def _scheduler(settings: Settings) -> iam.ServicePrincipal:
    group = f"schedule-group/{settings.schedule_group}"
    return _service(
        "scheduler", settings, f"scheduler:{settings.region}:{settings.account}:{group}"
    )


def _lambda(settings: Settings) -> iam.ServicePrincipal:
    """Lambda does not document that it names its source when it assumes a function's role, so the
    condition holds where it does. It takes roles of the function's own account only."""
    return iam.ServicePrincipal(
        "lambda.amazonaws.com",
        conditions={"StringEqualsIfExists": {"aws:SourceAccount": settings.account}},
    )


def _service(name: str, settings: Settings, source: str) -> iam.ServicePrincipal:
    conditions: Mapping[str, Mapping[str, str]] = {
        "StringEquals": {"aws:SourceAccount": settings.account},
        "ArnLike": {"aws:SourceArn": f"arn:{settings.partition}:{source}"},
    }
    return iam.ServicePrincipal(f"{name}.amazonaws.com", conditions=conditions)
