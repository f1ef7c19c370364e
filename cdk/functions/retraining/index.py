"""Starts the pipeline for new data, once for all that arrives within a cool-down.

The Lambda function behind the rule on a dataset's ``manifest.json``. It gets ``bucket``, ``key``
and ``time`` of the manifest and leaves a one-time EventBridge schedule that starts the pipeline on
that dataset when the cool-down is over. While that schedule waits, a newer manifest only changes
the dataset that it will start with: ten manifests in a minute start one execution, on the newest.
Of manifests that arrive within the same second either may win: a function of its own concurrency
would decide that, too, but cannot be deployed to a new account, which has none to spare.

A manifest that cannot start anything raises :class:`RefusedError` with one sentence: Lambda tries
again twice, for an object that arrives after its manifest, and then puts the event into the
dead-letter queue.

Leaves out: starting the pipeline (the schedule does that, with a role of its own), and reading the
data and its hashes (the step *prepare* does, and it checks the manifest for itself).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]

MANIFEST = "/manifest.json"
MAX_MANIFEST = 1_048_576  # bytes; 128 MiB of memory hold it many times over
MARGIN = timedelta(minutes=1)
"""EventBridge Scheduler fires within a minute after the time of a schedule: one that is due so soon
may be starting already, so it is replaced by a new one instead of changed."""
RETRIES = 3
RETRY_SECONDS = 3600


class RefusedError(Exception):
    """A manifest that starts nothing: one sentence with what, where and what to do."""


@dataclass(frozen=True)
class Config:
    """What the stack sets in the function's environment."""

    pipeline: str
    bucket: str
    prefix: str
    schedule: str
    group: str
    starter: str
    role_arn: str
    dead_letters_arn: str
    cool_down: timedelta

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Config:
        return cls(
            pipeline=environment["PIPELINE"],
            bucket=environment["BUCKET"],
            prefix=environment["PREFIX"],
            schedule=environment["SCHEDULE"],
            group=environment["SCHEDULE_GROUP"],
            starter=environment["STARTER"],
            role_arn=environment["ROLE_ARN"],
            dead_letters_arn=environment["DEAD_LETTERS_ARN"],
            cool_down=timedelta(minutes=int(environment["COOL_DOWN_MINUTES"])),
        )


