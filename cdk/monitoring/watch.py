"""The function that looks every hour for executions that run too long, and its role.

Leaves out: what it does (cdk/functions/watch/index.py), and the alarm (alarms.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk.roles import principals, wildcards
from cdk.roles.names import Names
from cdk.roles.statements import allow

CODE = Path(__file__).resolve().parent.parent / "functions" / "watch"


class Watch(Construct):
    """The function, its role, its log group and the rule that calls it."""

    def __init__(self, scope: Construct, construct_id: str, *, names: Names, key: kms.IKey) -> None:
        super().__init__(scope, construct_id)
        settings = names.settings
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/lambda/{settings.watch_function}",
            encryption_key=key,
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = self._role(names, log_group)
        by_name = iam.Role.from_role_arn(
            self,
            "ByName",
            f"arn:{settings.partition}:iam::{settings.account}:role/{settings.watch_role}",
            mutable=False,
        )
        function = lambda_.Function(
            self,
            "Function",
            function_name=settings.watch_function,
            description="Counts the executions that have been running for too long",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=lambda_.Code.from_asset(str(CODE), exclude=["**/__pycache__", "*.pyc"]),
            role=by_name,
            log_group=log_group,
            memory_size=128,
            timeout=Duration.seconds(60),
            retry_attempts=1,  # it is called again in an hour
            environment_encryption=key,
            environment={
                "PIPELINES": f"{settings.pipeline_name} {settings.drift_pipeline_name}",
                "STUCK_HOURS": str(settings.monitoring.stuck_hours),
                "NAMESPACE": settings.metric_namespace,
            },
        )
        function.node.add_dependency(role)
        target = targets.LambdaFunction(
            cast("lambda_.IFunction", function), retry_attempts=1, max_event_age=Duration.hours(1)
        )
        events.Rule(
            self,
            "Hourly",
            rule_name=settings.watch_function,
            description="Calls the function that looks for executions which run too long",
            schedule=events.Schedule.rate(Duration.hours(1)),
            targets=[cast("events.IRuleTarget", target)],
        )

    def _role(self, names: Names, log_group: logs.LogGroup) -> iam.Role:
        """May list the executions of the two pipelines, and count."""
        settings = names.settings
        return iam.Role(
            self,
            "Role",
            role_name=settings.watch_role,
            description="Lists executions and counts those that run too long",
            assumed_by=principals.service("lambda"),
            inline_policies={
                "watch": iam.PolicyDocument(
                    statements=[
                        allow(
                            "ListExecutions",
                            ["sagemaker:ListPipelineExecutions"],
                            [settings.pipeline_arn, settings.drift_pipeline_arn],
                        ),
                        wildcards.statement("PublishMetrics", settings),
                        allow("UseOwnKey", ["kms:Decrypt"], [names.key_arn]),
                        allow(
                            "WriteLog",
                            ["logs:CreateLogStream", "logs:PutLogEvents"],
                            [log_group.log_group_arn],
                        ),
                    ]
                )
            },
        )
