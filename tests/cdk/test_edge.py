"""The edge stack: a device reaches what is its own, and telemetry goes where it may be kept."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cdk.edge.devices import DATA_PLANE, DEVICE
from cdk.edge.telemetry import ERRORS, METRICS
from cdk.foundation.buckets import SSE
from edge.telemetry import ERRORS as COUNTED
from tests.cdk.policies import Call, effect_of, is_allowed, listed, resolve, statements_in
from tests.cdk.synthesized import Synthesized

ACCOUNT = "111111111111"
IOT = f"arn:aws:iot:eu-west-1:{ACCOUNT}"


def device_may(stacks: Synthesized, action: str, resource: str, thing: str = "kitchen-1") -> bool:
    """Whether the device with this name in its certificate may do it."""
    policy = json.dumps(stacks.only("AWS::IoT::Policy")["PolicyDocument"]).replace(DEVICE, thing)
    return is_allowed(Call(action, resource), json.loads(policy)["Statement"])


def rule(stacks: Synthesized) -> dict[str, Any]:
    return resolve(stacks.only("AWS::IoT::TopicRule")["TopicRulePayload"], stacks.names)


# Devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["kitchen-1", "kitchen-1#2"])
def test_a_device_connects_as_itself(dev, client):
    assert device_may(dev, "iot:Connect", f"{IOT}:client/{client}")


@pytest.mark.parametrize("client", ["kitchen-10", "kitchen", "cellar-1", "*", "kitchen-1x#2"])
def test_a_device_does_not_connect_as_another(dev, client):
    assert not device_may(dev, "iot:Connect", f"{IOT}:client/{client}")


@pytest.mark.parametrize("action", ["iot:Publish", "iot:Receive"])
def test_a_device_has_its_own_topics_only(dev, action):
    for own in ("telemetry", "requests", "responses"):
        assert device_may(dev, action, f"{IOT}:topic/slm/kitchen-1/{own}")
    for other in ("slm/kitchen-10/telemetry", "slm/cellar/telemetry", "slm/telemetry", "alarms"):
        assert not device_may(dev, action, f"{IOT}:topic/{other}")


def test_a_device_subscribes_to_its_own_topics_and_to_no_wildcard_above_them(dev):
    assert device_may(dev, "iot:Subscribe", f"{IOT}:topicfilter/slm/kitchen-1/requests")
    assert device_may(dev, "iot:Subscribe", f"{IOT}:topicfilter/slm/kitchen-1/#")
    for other in ("slm/+/requests", "slm/#", "#", "slm/kitchen-2/#", "$aws/things/+/jobs/notify"):
        assert not device_may(dev, "iot:Subscribe", f"{IOT}:topicfilter/{other}")


@pytest.mark.parametrize(
    ("action", "path"),
    [
        ("Publish", "topic/{}/jobs/start-next"),
        ("Receive", "topic/{}/jobs/notify-next"),
        ("Subscribe", "topicfilter/{}/jobs/notify-next"),
        ("Publish", "topic/{}/shadow/name/AWSManagedGreengrassV2Deployment/get"),
        ("Subscribe", "topicfilter/{}/shadow/name/AWSManagedGreengrassV2Deployment/update/delta"),
        ("Publish", "topic/{}/greengrassv2/health/json"),
        ("Publish", "topic/{}/greengrass/health/json"),
    ],
)
def test_a_nucleus_is_told_of_its_own_deployments_and_tells_how_they_went(dev, action, path):
    def may(thing: str) -> bool:
        return device_may(dev, f"iot:{action}", f"{IOT}:{path.format(f'$aws/things/{thing}')}")

    assert may("kitchen-1")
    assert not may("kitchen-10")
    assert not may("cellar")


def test_the_data_plane_of_greengrass_is_all_that_is_allowed_on_every_resource(dev):
    statements = dev.only("AWS::IoT::Policy")["PolicyDocument"]["Statement"]
    starred = [one for one in statements if "*" in listed(one["Resource"])]
    assert [set(one["Action"]) for one in starred] == [set(DATA_PLANE)]
    for action in DATA_PLANE:
        assert device_may(dev, action, "anything")
    for action in ("greengrass:CreateDeployment", "iot:CreateThing", "iot:DeleteThingShadow"):
        assert not device_may(dev, action, "anything")


def test_the_policy_fits_and_knows_no_variable_but_the_certificates(dev):
    text = json.dumps(dev.only("AWS::IoT::Policy")["PolicyDocument"], separators=(",", ":"))
    assert len(text) <= 2048, "says IoT, without white space"
    assert set(re.findall(r"\$\{[^}]*\}", text)) == {DEVICE}


def test_a_device_gets_credentials_for_the_one_role_through_the_one_alias(dev):
    settings = dev.settings
    alias = dev.only("AWS::IoT::RoleAlias")
    assert alias["RoleAlias"] == settings.role_alias
    assert resolve(alias["RoleArn"], dev.names) == settings.token_exchange_role_arn
    assume = "iot:AssumeRoleWithCertificate"
    assert device_may(dev, assume, f"{IOT}:rolealias/{settings.role_alias}")
    assert not device_may(dev, assume, f"{IOT}:rolealias/admin")


def device_role_may(stacks: Synthesized, action: str, resource: str, **context: str) -> bool:
    given = {key.replace("__", ":"): value for key, value in context.items()}
    statements = stacks.statements_of(stacks.settings.token_exchange_role)
    allowed = is_allowed(Call(action, resource, given), statements)
    bounded = is_allowed(Call(action, resource, given), statements, boundary=stacks.boundary)
    assert allowed is bounded, (action, resource)
    return allowed


def test_a_devices_credentials_read_components_and_nothing_else(dev):
    deployments = f"arn:aws:s3:::{dev.settings.deployments_bucket}"
    assert device_role_may(dev, "s3:GetObject", f"{deployments}/components/a/1.0.1/a.zip")
    assert device_role_may(dev, "s3:GetBucketLocation", deployments)
    for key in ("pushed/e1/a.zip", "componentsx/a", "a"):
        assert not device_role_may(dev, "s3:GetObject", f"{deployments}/{key}")
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:GetObjectVersion"):
        assert not device_role_may(dev, action, f"{deployments}/components/a/1.0.1/a.zip")
    assert not device_role_may(dev, "s3:ListBucket", deployments)
    for name in {*dev.settings.buckets.values()} - {dev.settings.deployments_bucket}:
        assert not device_role_may(dev, "s3:GetObject", f"arn:aws:s3:::{name}/components/a")


def test_a_devices_credentials_decrypt_through_s3_and_encrypt_and_sign_nothing(dev):
    through = {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}
    assert device_role_may(dev, "kms:Decrypt", dev.key_arn, **through)
    assert not device_role_may(dev, "kms:Decrypt", dev.key_arn)
    for action in ("kms:GenerateDataKey", "kms:Encrypt"):
        assert not device_role_may(dev, action, dev.key_arn, **through)
    for action in ("kms:Sign", "kms:GetPublicKey", "kms:Decrypt"):
        assert not device_role_may(dev, action, dev.signing_key_arn, **through)


@pytest.mark.parametrize(
    ("role", "service", "source"),
    [
        ("slm-edge-dev-device", "credentials.iot", f"{IOT}:rolealias/slm-edge-dev-device"),
        ("slm-edge-dev-telemetry", "iot", f"{IOT}:rule/slm_edge_dev_telemetry"),
    ],
)
def test_a_role_is_assumed_for_something_in_this_account_only(dev, role, service, source):
    trust = statements_in(dev.role(role)["AssumeRolePolicyDocument"], dev.names)

    def assumed(principal: str, account: str, source: str) -> str | None:
        context = {"aws:SourceAccount": account, "aws:SourceArn": source}
        caller = {"Service": f"{principal}.amazonaws.com"}
        return effect_of(Call("sts:AssumeRole", "*", context, caller), trust)

    assert assumed(service, ACCOUNT, source) == "Allow"
    assert assumed(service, "222222222222", source) is None
    assert assumed(service, ACCOUNT, source.replace(ACCOUNT, "222222222222")) is None
    assert assumed("lambda", ACCOUNT, source) is None


def test_the_groups_are_beside_each_other_so_that_no_device_is_asked_for_two_versions(dev):
    groups = [one["Properties"] for one in dev.resources("AWS::IoT::ThingGroup").values()]
    names = {one["ThingGroupName"] for one in groups}
    assert names == {dev.settings.thing_group, dev.settings.canary_group}
    assert not any("ParentGroupName" in one for one in groups)
    assert dev.only("AWS::IoT::ThingType")["ThingTypeName"] == dev.settings.thing_type


# Telemetry --------------------------------------------------------------------------------


def test_windows_are_selected_from_the_devices_topics_if_they_have_a_name_for_a_file(dev):
    sql = rule(dev)["Sql"]
    assert "FROM 'slm/+/telemetry'" in sql
    pattern = re.search(r"regexp_matches\(id, '(.*)'\)", sql)
    assert pattern
    assert re.match(pattern[1], "0e7cb6f4-6f2e-4c8e-9d59-5b7f43e6a1cc")
    for name in ("../x", "a/b", "", "x" * 65, "${topic()}"):
        assert not re.match(pattern[1], name)


def test_a_window_becomes_a_file_of_its_device_and_day(dev):
    [stored] = [one["S3"] for one in rule(dev)["Actions"] if "S3" in one]
    assert stored["BucketName"] == dev.settings.processed_bucket
    assert stored["Key"] == (
        'telemetry/${topic(2)}/${parse_time("yyyy/MM/dd", timestamp(), "UTC")}/${id}.json'
    )
    assert stored["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/slm-edge-dev-telemetry"


def test_utterances_out_of_scope_and_errors_are_counted_in_the_projects_namespace(dev):
    metrics = [one["CloudwatchMetric"] for one in rule(dev)["Actions"] if "CloudwatchMetric" in one]
    assert [one["MetricName"] for one in metrics] == ["Utterances", "OutOfScope", "Errors"]
    assert {one["MetricNamespace"] for one in metrics} == {"slm-edge/dev"}
    assert dict(METRICS)["Utterances"] == "${utterances}"


def test_the_errors_that_are_added_up_are_those_that_devices_count():
    assert set(ERRORS) == set(COUNTED)


def rule_may(stacks: Synthesized, action: str, resource: str, **context: str) -> bool:
    given = {key.replace("__", ":"): value for key, value in context.items()}
    call = Call(action, resource, given)
    statements = stacks.statements_of("slm-edge-dev-telemetry")
    allowed = is_allowed(call, statements)
    assert allowed is is_allowed(call, statements, boundary=stacks.boundary), call
    return allowed


def test_the_rule_stores_windows_and_no_other_object(dev):
    bucket = f"arn:aws:s3:::{dev.settings.processed_bucket}"
    window = f"{bucket}/telemetry/kitchen-1/2026/11/23/a.json"
    assert rule_may(dev, "s3:PutObject", window)
    assert not rule_may(dev, "s3:PutObject", f"{bucket}/elsewhere/a.json")
    assert not rule_may(dev, "s3:GetObject", window)
    raw = f"arn:aws:s3:::{dev.settings.raw_bucket}"
    assert not rule_may(dev, "s3:PutObject", f"{raw}/telemetry/a.json")


def test_the_bucket_takes_a_window_as_the_rule_puts_it_without_naming_a_key(dev):
    name = dev.settings.processed_bucket
    who = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/slm-edge-dev-telemetry"}
    tls = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.2"}
    arn = f"arn:aws:s3:::{name}/telemetry/kitchen-1/2026/11/23/a.json"
    policy = dev.bucket_policy(name)
    assert effect_of(Call("s3:PutObject", arn, tls, who), policy) is None
    assert effect_of(Call("s3:PutObject", arn, {**tls, SSE: "AES256"}, who), policy) == "Deny"


def test_the_rule_counts_in_the_projects_namespace_and_keeps_what_failed(dev):
    put = "cloudwatch:PutMetricData"
    assert rule_may(dev, put, "*", cloudwatch__namespace="slm-edge/dev")
    assert not rule_may(dev, put, "*", cloudwatch__namespace="AWS/EC2")
    queue = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:slm-edge-dev-telemetry-dead-letters"
    assert rule_may(dev, "sqs:SendMessage", queue)
    assert not rule_may(dev, "sqs:ReceiveMessage", queue)
    assert not rule_may(dev, "sqs:SendMessage", queue.replace("telemetry", "retraining"))
    for service in ("s3", "sqs"):
        through = {"kms__ViaService": f"{service}.eu-west-1.amazonaws.com"}
        assert rule_may(dev, "kms:GenerateDataKey", dev.key_arn, **through)
    assert not rule_may(dev, "kms:Decrypt", dev.key_arn)
    failed = rule(dev)["ErrorAction"]["Sqs"]
    assert failed["QueueUrl"].endswith("/slm-edge-dev-telemetry-dead-letters")


def test_somebody_is_told_when_telemetry_could_not_be_stored(dev):
    alarm = resolve(dev.only("AWS::CloudWatch::Alarm", "edge"), {**dev.names, **queue_names(dev)})
    assert alarm["AlarmActions"] == [dev.settings.alert_topic_arn]
    [dimension] = alarm["Dimensions"]
    assert dimension["Value"] == "slm-edge-dev-telemetry-dead-letters"
    queue = dev.only("AWS::SQS::Queue", "edge")
    assert resolve(queue["KmsMasterKeyId"], dev.names) == dev.key_arn
    assert queue["MessageRetentionPeriod"] == 14 * 86_400


def queue_names(stacks: Synthesized) -> dict[str, str]:
    return {
        f"{logical_id}.QueueName": one["Properties"]["QueueName"]
        for logical_id, one in stacks.resources("AWS::SQS::Queue").items()
    }


def test_the_stack_is_one_of_its_own_and_names_what_the_settings_name(dev):
    settings, text = dev.settings, json.dumps(dev.templates["edge"])
    for name in (
        settings.thing_type,
        settings.device_policy,
        settings.role_alias,
        settings.telemetry_rule,
        settings.token_exchange_role,
    ):
        assert f'"{name}"' in text, name
