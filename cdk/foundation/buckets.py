"""The five buckets that hold data, and the one that holds their access logs.

Each is versioned, encrypted with the one key (with a bucket key, which divides the calls to KMS by
thousands), closed to the public, reached over TLS 1.2 only, and refuses an upload that names
another key or none.

Why dev is removed without a custom resource: ``auto_delete_objects`` would add a function whose
role may delete every version in every bucket, in the stack that the permissions boundary of that
role comes after. Dev is emptied by ``python -m cdk.foundation.emptying`` instead, by a person who
may delete, and prod by nobody.

Leaves out: who may read and write what (cdk/roles), and what a notification starts (cdk/training).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk.roles import principals
from pipeline.settings import Settings

CHECKPOINTS = "executions/*/checkpoints/*"
"""Where training keeps checkpoints; SageMaker's API takes no key for them."""
ABORT_UPLOADS_AFTER_DAYS = 7

SSE = "s3:x-amz-server-side-encryption"
SSE_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"

_Classes = tuple[tuple[s3.StorageClass, int], ...]
_RARELY_READ: _Classes = (
    (s3.StorageClass.INFREQUENT_ACCESS, 30),
    (s3.StorageClass.GLACIER_INSTANT_RETRIEVAL, 120),
)
_STILL_READ: _Classes = ((s3.StorageClass.INFREQUENT_ACCESS, 90),)


@dataclass(frozen=True)
class Lifecycle:
    """What becomes of an object as it ages; every number is an age in days."""

    noncurrent_expires: int
    """Of a version that was replaced or deleted."""
    classes: _Classes = ()
    """Cheaper storage, none of which has to be restored from before it is read."""
    expires: int | None = None
    """Of a current version; None: never."""


LIFECYCLES: Mapping[str, Lifecycle] = {
    # labels are dear and never expire; a noncurrent version is what a bad import replaced
    "raw": Lifecycle(180, _RARELY_READ),
    # can be made again from raw
    "processed": Lifecycle(30, _RARELY_READ, expires=365),
    # what the registry and devices point to: no current version ever expires
    "models": Lifecycle(365, _STILL_READ),
    "deployments": Lifecycle(365, _STILL_READ),
    # registered models lie here too, between files that could go: the execution's id comes first
    # in a key, and a lifecycle filter knows prefixes only, so nothing current expires
    "pipeline": Lifecycle(30, _RARELY_READ),
}
"""By purpose."""
ACCESS_LOGS = Lifecycle(1, expires=365)


class Buckets(Construct):
    """The five data buckets (``by_purpose``) and their access-log bucket (``access_logs``)."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, key: kms.IKey
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._removal = RemovalPolicy.RETAIN if settings.retain_data else RemovalPolicy.DESTROY
        self.access_logs = self._log_bucket()
        self.by_purpose = {
            purpose: self._data_bucket(purpose, name, key)
            for purpose, name in settings.buckets.items()
        }
        _notify_event_bridge(self.by_purpose["raw"])

    def _log_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "AccessLogs",
            bucket_name=self._settings.access_log_bucket,
            encryption=s3.BucketEncryption.S3_MANAGED,  # log delivery takes no other
            lifecycle_rules=[_rule(ACCESS_LOGS)],
            **_shared(self._removal),
        )
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LogDelivery",
                principals=[principals.service("logging.s3")],
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects("*")],
                conditions={
                    "ArnLike": {
                        "aws:SourceArn": [
                            f"arn:{self._settings.partition}:s3:::{name}"
                            for name in self._settings.buckets.values()
                        ]
                    },
                    "StringEquals": {"aws:SourceAccount": self._settings.account},
                },
            )
        )
        return bucket

    def _data_bucket(self, purpose: str, name: str, key: kms.IKey) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            purpose.capitalize(),
            bucket_name=name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            lifecycle_rules=[_rule(LIFECYCLES[purpose]), *self._telemetry(purpose)],
            **_shared(self._removal),
        )
        _l1(bucket).logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
            destination_bucket_name=self.access_logs.bucket_name, log_file_prefix=f"{purpose}/"
        )
        # the key's alias too: SageMaker passes a job's key on as the definition spells it
        keys = [key.key_arn, self._alias_arn()]
        without_header = _without_header(self._settings).get(purpose, [])
        for statement in _refusals(bucket, keys, without_header):
            bucket.add_to_resource_policy(statement)
        return bucket

    def _telemetry(self, purpose: str) -> list[s3.LifecycleRule]:
        """Devices' windows go sooner than what lies beside them."""
        if purpose != "processed":
            return []
        return [
            s3.LifecycleRule(
                id="telemetry",
                enabled=True,
                prefix=f"{self._settings.telemetry_prefix}/",
                expiration=Duration.days(self._settings.edge.telemetry_days),
            )
        ]

    def _alias_arn(self) -> str:
        settings = self._settings
        return (
            f"arn:{settings.partition}:kms:{settings.region}:{settings.account}:"
            f"{settings.kms_alias}"
        )


