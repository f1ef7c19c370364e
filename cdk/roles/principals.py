"""Principals, as the type that policies and roles ask for.

The generated stubs of aws-cdk-lib give the parameters of an interface's methods other names than
its classes do, so that to a type checker no class implements its interface. These say once that it
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aws_cdk import aws_iam as iam


def service(name: str, conditions: Mapping[str, Mapping[str, str]] | None = None) -> iam.IPrincipal:
    """An AWS service, such as ``events``."""
    principal = iam.ServicePrincipal(f"{name}.amazonaws.com", conditions=conditions)
    return cast("iam.IPrincipal", principal)


def account(number: str) -> iam.IPrincipal:
    """Everybody in an account whose own policy allows it as well."""
    return cast("iam.IPrincipal", iam.AccountPrincipal(number))


def roles_of(number: str, name: str, partition: str = "aws") -> iam.IPrincipal:
    """The roles of an account whose names match ``name``, in which ``*`` stands for anything."""
    arn = f"arn:{partition}:iam::{number}:role/{name}"
    principal = iam.PrincipalWithConditions(
        cast("iam.IPrincipal", iam.AccountPrincipal(number)),
        {"ArnLike": {"aws:PrincipalArn": arn}},
    )
    return cast("iam.IPrincipal", principal)


def anybody() -> iam.IPrincipal:
    """Everybody; for denials."""
    return cast("iam.IPrincipal", iam.AnyPrincipal())
