"""What devices count, on its way into S3 and CloudWatch: one topic rule.

    slm/<thing>/telemetry -> rule -> s3://<processed>/telemetry/<thing>/2026/11/23/<id>.json
                                  -> CloudWatch metrics
                                  -> what failed: a queue, and an alarm that something waits

A device sends a window until somebody has it, so it may arrive twice; its id is the object's name,
and the second arrival replaces the first by the same. The metrics count it twice then, which is
rare: the figures of record are the files.

Leaves out: what a window holds (edge/telemetry), and reading the files.
"""

from __future__ import annotations

from aws_cdk import CfnTag, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk.edge.devices import OWN_TOPICS
from cdk.monitoring.alerts import dead_letters_alarm
from cdk.roles import principals, wildcards
from cdk.roles.names import Names
from cdk.roles.statements import allow, use_key
from pipeline.settings import Settings

SQL_VERSION = "2016-03-23"
ERRORS = (
    "bad_request",
    "too_large",
    "slow_request",
    "overload",
    "deadline",
    "internal",
    "other",
)
"""The kinds that a window counts; IoT's SQL cannot add up an object whose keys it is not told."""
_ERRORS = " + ".join(f"get_or_default(errors.{kind}, 0)" for kind in ERRORS)
METRICS = (
    ("Utterances", "${utterances}"),
    ("OutOfScope", "${get_or_default(counts.out_of_scope, 0)}"),
    ("Errors", f"${{{_ERRORS}}}"),
)
"""Name, and value as the rule's templates compute it from a window.

Counts, because a share cannot be added up: the share of out-of-scope utterances over any time and
any devices is ``OutOfScope / Utterances``, by metric math. A window of fewer utterances than its
device may tell of adds none to ``OutOfScope``.
"""


def sql() -> str:
    """What the rule selects: windows that have a name fit for a file."""
    selected = f"SELECT *, topic(2) AS sender FROM '{OWN_TOPICS}/+/telemetry'"  # noqa: S608 - IoT's
    return f"{selected} WHERE regexp_matches(id, '^[0-9A-Za-z-]{{8,64}}$')"


def object_key(settings: Settings) -> str:
    """The template of a window's key."""
    day = '${parse_time("yyyy/MM/dd", timestamp(), "UTC")}'
    return f"{settings.telemetry_prefix}/${{topic(2)}}/{day}/${{id}}.json"


def dead_letters_name(settings: Settings) -> str:
    """The queue of what the rule could not store."""
    return f"{settings.name}-telemetry-dead-letters"


class Telemetry(Construct):
    """The rule, its role and its queue of dead letters."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: Names,
        key: kms.IKey,
        alerts: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        settings = names.settings
        queue = self._dead_letters(settings, key, alerts)
        role = self._role(names).role_arn
        stored = iot.CfnTopicRule.ActionProperty(
            s3=iot.CfnTopicRule.S3ActionProperty(
                bucket_name=settings.processed_bucket,
                key=object_key(settings),
                role_arn=role,
            )
        )
        measured = [
            iot.CfnTopicRule.ActionProperty(
                cloudwatch_metric=iot.CfnTopicRule.CloudwatchMetricActionProperty(
                    metric_name=name,
                    metric_namespace=settings.metric_namespace,
                    metric_unit="Count",
                    metric_value=value,
                    role_arn=role,
                )
            )
            for name, value in METRICS
        ]
        failed = iot.CfnTopicRule.ActionProperty(
            sqs=iot.CfnTopicRule.SqsActionProperty(
                queue_url=queue.queue_url, role_arn=role, use_base64=False
            )
        )
        iot.CfnTopicRule(
            self,
            "Rule",
            rule_name=settings.telemetry_rule,
            topic_rule_payload=iot.CfnTopicRule.TopicRulePayloadProperty(
                sql=sql(),
                aws_iot_sql_version=SQL_VERSION,
                description="What devices count, to S3 and CloudWatch",
                actions=[stored, *measured],
                error_action=failed,
                rule_disabled=False,
            ),
            tags=[CfnTag(key=key, value=value) for key, value in settings.all_tags.items()],
        )

    def _dead_letters(self, settings: Settings, key: kms.IKey, alerts: sns.ITopic) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=dead_letters_name(settings),
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        dead_letters_alarm(
            self, settings=settings, alerts=alerts, section="telemetry-dead-letters", queue=queue
        )
        return queue

    def _role(self, names: Names) -> iam.Role:
        """May do what the rule's actions do, and nothing else."""
        settings = names.settings
        windows = f"{names.bucket('processed')}/{settings.telemetry_prefix}/*"
        rule = names.arn("iot", f"rule/{settings.telemetry_rule}")
        return iam.Role(
            self,
            "Role",
            role_name=f"{settings.name}-telemetry",
            description="Stores and counts what devices send",
            assumed_by=principals.service(
                "iot",
                {
                    "StringEquals": {"aws:SourceAccount": settings.account},
                    "ArnLike": {"aws:SourceArn": rule},
                },
            ),
            inline_policies={
                "telemetry": iam.PolicyDocument(
                    statements=[
                        allow("StoreWindows", ["s3:PutObject"], [windows]),
                        wildcards.statement("PublishMetrics", settings),
                        allow(
                            "KeepWhatFailed",
                            ["sqs:SendMessage"],
                            [names.arn("sqs", dead_letters_name(settings))],
                        ),
                        use_key(
                            names, ["kms:Decrypt", "kms:GenerateDataKey"], through=["s3", "sqs"]
                        ),
                    ]
                )
            },
        )