def _without_header(settings: Settings) -> dict[str, list[str]]:
    """By purpose: keys that may arrive without a header, as neither service's API takes a key.

    They get the bucket's default encryption, which is the same key. Only the refusal of a missing
    header leaves them out: a header that names another key is refused there too.
    """
    return {"pipeline": [CHECKPOINTS], "processed": [f"{settings.telemetry_prefix}/*"]}


def _shared(removal: RemovalPolicy) -> dict[str, Any]:
    return {
        "versioned": True,
        "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
        "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        "enforce_ssl": True,
        "minimum_tls_version": 1.2,
        "removal_policy": removal,
    }


def _rule(lifecycle: Lifecycle) -> s3.LifecycleRule:
    expires = lifecycle.expires
    transitions = [
        s3.Transition(storage_class=storage_class, transition_after=Duration.days(days))
        for storage_class, days in lifecycle.classes
    ]
    return s3.LifecycleRule(
        id="age",
        enabled=True,
        transitions=transitions or None,
        expiration=None if expires is None else Duration.days(expires),
        noncurrent_version_expiration=Duration.days(lifecycle.noncurrent_expires),
        abort_incomplete_multipart_upload_after=Duration.days(ABORT_UPLOADS_AFTER_DAYS),
    )


def _refusals(
    bucket: s3.Bucket, keys: list[str], without_header: list[str]
) -> list[iam.PolicyStatement]:
    """Refuse an upload with another key, or with none unless it is below ``without_header``.

    A negated operator holds as well where the header is missing, which makes "any other" and
    "none" one statement.
    """
    another = {"StringNotEquals": {SSE_KEY: keys}}
    if not without_header:
        everything = [bucket.arn_for_objects("*")]
        return [_refusal("RefuseAnotherKeyOrNone", another, {"resources": everything})]
    exempt = [bucket.arn_for_objects(path) for path in without_header]
    present = {"Null": {SSE_KEY: "false"}}
    s3_chooses = {"Null": {SSE: "false", SSE_KEY: "true"}}  # its own key or the account's default
    return [
        _refusal("RefuseAnotherKeyOrNone", another, {"not_resources": exempt}),
        _refusal("RefuseAnotherKey", {**another, **present}, {"resources": exempt}),
        _refusal("RefuseAHeaderWithoutTheKey", s3_chooses, {"resources": exempt}),
    ]


def _refusal(sid: str, conditions: dict[str, Any], where: dict[str, Any]) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        effect=iam.Effect.DENY,
        principals=[principals.anybody()],
        actions=["s3:PutObject"],
        conditions=conditions,
        **where,
    )


def _notify_event_bridge(bucket: s3.Bucket) -> None:
    """Send the bucket's events to EventBridge.

    With the template's own property: the option ``event_bridge_enabled`` would add a function
    that calls S3 to say the same.
    """
    _l1(bucket).notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )


def _l1(bucket: s3.Bucket) -> s3.CfnBucket:
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)  # noqa: S101 - narrows the type
    return resource
