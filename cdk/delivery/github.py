"""GitHub's way in: its identity provider, and a role for each of two environments of GitHub.

No key is kept anywhere: a workflow shows a token that GitHub signed and gets credentials for some
hours. The token's subject names repository and environment, and a role takes the one pair alone, so
that GitHub's own protection of an environment (who has to approve, from which branch) protects the
role as well. A workflow of a pull request has no environment and gets nothing.

Leaves out: the workflows (.github/workflows).
"""

from __future__ import annotations

from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk.delivery import permissions
from cdk.roles.names import Names
from pipeline.settings import Settings

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
SESSION = Duration.hours(8)  # a job waits for an execution


class GitHub(Construct):
    """The provider, where the account has none, and the roles ``…-github-staging|prod``."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: Names,
        targets: tuple[Settings, Settings, Settings],
    ) -> None:
        super().__init__(scope, construct_id)
        self._names = names
        delivery = names.settings.delivery
        self._provider = delivery.github_provider or self._make_provider()
        _, staging, prod = targets
        self._role(
            staging,
            [
                *permissions.of_images(names),
                *permissions.of_deployment(names, staging),
                permissions.take("ActIn", [staging.delivery_role_arn]),
            ],
        )
        self._role(
            prod,
            [
                *permissions.of_deployment(names, prod),
                permissions.take("ActIn", [staging.delivery_role_arn, prod.delivery_role_arn]),
            ],
        )

    def _make_provider(self) -> str:
        provider = iam.CfnOIDCProvider(
            self, "Provider", url=f"https://{ISSUER}", client_id_list=[AUDIENCE]
        )
        return provider.attr_arn

    def _role(self, target: Settings, statements: list[iam.PolicyStatement]) -> None:
        settings = self._names.settings
        subject = f"repo:{settings.delivery.github}:environment:{target.environment}"
        trusted = iam.WebIdentityPrincipal(
            self._provider,
            {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
        )
        iam.Role(
            self,
            target.environment.capitalize(),
            role_name=f"{settings.delivery_pipeline}-github-{target.environment}",
            description=f"Workflows of GitHub's environment {target.environment}",
            assumed_by=cast("iam.IPrincipal", trusted),
            max_session_duration=SESSION,
            inline_policies={"workflow": iam.PolicyDocument(statements=statements)},
        )