@dataclass(frozen=True)
class Manifest:
    """A dataset that is complete: its manifest arrived."""

    bucket: str
    key: str
    arrived: datetime

    @classmethod
    def of(cls, event: Mapping[str, Any], config: Config) -> Manifest:
        """Read the rule's input and check that the manifest lies where datasets do.

        Raises:
            RefusedError: It does not.
        """
        try:
            bucket, key = str(event["bucket"]), str(event["key"])
            arrived = datetime.fromisoformat(str(event["time"])).astimezone(UTC)
        except (KeyError, ValueError) as error:
            raise RefusedError(
                f"The event is not of a manifest ({error}): send bucket, key and time."
            ) from None
        if bucket != config.bucket:
            raise RefusedError(
                f"s3://{bucket}/{key} lies in a foreign bucket: put datasets into "
                f"s3://{config.bucket}/{config.prefix}/."
            )
        name = key.removeprefix(f"{config.prefix}/").removesuffix(MANIFEST)
        if not name or key != f"{config.prefix}/{name}{MANIFEST}":
            raise RefusedError(
                f"s3://{bucket}/{key} is no dataset's manifest: put it at "
                f"s3://{bucket}/{config.prefix}/NAME{MANIFEST}."
            )
        return cls(bucket, key, arrived)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def dataset(self) -> str:
        """What the pipeline takes as ``InputData``."""
        return f"s3://{self.bucket}/{self.key.removesuffix(MANIFEST)}"


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Let one schedule wait that starts the pipeline on the newest dataset.

    Returns:
        ``dataset``, ``at`` (when the pipeline starts, UTC) and what was done: ``scheduled``,
        ``joined`` (the waiting schedule now starts with this dataset) or ``outdated`` (it waits
        with a newer one).

    Raises:
        RefusedError: The manifest is not where datasets are, or names what is not in its dataset.
    """
    config = Config.of(os.environ)
    manifest = Manifest.of(event, config)
    check_files(manifest, _client("s3"))
    schedules = _Schedules(config, _client("scheduler"))
    done, at = schedules.wait_for(manifest, now=datetime.now(UTC))
    outcome = {"dataset": manifest.dataset, "at": at.isoformat(), "done": done}
    print(json.dumps(outcome))
    return outcome


def _client(service: str) -> Any:
    boto: Any = boto3
    return boto.client(service)


def check_files(manifest: Manifest, s3: Any) -> None:
    """Check that every file that the manifest names lies in its dataset, with its size.

    Raises:
        RefusedError: One does not, or the manifest is not one.
    """
    named = _named_files(manifest, s3)
    folder = manifest.key.removesuffix(MANIFEST[1:])
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=manifest.bucket, Prefix=folder)
    sizes = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}
    for path, size in named.items():
        if "://" in path or path.startswith("/") or ".." in path.split("/"):
            raise RefusedError(
                f"{manifest.uri} names {path}, which is not in the dataset's own folder: copy the "
                "file there and name it by its path in the folder."
            )
        if sizes.get(folder + path) != size:
            raise RefusedError(
                f"{manifest.uri} names {path} with {size} bytes, which is missing or of another "
                "size: upload it, then the manifest again."
            )


def _named_files(manifest: Manifest, s3: Any) -> dict[str, int]:
    """The size of each file by its path, as ``slm import`` and ``slm upload`` write them."""
    try:
        found = s3.get_object(Bucket=manifest.bucket, Key=manifest.key)
    except s3.exceptions.NoSuchKey:
        raise RefusedError(f"{manifest.uri} is gone: upload the dataset again.") from None
    try:
        content = json.loads(found["Body"].read(MAX_MANIFEST))
        return {str(file["path"]): int(file["bytes"]) for file in content["files"]}
    except (ValueError, KeyError, TypeError):
        raise RefusedError(
            f"{manifest.uri} is not a dataset's manifest (JSON with files, each with path and "
            "bytes): write it with slm import or slm upload."
        ) from None


class _Schedules:
    """The one schedule that waits, if any."""

    def __init__(self, config: Config, client: Any) -> None:
        self._config = config
        self._client = client
        self._where = {"Name": config.schedule, "GroupName": config.group}

    def wait_for(self, manifest: Manifest, *, now: datetime) -> tuple[str, datetime]:
        fires = (now + self._config.cool_down).replace(microsecond=0)
        try:
            self._client.create_schedule(**self._request(manifest, fires))
        except self._client.exceptions.ConflictException:
            return self._join(manifest, now=now, instead=fires)
        return "scheduled", fires

    def _join(
        self, manifest: Manifest, *, now: datetime, instead: datetime
    ) -> tuple[str, datetime]:
        """Change the schedule that waits; replace it where it has fired or is about to."""
        waiting = self._client.get_schedule(**self._where)
        expression = waiting["ScheduleExpression"].removeprefix("at(").removesuffix(")")
        fires = datetime.fromisoformat(expression).replace(tzinfo=UTC)
        if fires - now <= MARGIN:
            # Both are eventually consistent: a conflict here ends this attempt, and Lambda's next
            # one, a minute later, finds the schedule gone.
            self._client.delete_schedule(**self._where)
            self._client.create_schedule(**self._request(manifest, instead))
            return "scheduled", instead
        if manifest.arrived < datetime.fromisoformat(waiting["Description"].split()[-1]):
            return "outdated", fires
        self._client.update_schedule(**self._request(manifest, fires))
        return "joined", fires

    def _request(self, manifest: Manifest, fires: datetime) -> dict[str, Any]:
        at = fires.strftime("%Y-%m-%dT%H:%M:%S")
        token = hashlib.sha256(f"{self._config.pipeline} {at}".encode()).hexdigest()
        start = {
            "PipelineName": self._config.pipeline,
            # a delivery that is repeated starts nothing again
            "ClientRequestToken": token,
            "PipelineExecutionDescription": f"New data in {manifest.dataset}",
            "PipelineParameters": [{"Name": "InputData", "Value": manifest.dataset}],
        }
        return {
            **self._where,
            "Description": f"Newest manifest of {manifest.arrived.isoformat()}",
            "ScheduleExpression": f"at({at})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": self._config.starter,
                "RoleArn": self._config.role_arn,
                "Input": json.dumps(start),
                "DeadLetterConfig": {"Arn": self._config.dead_letters_arn},
                "RetryPolicy": {
                    "MaximumEventAgeInSeconds": RETRY_SECONDS,
                    "MaximumRetryAttempts": RETRIES,
                },
            },
        }
