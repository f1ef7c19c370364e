"""The monthly budget, and the brake that it pulls.

``Budget`` mails through the alert topic at 50, 80 and 100 % of what was spent and at 100 % of what
is forecast. It counts the whole account: a filter by tag reads as zero until somebody activates the
tag in the billing console, and a budget that cannot fire is worse than one that fires early.

``BudgetAction`` attaches a policy that denies new SageMaker jobs and executions to the service
roles when 100 % is spent. What runs goes on to its end. **The way back**, for a platform engineer:
raise ``budget.monthly_usd`` and deploy, or wait for the next month, and then reverse the action::

    aws budgets describe-budget-actions-for-budget --account-id ACCOUNT --budget-name NAME
    aws budgets execute-budget-action --account-id ACCOUNT --budget-name NAME \\
        --action-id ID --execution-type REVERSE_BUDGET_ACTION

and let it stand by again with ``--execution-type RESET_BUDGET_ACTION``. Reverse it before the roles
stack is removed as well: IAM keeps a policy that is attached to something.

Billing data is some hours old: the brake limits what a forgotten loop costs, not the last dollar.

Leaves out: the estimate before a run (``slm costs``) and the roles themselves (cdk/roles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.roles import principals, wildcards
from pipeline.settings import Settings

NOTIFICATIONS = (("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""What is compared with the budget, and the percentage from which on a mail is sent."""


class Budget(Construct):
    """The month's budget and who is told."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, alerts: sns.ITopic
    ) -> None:
        super().__init__(scope, construct_id)
        subscriber = budgets.CfnBudget.SubscriberProperty(
            subscription_type="SNS", address=alerts.topic_arn
        )
        self.resource = budgets.CfnBudget(
            self,
            "Month",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=budget_name(settings),
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(
                    amount=settings.budget.monthly_usd, unit="USD"
                ),
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in NOTIFICATIONS
            ],
        )


def budget_name(settings: Settings) -> str:
    """``slm-edge-dev-monthly-1a2b3c4d``, where the end stands for the notifications.

    CloudFormation cannot change a budget's notifications in place, nor replace a budget by one of
    the same name. Without a name it could, but its reference would change under the stack that
    imports it, which CloudFormation refuses as well.
    """
    version = hashlib.sha256(repr((NOTIFICATIONS, settings.alert_topic_arn)).encode()).hexdigest()
    return f"{settings.name}-monthly-{version[:8]}"


class BudgetAction(Construct):
    """Denies new SageMaker jobs to ``roles`` when the budget is spent."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        roles: Sequence[str],
    ) -> None:
        """``roles`` are names."""
        super().__init__(scope, construct_id)
        self.denial = iam.ManagedPolicy(
            self,
            "Denial",
            managed_policy_name=denial_name(settings),
            description="Attached by the budget when it is spent; see cdk/foundation/budget.py",
            statements=[wildcards.statement("BudgetIsSpent", settings)],
        )
        self.role = _role_of_the_action(self, settings, roles)
        self.resource = budgets.CfnBudgetsAction(
            self,
            "Action",
            action_type="APPLY_IAM_POLICY",
            action_threshold=budgets.CfnBudgetsAction.ActionThresholdProperty(
                type="PERCENTAGE", value=100
            ),
            approval_model="AUTOMATIC",
            budget_name=budget_name(settings),
            definition=budgets.CfnBudgetsAction.DefinitionProperty(
                iam_action_definition=budgets.CfnBudgetsAction.IamActionDefinitionProperty(
                    policy_arn=self.denial.managed_policy_arn, roles=list(roles)
                )
            ),
            execution_role_arn=self.role.role_arn,
            notification_type="ACTUAL",
            subscribers=[
                budgets.CfnBudgetsAction.SubscriberProperty(
                    type="SNS", address=settings.alert_topic_arn
                )
            ],
        )


def denial_name(settings: Settings) -> str:
    """The policy that the budget attaches."""
    return f"{settings.name}-budget-is-spent"


def denial_arn(settings: Settings) -> str:
    return f"arn:{settings.partition}:iam::{settings.account}:policy/{denial_name(settings)}"


def _role_of_the_action(scope: Construct, settings: Settings, roles: Sequence[str]) -> iam.Role:
    """May attach and detach this one policy, at these roles, and nothing else."""
    attach = iam.PolicyStatement(
        sid="AttachTheDenial",
        actions=["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
        resources=[
            f"arn:{settings.partition}:iam::{settings.account}:role/{name}" for name in roles
        ],
        conditions={"ArnEquals": {"iam:PolicyARN": denial_arn(settings)}},
    )
    source = f"arn:{settings.partition}:budgets::{settings.account}:*"
    return iam.Role(
        scope,
        "Role",
        role_name=f"{settings.name}-budget",
        description="Attaches the denial when the budget is spent",
        assumed_by=principals.service(
            "budgets",
            {
                "StringEquals": {"aws:SourceAccount": settings.account},
                "ArnLike": {"aws:SourceArn": source},
            },
        ),
        inline_policies={"brake": iam.PolicyDocument(statements=[attach])},
    )
