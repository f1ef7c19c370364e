"""The buckets: encrypted, closed, versioned, logged, and tidied by age."""

from __future__ import annotations

import pytest

from tests.cdk.policies import Call, effect_of, resolve
from tests.cdk.synthesized import Synthesized

PURPOSES = ["raw", "processed", "models", "deployments", "pipeline"]
ANYBODY = {"AWS": "arn:aws:iam::111111111111:role/slm-edge-dev-training"}
SSE = "s3:x-amz-server-side-encryption"
SSE_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
TLS = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.2"}


def bucket(stacks: Synthesized, purpose: str) -> dict:
    name = stacks.settings.buckets.get(purpose, stacks.settings.access_log_bucket)
    [found] = [
        one
        for one in stacks.resources("AWS::S3::Bucket").values()
        if one["Properties"]["BucketName"] == name
    ]
    return found


def effect(stacks: Synthesized, purpose: str, key: str = "datasets/x/a.jsonl", **context: str):
    name = stacks.settings.buckets[purpose]
    context = {**TLS, **{_KEYS.get(name, name): value for name, value in context.items()}}
    call = Call("s3:PutObject", f"arn:aws:s3:::{name}/{key}", context, ANYBODY)
    return effect_of(call, stacks.bucket_policy(name))


_KEYS = {"sse": SSE, "sse_key": SSE_KEY}


