"""The budget: who is told when, the brake that it pulls, and the topic in between."""

from __future__ import annotations

import pytest

from cdk.foundation import budget as module
from cdk.foundation.budget import budget_name, denial_name
from pipeline.names import ROLE_KINDS
from tests.cdk.policies import Call, effect_of, is_allowed, resolve, statements_in

ACCOUNT = "111111111111"
BUDGETS = {"Service": "budgets.amazonaws.com"}


def notifications(stacks):
    return stacks.only("AWS::Budgets::Budget")["NotificationsWithSubscribers"]


def test_the_budget_is_the_settings_amount_a_month(dev, synthesized):
    data = dev.only("AWS::Budgets::Budget")["Budget"]
    assert data["BudgetLimit"] == {"Amount": 10, "Unit": "USD"}
    assert (data["TimeUnit"], data["BudgetType"]) == ("MONTHLY", "COST")
    raised = synthesized("dev", budget={"monthly_usd": 25.5})
    assert raised.only("AWS::Budgets::Budget")["Budget"]["BudgetLimit"]["Amount"] == 25.5


def test_the_budget_counts_the_whole_account(dev):
    data = dev.only("AWS::Budgets::Budget")["Budget"]
    assert not data.keys() & {"CostFilters", "FilterExpression"}


def test_mails_go_out_at_50_80_and_100_percent_spent_and_100_percent_forecast(dev):
    sent = {
        (one["Notification"]["NotificationType"], one["Notification"]["Threshold"])
        for one in notifications(dev)
    }
    assert sent == {("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}
    for one in notifications(dev):
        assert one["Notification"]["ThresholdType"] == "PERCENTAGE"
        assert one["Notification"]["ComparisonOperator"] == "GREATER_THAN"


def test_each_notification_goes_through_the_alert_topic(dev):
    for one in notifications(dev):
        [subscriber] = resolve(one["Subscribers"], dev.names)
        assert subscriber == {"SubscriptionType": "SNS", "Address": dev.settings.alert_topic_arn}


def test_changed_notifications_make_a_budget_of_another_name(dev, monkeypatch):
    """CloudFormation can neither change them in place nor replace a budget under its name."""
    before = budget_name(dev.settings)
    assert dev.only("AWS::Budgets::Budget")["Budget"]["BudgetName"] == before
    assert before.startswith("slm-edge-dev-monthly-")
    monkeypatch.setattr(module, "NOTIFICATIONS", (("ACTUAL", 90),))
    assert budget_name(dev.settings) != before


def test_a_raised_budget_keeps_its_name(dev, synthesized):
    raised = synthesized("dev", budget={"monthly_usd": 25.5})
    assert budget_name(raised.settings) == budget_name(dev.settings)


def test_every_recipient_gets_the_alerts_by_mail(synthesized):
    people = ["a@example.com", "b@example.com"]
    told = synthesized("dev", budget={"recipients": people})
    subscriptions = [one["Properties"] for one in told.resources("AWS::SNS::Subscription").values()]
    assert sorted(one["Endpoint"] for one in subscriptions) == people
    assert {one["Protocol"] for one in subscriptions} == {"email"}
    assert {resolve(one["TopicArn"], told.names) for one in subscriptions} == {
        told.settings.alert_topic_arn
    }


def test_the_alert_topic_is_encrypted_with_the_key(dev):
    topic = dev.only("AWS::SNS::Topic")
    assert topic["TopicName"] == dev.settings.alert_topic_name
    assert resolve(topic["KmsMasterKeyId"], dev.names) == dev.key_arn


def test_eventbridge_which_names_no_source_publishes_alerts(dev):
    assert publishing(dev, {"Service": "events.amazonaws.com"}) == "Allow"


@pytest.mark.parametrize("service", ["budgets", "cloudwatch"])
def test_services_publish_alerts_for_this_account_only(dev, service):
    principal = {"Service": f"{service}.amazonaws.com"}
    assert publishing(dev, principal, **{"aws:SourceAccount": ACCOUNT}) == "Allow"
    assert publishing(dev, principal, **{"aws:SourceAccount": "222222222222"}) is None
    assert (
        publishing(dev, {"Service": "s3.amazonaws.com"}, **{"aws:SourceAccount": ACCOUNT}) is None
    )


def test_the_alert_topic_is_reached_over_tls_only(dev):
    plain = {"aws:SecureTransport": "false", "aws:SourceAccount": ACCOUNT}
    assert publishing(dev, BUDGETS, **plain) == "Deny"


def publishing(stacks, principal, **context):
    document = stacks.only("AWS::SNS::TopicPolicy")["PolicyDocument"]
    context = {"aws:SecureTransport": "true", **context}
    call = Call("sns:Publish", stacks.settings.alert_topic_arn, context, principal)
    return effect_of(call, statements_in(document, stacks.names))


def test_the_brake_is_pulled_by_itself_when_everything_is_spent(dev):
    action = dev.only("AWS::Budgets::BudgetsAction")
    assert action["BudgetName"] == budget_name(dev.settings)
    assert action["ActionThreshold"] == {"Type": "PERCENTAGE", "Value": 100}
    assert action["NotificationType"] == "ACTUAL"
    assert action["ApprovalModel"] == "AUTOMATIC"
    assert action["ActionType"] == "APPLY_IAM_POLICY"
    assert action["Subscribers"] == [{"Type": "SNS", "Address": dev.settings.alert_topic_arn}]


def test_the_brake_attaches_the_denial_to_every_service_role(dev):
    action = resolve(dev.only("AWS::Budgets::BudgetsAction"), dev.names)
    definition = action["Definition"]["IamActionDefinition"]
    assert definition["PolicyArn"].endswith(f":policy/{denial_name(dev.settings)}")
    assert set(definition["Roles"]) == {dev.settings.role_name(kind) for kind in ROLE_KINDS}


@pytest.mark.parametrize(
    ("kind", "action", "resource"),
    [
        ("pipeline", "sagemaker:CreateTrainingJob", "training-job/pipelines-a-TrainModel-b"),
        ("pipeline", "sagemaker:CreateProcessingJob", "processing-job/pipelines-a-PrepareData-b"),
        (
            "registration",
            "sagemaker:CreateCompilationJob",
            "compilation-job/slm-edge-dev-intents-1",
        ),
        ("retraining", "sagemaker:StartPipelineExecution", "pipeline/slm-edge-dev"),
    ],
)
def test_with_the_denial_a_role_starts_nothing_and_without_it_it_does(dev, kind, action, resource):
    call = Call(action, f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:{resource}")
    denial = dev.managed_policy(denial_name(dev.settings))
    assert is_allowed(call, dev.statements(kind), boundary=dev.boundary)
    assert not is_allowed(call, [*dev.statements(kind), *denial], boundary=dev.boundary)


def test_the_denial_lets_what_runs_come_to_its_end(dev):
    denial = dev.managed_policy(denial_name(dev.settings))
    for action in ("s3:PutObject", "sagemaker:DescribeTrainingJob", "sagemaker:StopTrainingJob"):
        assert effect_of(Call(action, "*"), denial) is None


def test_the_budgets_role_attaches_and_detaches_the_denial_and_does_nothing_else(dev):
    role = f"{dev.settings.name}-budget"
    statements = dev.statements_of(role)
    training = f"arn:aws:iam::{ACCOUNT}:role/slm-edge-dev-training"
    denial = {"iam:PolicyARN": f"arn:aws:iam::{ACCOUNT}:policy/{denial_name(dev.settings)}"}
    administrator = {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}

    def may(action: str, resource: str, context: dict[str, str]) -> bool:
        call = Call(action, resource, context)
        allowed = is_allowed(call, statements)
        assert allowed is is_allowed(call, statements, boundary=dev.boundary)
        return allowed

    assert may("iam:AttachRolePolicy", training, denial)
    assert may("iam:DetachRolePolicy", training, denial)
    assert not may("iam:AttachRolePolicy", training, administrator)
    assert not may("iam:AttachRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/other", denial)
    assert not may("iam:PutRolePolicy", training, denial)


def test_budgets_assumes_its_role_for_this_account_only(dev):
    trust = dev.role(f"{dev.settings.name}-budget")["AssumeRolePolicyDocument"]
    statements = statements_in(trust, dev.names)

    def assumed(account: str):
        context = {
            "aws:SourceAccount": account,
            "aws:SourceArn": f"arn:aws:budgets::{account}:budget/{budget_name(dev.settings)}",
        }
        return effect_of(Call("sts:AssumeRole", "*", context, BUDGETS), statements)

    assert assumed(ACCOUNT) == "Allow"
    assert assumed("222222222222") is None


def test_the_way_back_is_written_where_the_brake_is():
    assert "REVERSE_BUDGET_ACTION" in (module.__doc__ or "")
