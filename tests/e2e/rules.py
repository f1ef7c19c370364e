"""The event rules of an environment as its stacks deploy them, in the emulated account.

What a rule lets through lands in a queue, so that a test sees what its target would get: the
emulator's own EventBridge decides, by the deployed pattern. Leaves out: the targets themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.cdk.policies import resolve
from tests.cdk.synthesized import Synthesized
from tests.pipeline.cloud.emulated import Emulated


@dataclass(frozen=True)
class Rules:
    """Rules of ``stacks``, put into ``cloud``."""

    cloud: Emulated
    stacks: Synthesized

    def put(self, name: str) -> None:
        """Make the rule ``name``, with a queue of that name behind it."""
        [rule] = [
            resolve(one["Properties"], self.stacks.names)
            for one in self.stacks.resources("AWS::Events::Rule").values()
            if one["Properties"].get("Name") == name
        ]
        sqs, events = self.cloud.client("sqs"), self.cloud.client("events")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        events.put_rule(Name=name, EventPattern=json.dumps(rule["EventPattern"]))
        events.put_targets(
            Rule=name, Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}]
        )

    def let_through(self, name: str) -> list[dict[str, Any]]:
        """The events that the rule let through since the last call."""
        sqs, found = self.cloud.client("sqs"), []
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def function_environment(self, name: str) -> dict[str, str]:
        """The environment that a function is deployed with."""
        [function] = [
            resolve(one["Properties"], self.stacks.names)
            for one in self.stacks.resources("AWS::Lambda::Function").values()
            if one["Properties"].get("FunctionName") == name
        ]
        return function["Environment"]["Variables"]
