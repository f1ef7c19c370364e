"""Publishes windows of telemetry to AWS IoT Core through the nucleus, with QoS 1.

The nucleus answers when it has taken the message into its own queue; from there it keeps it while
the device is offline, within its ``mqtt.spooler`` settings.

What it leaves out: trying again, which is the delivery's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edge.greengrass.connection import TIMEOUT, Nucleus, NucleusError, describe
from edge.telemetry.senders import DELIVERED, Answer, Outcome


class IotCoreSender:
    """A sender of telemetry for ``destination = "greengrass"``."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._nucleus = Nucleus()

    def send(self, window_id: str, data: bytes) -> Answer:
        """Publish one window; ``window_id`` is in the window itself."""
        try:
            client = self._nucleus.client()
        except NucleusError as error:
            return Answer(Outcome.UNREACHABLE, str(error))
        try:
            client.publish_to_iot_core_async(topic_name=self._topic, qos="1", payload=data).result(
                TIMEOUT
            )
        except Exception as error:  # noqa: BLE001 - the library's errors share no other base
            return self._judge(error)
        return DELIVERED

    def close(self) -> None:
        """Close the connection."""
        self._nucleus.let_go()

    def _judge(self, error: Exception) -> Answer:
        model: Any = import_module("awsiot.greengrasscoreipc.model")
        if isinstance(error, model.InvalidArgumentsError):
            return Answer(
                Outcome.REFUSED, f"The nucleus does not take a window: {describe(error)}."
            )
        if not isinstance(error, model.GreengrassCoreIPCError):  # not an answer: connect anew
            self._nucleus.let_go()
        return Answer(
            Outcome.UNREACHABLE,
            f"The nucleus does not publish to {self._topic}: {describe(error)}.",
        )
