"""The monitoring stack: dashboard, alarms, what happens by the clock, and who hears of failures.

Everything in it can be made again from this repository. Leaves out: the alert topic
(cdk/foundation), the drift check itself and the schedules' group (cdk/training), and the alarms on
dead letters, which stand beside their queues (cdk/training, cdk/edge).
"""

from __future__ import annotations

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk.foundation.stack import FoundationStack
from cdk.monitoring.alarms import Alarms
from cdk.monitoring.dashboard import Dashboard
from cdk.monitoring.failures import FailureAlerts
from cdk.monitoring.schedules import DriftSchedule, LogRetention
from cdk.monitoring.watch import Watch
from cdk.roles.names import Names
from cdk.roles.stack import RolesStack
from pipeline.settings import Settings


class MonitoringStack(Stack):
    """What tells people how things stand."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        foundation: FoundationStack,
        roles: RolesStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: dashboard, alarms, drift schedule, retention of logs",
            termination_protection=settings.environment == "prod",
        )
        self.add_stack_dependency(roles)  # by name only, so CDK cannot see it
        names = Names(settings, foundation.key.key_arn)
        alerts = sns.Topic.from_topic_arn(self, "Alerts", settings.alert_topic_arn)
        FailureAlerts(self, "FailureAlerts", settings=settings, alerts=alerts)
        Watch(self, "Watch", names=names, key=foundation.key)
        Alarms(self, "Alarms", settings=settings, alerts=alerts)
        if settings.monitoring.drift_schedule:
            DriftSchedule(self, "Drift", names=names)
        if settings.monitoring.log_days:
            LogRetention(self, "LogRetention", names=names)
        Dashboard(self, "Dashboard", settings=settings)
        boundary = iam.ManagedPolicy.from_managed_policy_arn(
            self, "Boundary", settings.boundary_arn
        )
        iam.PermissionsBoundary.of(self).apply(boundary)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)
