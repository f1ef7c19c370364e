"""A promotion that the account's state machine does: started, and looked at.

Who starts it needs no right to what it reads and writes, and can therefore promote nothing else.

Leaves out: taking part in it (promoting.py), and the machine (cdk/promotion).
"""

from __future__ import annotations

import json
import time
from datetime import datetime

from pipeline.cloud.promotion.promoting import Look
from pipeline.cloud.promotion.record import Record, Records
from pipeline.cloud.promotion.steps import SOON
from pipeline.cloud.session import Account, CloudError, MissingError

_BEGINS_SECONDS = 120


def start(source: Account, arn: str) -> str:
    """Start the machine for a version, as its approval does; returns the execution's ARN.

    Raises:
        CloudError: There is no machine, or it may not be started.
    """
    settings = source.settings
    try:
        answer = source.call(
            "stepfunctions",
            "start_execution",
            f"start the promotion of {arn}",
            stateMachineArn=settings.promotion_machine_arn,
            input=json.dumps({"arn": arn}),
        )
    except MissingError:
        raise MissingError(
            f"There is no state machine {settings.promotion_machine} in {source.place}: deploy it "
            f"with cdk deploy --all -c env={settings.environment}, or leave --by-machine out."
        ) from None
    return str(answer["executionArn"])


class Onlooker:
    """Reads how far promotions are, and takes no part."""

    def __init__(self, target: Account) -> None:
        self._records = Records(target)

    def find(self, arn: str, since: datetime, seconds: float = _BEGINS_SECONDS) -> Record:
        """The promotion of a version, once it has begun.

        Args:
            since: When it was started: what was refused before that is looked at anew.

        Raises:
            CloudError: It did not begin, or could not be read.
        """
        group, number = arn.rpartition(":model-package/")[2].split("/")
        deadline = time.monotonic() + seconds
        while True:
            stored = self._records.read(f"{group}/{number}")
            if stored is not None:
                before = datetime.fromisoformat(stored.record.updated) < since
                if stored.record.state != "refused" or not before:
                    return stored.record
            if time.monotonic() > deadline:
                raise CloudError(
                    f"The promotion of {group}/{number} did not begin: look at the execution."
                )
            time.sleep(1)

    def look(self, name: str) -> Look:
        """Where a promotion stands.

        Raises:
            CloudError: It could not be read.
        """
        stored = self._records.read(name)
        if stored is None:
            raise MissingError(f"The record of the promotion of {name} is gone.")
        record = stored.record
        words = record.reason or record.history[-1].words
        return Look(record, words, SOON)
