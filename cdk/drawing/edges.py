"""What starts, tells or feeds what, read from where a template says so.

That is a rule's pattern and targets, a subscription, an alarm's dimension and action, or an
environment variable. Leaves out: which ends have a card (graph.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cdk.drawing.account import AccountTemplates, Resource, listed

EdgeKind = Literal["starts", "tells", "fails"]


@dataclass(frozen=True)
class Edge:
    """From one resource's ARN to another's."""

    source: str
    target: str
    kind: EdgeKind


def edges_of(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    properties = one.properties
    match one.type:
        case "AWS::Events::Rule":
            yield from _rule(one, account)
        case "AWS::Lambda::Function":
            yield from _function(one, account)
        case "AWS::Scheduler::Schedule":
            yield from _schedule(one, account)
        case "AWS::StepFunctions::StateMachine":
            yield from _state_machine(one, account)
        case "AWS::CloudWatch::Alarm":
            for dimension in properties.get("Dimensions", []):
                watched = str(dimension["Value"])
                for queue in account.of_type("AWS::SQS::Queue"):
                    if watched in (queue.id, queue.name, f"{queue.id}.QueueName"):
                        yield Edge(queue.arn, one.arn, "tells")
            for action in listed(properties.get("AlarmActions", [])):
                yield Edge(one.arn, action, "tells")
        case "AWS::IoT::RoleAlias":
            yield Edge(one.arn, properties["RoleArn"], "starts")
        case "AWS::IoT::TopicRule":
            yield from _topic_rule(one, account)
        case "AWS::Budgets::Budget":
            for notification in properties["NotificationsWithSubscribers"]:
                for subscriber in notification["Subscribers"]:
                    yield Edge(one.arn, subscriber["Address"], "tells")
        case "AWS::Budgets::BudgetsAction":
            yield Edge(properties["BudgetName"], one.arn, "starts")
            attached = properties["Definition"]["IamActionDefinition"]["PolicyArn"]
            yield Edge(one.arn, attached, "starts")
            for subscriber in properties["Subscribers"]:
                yield Edge(one.arn, subscriber["Address"], "tells")
        case "AWS::CodePipeline::Pipeline":
            for stage in properties["Stages"]:
                for action in stage["Actions"]:
                    if "NotificationArn" in action["Configuration"]:
                        yield Edge(one.arn, action["Configuration"]["NotificationArn"], "tells")
        case _:
            return


def _rule(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    detail: Mapping[str, Any] = one.properties.get("EventPattern", {}).get("detail", {})
    sources = [
        bucket.arn
        for bucket in account.of_type("AWS::S3::Bucket")
        if bucket.name in detail.get("bucket", {}).get("name", [])
    ]
    sources += [
        group.arn
        for group in account.of_type("AWS::SageMaker::ModelPackageGroup")
        if group.name in detail.get("ModelPackageGroupName", [])
    ]
    sources += [
        pipeline.arn
        for pipeline in account.of_type("AWS::CodePipeline::Pipeline")
        if pipeline.name in detail.get("pipeline", [])
    ]
    sources += [*detail.get("pipelineArn", []), *detail.get("stateMachineArn", [])]
    failed = (
        "Failed" in detail.get("currentPipelineExecutionStatus", [])
        or "FAILED" in detail.get("state", [])
        or "status" in detail
    )
    for source in sources:
        yield Edge(source, one.arn, "tells" if failed else "starts")
    for target in one.properties.get("Targets", []):
        told = ":sns:" in target["Arn"]
        yield Edge(one.arn, target["Arn"], "tells" if told else "starts")
        if "DeadLetterConfig" in target:
            yield Edge(one.arn, target["DeadLetterConfig"]["Arn"], "fails")


def _topic_rule(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    payload: Mapping[str, Any] = one.properties["TopicRulePayload"]
    for action in payload["Actions"]:
        for bucket in account.of_type("AWS::S3::Bucket"):
            if action.get("S3", {}).get("BucketName") == bucket.name:
                yield Edge(one.arn, bucket.arn, "starts")
    for queue in account.of_type("AWS::SQS::Queue"):
        if payload["ErrorAction"]["Sqs"]["QueueUrl"] in (queue.id, queue.name):
            yield Edge(one.arn, queue.arn, "fails")


def _function(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    """The function that leaves a schedule, and the schedule that starts the pipeline."""
    variables: Mapping[str, str] = one.properties.get("Environment", {}).get("Variables", {})
    for group in account.of_type("AWS::Scheduler::ScheduleGroup"):
        if variables.get("SCHEDULE_GROUP") == group.name:
            yield Edge(one.arn, group.arn, "starts")
            for pipeline in account.of_type("AWS::SageMaker::Pipeline"):
                if variables.get("PIPELINE") == pipeline.name:
                    yield Edge(group.arn, pipeline.arn, "starts")
            yield Edge(group.arn, variables["DEAD_LETTERS_ARN"], "fails")
    letters = one.properties.get("DeadLetterConfig", {}).get("TargetArn")
    if letters:
        yield Edge(one.arn, letters, "fails")


def _state_machine(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    """The function that it calls, which deploys to the groups of devices."""
    for function in account.of_type("AWS::Lambda::Function"):
        if f'"{function.arn}"' in one.properties["DefinitionString"]:
            yield Edge(one.arn, function.arn, "starts")
            for group in account.of_type("AWS::IoT::ThingGroup"):
                if f'"{group.name}"' in json.dumps(function.properties).replace("\\", ""):
                    yield Edge(function.arn, group.arn, "starts")


def _schedule(one: Resource, account: AccountTemplates) -> Iterator[Edge]:
    target: Mapping[str, Any] = one.properties["Target"]
    started: Mapping[str, Any] = json.loads(target["Input"])
    for pipeline in account.of_type("AWS::SageMaker::Pipeline"):
        if started.get("PipelineName") == pipeline.name:
            yield Edge(one.arn, pipeline.arn, "starts")
    if "DeadLetterConfig" in target:
        yield Edge(one.arn, target["DeadLetterConfig"]["Arn"], "fails")
