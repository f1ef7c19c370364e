"""The foundation stack: the two keys, the buckets, the alert topic and the monthly budget.

It is deployed first and removed last; the other stacks keep nothing that cannot be made again.
Leaves out: roles (cdk/roles), to which the budget's action belongs as well.
"""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import Environment, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from cdk.foundation.buckets import Buckets
from cdk.foundation.budget import Budget
from cdk.foundation.key import PUBLISHERS, EncryptionKey, source_conditions
from cdk.foundation.signing import SigningKey
from cdk.roles import principals
from pipeline.settings import Settings


class FoundationStack(Stack):
    """What outlives a deployment."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, env: Environment
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"{settings.name}: keys, buckets, alert topic and budget",
            termination_protection=settings.environment == "prod",
        )
        self.key: kms.IKey = EncryptionKey(self, "Encryption", settings=settings).key
        self.signing_key: kms.IKey = SigningKey(self, "Signing", settings=settings).key
        buckets = Buckets(self, "Buckets", settings=settings, key=self.key)
        self.buckets: dict[str, s3.Bucket] = buckets.by_purpose
        self.access_logs: s3.Bucket = buckets.access_logs
        self.alerts: sns.ITopic = _alert_topic(self, settings, self.key)
        self.budget = Budget(self, "Budget", settings=settings, alerts=self.alerts)
        for name, value in settings.all_tags.items():
            Tags.of(self).add(name, value)


def _alert_topic(scope: Construct, settings: Settings, key: kms.IKey) -> sns.ITopic:
    """The encrypted topic that people are told through; each confirms one mail first."""
    topic = sns.Topic(
        scope,
        "Alerts",
        topic_name=settings.alert_topic_name,
        display_name=settings.alert_topic_name,
        master_key=key,
        enforce_ssl=True,
    )
    for recipient in settings.budget.recipients:
        mail: Any = subscriptions.EmailSubscription(recipient)  # Any: see cdk/roles/principals.py
        topic.add_subscription(mail)
    for name in PUBLISHERS:
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid=f"{name.capitalize()}Publishes",
                principals=[principals.service(name)],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions=source_conditions(settings, name),
            )
        )
    return cast("sns.ITopic", topic)