def test_there_are_five_data_buckets_and_one_for_their_access_logs(dev):
    names = {one["Properties"]["BucketName"] for one in dev.resources("AWS::S3::Bucket").values()}
    assert names == {*dev.settings.buckets.values(), dev.settings.access_log_bucket}
    assert len(names) == 6


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_data_bucket_is_encrypted_with_the_key_and_a_bucket_key(dev, purpose):
    [rule] = bucket(dev, purpose)["Properties"]["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    default = rule["ServerSideEncryptionByDefault"]
    assert default["SSEAlgorithm"] == "aws:kms"
    assert resolve(default["KMSMasterKeyID"], dev.names) == dev.key_arn
    assert rule["BucketKeyEnabled"] is True


def test_the_access_logs_are_encrypted_by_s3_itself_because_log_delivery_knows_no_other(dev):
    [rule] = bucket(dev, "logs")["Properties"]["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


@pytest.mark.parametrize("purpose", [*PURPOSES, "logs"])
def test_a_bucket_is_versioned(dev, purpose):
    configuration = bucket(dev, purpose)["Properties"]["VersioningConfiguration"]
    assert configuration == {"Status": "Enabled"}


@pytest.mark.parametrize("purpose", [*PURPOSES, "logs"])
def test_a_bucket_is_closed_to_the_public_and_knows_no_access_lists(dev, purpose):
    properties = bucket(dev, purpose)["Properties"]
    assert properties["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    [rule] = properties["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert "AccessControl" not in properties


@pytest.mark.parametrize("purpose", [*PURPOSES, "logs"])
@pytest.mark.parametrize(
    "connection",
    [
        {"aws:SecureTransport": "false"},
        {"aws:SecureTransport": "true", "s3:TlsVersion": "1.1"},
    ],
    ids=["without TLS", "TLS 1.1"],
)
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:ListBucket"])
def test_a_bucket_is_reached_over_tls_1_2_only(dev, purpose, connection, action):
    name = bucket(dev, purpose)["Properties"]["BucketName"]
    arn = f"arn:aws:s3:::{name}" + ("" if action == "s3:ListBucket" else "/a")
    encrypted = {SSE: "aws:kms", SSE_KEY: dev.key_arn}
    policy = dev.bucket_policy(name)
    assert effect_of(Call(action, arn, {**encrypted, **connection}, ANYBODY), policy) == "Deny"
    assert effect_of(Call(action, arn, {**encrypted, **TLS}, ANYBODY), policy) is None


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_upload_names_the_key_or_is_refused(dev, purpose):
    alias = dev.settings.kms_key_arn
    assert alias.endswith(":alias/slm-edge-dev")
    assert effect(dev, purpose, sse="aws:kms", sse_key=dev.key_arn) is None
    assert effect(dev, purpose, sse="aws:kms", sse_key=alias) is None
    other = dev.key_arn.replace("1234abcd", "deadbeef")
    assert effect(dev, purpose, sse="aws:kms", sse_key=other) == "Deny"
    assert effect(dev, purpose, sse="aws:kms") == "Deny"  # the account's default key
    assert effect(dev, purpose, sse="AES256") == "Deny"
    assert effect(dev, purpose) == "Deny"


def test_a_checkpoint_may_come_without_a_header_but_not_with_another_key(dev):
    checkpoint = "executions/e1/TrainModel/checkpoints/step-10/model.pt"
    assert effect(dev, "pipeline", checkpoint) is None
    assert effect(dev, "pipeline", checkpoint, sse="aws:kms", sse_key=dev.key_arn) is None
    other = dev.key_arn.replace("1234abcd", "deadbeef")
    assert effect(dev, "pipeline", checkpoint, sse="aws:kms", sse_key=other) == "Deny"
    assert effect(dev, "pipeline", checkpoint, sse="aws:kms") == "Deny"
    assert effect(dev, "pipeline", checkpoint, sse="AES256") == "Deny"


def test_a_window_of_telemetry_may_come_without_a_header_but_not_with_another_key(dev):
    """The rule's action for S3 takes no key, and gets the bucket's default, which is ours."""
    window = "telemetry/kitchen-1/2026/11/23/a1b2.json"
    assert effect(dev, "processed", window) is None
    other = dev.key_arn.replace("1234abcd", "deadbeef")
    assert effect(dev, "processed", window, sse="aws:kms", sse_key=other) == "Deny"
    assert effect(dev, "processed", window, sse="AES256") == "Deny"


def test_only_checkpoints_and_telemetry_may_come_without_a_header(dev):
    assert effect(dev, "processed", "datasets/a") == "Deny"
    assert effect(dev, "models", "telemetry/a") == "Deny"
    assert effect(dev, "pipeline", "executions/e1/TrainModel/output/model.tar.gz") == "Deny"
    assert effect(dev, "models", "executions/e1/TrainModel/checkpoints/a") == "Deny"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_access_to_a_data_bucket_is_logged_under_its_name(dev, purpose):
    logging = resolve(bucket(dev, purpose)["Properties"]["LoggingConfiguration"], dev.names)
    assert logging == {
        "DestinationBucketName": dev.settings.access_log_bucket,
        "LogFilePrefix": f"{purpose}/",
    }


def test_log_delivery_may_write_for_our_buckets_and_this_account_only(dev):
    name = dev.settings.access_log_bucket
    service = {"Service": "logging.s3.amazonaws.com"}
    source = {**TLS, "aws:SourceAccount": "111111111111"}

    def delivery(**context: str):
        given = {**source, **{key.replace("_", ":", 1): one for key, one in context.items()}}
        call = Call("s3:PutObject", f"arn:aws:s3:::{name}/raw/x", given, service)
        return effect_of(call, dev.bucket_policy(name))

    ours = f"arn:aws:s3:::{dev.settings.raw_bucket}"
    assert delivery(aws_SourceArn=ours) == "Allow"
    assert delivery(aws_SourceArn="arn:aws:s3:::elsewhere") is None
    assert delivery(aws_SourceArn=ours, aws_SourceAccount="222222222222") is None


def rule_of(stacks: Synthesized, purpose: str) -> dict:
    rules = bucket(stacks, purpose)["Properties"]["LifecycleConfiguration"]["Rules"]
    [rule] = [one for one in rules if one["Id"] == "age"]
    assert rule["Status"] == "Enabled"
    assert "Prefix" not in rule, "a rule for the whole bucket"
    return rule


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_current_moves_to_cheaper_classes(dev, purpose):
    moves = rule_of(dev, purpose)["Transitions"]
    assert moves[0]["StorageClass"] == "STANDARD_IA"
    ages = [move["TransitionInDays"] for move in moves]
    assert ages == sorted(ages)
    assert ages[0] >= 30, "S3 takes nothing younger into infrequent access"


@pytest.mark.parametrize("purpose", [*PURPOSES, "logs"])
def test_noncurrent_versions_expire_and_broken_uploads_are_aborted(dev, purpose):
    rule = rule_of(dev, purpose)
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] >= 1
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7


@pytest.mark.parametrize("purpose", ["raw", "models", "deployments", "pipeline"])
def test_what_cannot_be_made_again_or_is_deployed_never_expires(dev, purpose):
    rule = rule_of(dev, purpose)
    assert "ExpirationInDays" not in rule
    assert "ExpirationDate" not in rule


@pytest.mark.parametrize("purpose", ["processed", "logs"])
def test_what_can_be_made_again_and_old_logs_expire(dev, purpose):
    assert rule_of(dev, purpose)["ExpirationInDays"] == 365


def test_the_devices_windows_expire_as_the_setting_says_and_nothing_else_does_by_prefix(
    synthesized,
):
    stacks = synthesized("dev", edge={"telemetry_days": 30})
    for purpose in PURPOSES:
        rules = bucket(stacks, purpose)["Properties"]["LifecycleConfiguration"]["Rules"]
        by_prefix = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
        assert by_prefix == ({"telemetry/": 30} if purpose == "processed" else {})


def test_a_deployed_package_stays_at_hand(dev):
    """A device may download it at any time: no class from which it would have to be restored."""
    for purpose in PURPOSES:
        classes = {move["StorageClass"] for move in rule_of(dev, purpose)["Transitions"]}
        assert classes <= {"STANDARD_IA", "GLACIER_IR"}


def test_the_raw_bucket_alone_tells_event_bridge_what_lands_in_it(dev):
    for purpose in PURPOSES:
        told = bucket(dev, purpose)["Properties"].get("NotificationConfiguration")
        expected = {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
        assert told == (expected if purpose == "raw" else None)


def test_nothing_in_the_foundation_runs_code_of_ours(dev):
    """No custom resource: neither for notifications nor for emptying buckets."""
    kinds = {one["Type"] for one in dev.templates["foundation"]["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith(("Custom::", "AWS::Lambda", "AWS::IAM"))}
    assert "AWS::CloudFormation::CustomResource" not in kinds


def test_prod_keeps_its_data_when_the_stack_goes_and_dev_does_not(dev, prod):
    for stacks, policy in ((dev, "Delete"), (prod, "Retain")):
        for kind in ("AWS::S3::Bucket", "AWS::KMS::Key"):
            for resource in stacks.resources(kind).values():
                assert resource["DeletionPolicy"] == policy
                assert resource["UpdateReplacePolicy"] == policy


def test_dev_can_keep_its_data_too_when_a_setting_says_so(synthesized):
    kept = synthesized("dev", retain_data=True)
    policies = {one["DeletionPolicy"] for one in kept.resources("AWS::S3::Bucket").values()}
    assert policies == {"Retain"}
