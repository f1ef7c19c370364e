"""Starts the pipeline for new data, once for all that arrives within a cool-down, and for drift.

**New data.** The Lambda function behind the rule on a dataset's ``manifest.json`` gets ``bucket``,
``key`` and ``time`` of the manifest and leaves a one-time EventBridge schedule that starts the
pipeline on that dataset when the cool-down is over. While that schedule waits, a newer manifest
only changes the dataset that it will start with: ten manifests in a minute start one execution, on
the newest. Of manifests that arrive within the same second either may win: a function of its own
concurrency would decide that, too, but cannot be deployed to a new account, which has none to
spare.

**Drift.** The rule on ``Model Drift Detected`` hands on its event. Unless an execution that
drift started began within its own, longer cool-down and did not fail, a schedule of another name
starts the pipeline on the newest dataset in two minutes. EventBridge Scheduler takes a name once,
so that events of several versions, which one check sends together, start one execution.

What cannot start anything raises :class:`RefusedError` with one sentence: Lambda tries again twice,
for an object that arrives after its manifest, and then puts the event into the dead-letter queue.

Leaves out: starting the pipeline (the schedule does that, with a role of its own), and reading the
data and its hashes (the step *prepare* does, and it checks the manifest for itself).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
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
DRIFT_DETECTED = "Model Drift Detected"
DRIFT = "Drift:"
"""How the description of an execution begins that drift started."""
DRIFT_DELAY = timedelta(minutes=2)
"""Within which the events of one check arrive, and above the scheduler's own minute."""
_SHOWN = 400  # characters of what an event says that a description repeats


class RefusedError(Exception):
    """An event that starts nothing: one sentence with what, where and what to do."""


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
    environment: str
    drift_schedule: str
    drift_cool_down: timedelta
    automatic_approval: bool

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
            environment=environment["ENVIRONMENT"],
            drift_schedule=environment["DRIFT_SCHEDULE"],
            drift_cool_down=timedelta(hours=int(environment["DRIFT_COOL_DOWN_HOURS"])),
            automatic_approval=environment["AUTOMATIC_APPROVAL"] == "yes",
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


@dataclass(frozen=True)
class Drift:
    """Drift that a check found in one version on the devices."""

    version: str
    figures: tuple[str, ...]
    report: str

    @classmethod
    def of(cls, event: Mapping[str, Any], config: Config) -> Drift:
        """Read the event and check that it is of this environment and pipeline.

        Raises:
            RefusedError: It is not.
        """
        try:
            detail: Mapping[str, Any] = event["detail"]
            where = (str(detail["environment"]), str(detail["pipeline"]))
            version = f"{detail['component']} {detail['version']}"
            figures = tuple(str(figure["name"]) for figure in detail["figures"])
            report = str(detail["report"])
        except (KeyError, TypeError) as error:
            raise RefusedError(
                f"The event is not of drift ({error}): send environment, pipeline, component, "
                "version, figures and report."
            ) from None
        if where != (config.environment, config.pipeline):
            raise RefusedError(
                f"The drift is of {' and '.join(where)}, and this function starts "
                f"{config.pipeline} in {config.environment}: correct the rule's pattern."
            )
        return cls(version, figures, report)

    @property
    def description(self) -> str:
        """What the execution is described with."""
        said = f"{DRIFT} {', '.join(self.figures)} of {self.version}"
        return f"{said[:_SHOWN]}; {self.report[:_SHOWN]}"


def handler(event: Mapping[str, Any], _context: object) -> dict[str, str]:
    """Let one schedule wait that starts the pipeline on the newest dataset.

    Returns:
        ``done``, which is ``scheduled``, ``joined`` (a waiting schedule starts with this dataset),
        ``outdated`` (it waits with a newer one) or ``cooling down`` (drift started an execution
        not long ago); ``dataset`` and ``at`` (when the pipeline starts, UTC), or ``because``.

    Raises:
        RefusedError: The manifest is not where datasets are or names what is not in its dataset,
            there is no dataset, or the event is of something else.
    """
    config = Config.of(os.environ)
    now = datetime.now(UTC)
    if event.get("detail-type") == DRIFT_DETECTED:
        outcome = _after_drift(Drift.of(event, config), config, now)
    else:
        outcome = _after_new_data(Manifest.of(event, config), config, now)
    print(json.dumps(outcome))
    return outcome


def _after_new_data(manifest: Manifest, config: Config, now: datetime) -> dict[str, str]:
    check_files(manifest, _client("s3"))
    done, at = _Schedules(config, _client("scheduler")).wait_for(manifest, now=now)
    return {"dataset": manifest.dataset, "at": at.isoformat(), "done": done}


def _after_drift(drift: Drift, config: Config, now: datetime) -> dict[str, str]:
    if earlier := _of_drift_since(now - config.drift_cool_down, config, _client("sagemaker")):
        return {"done": "cooling down", "because": earlier}
    s3 = _client("s3")
    manifest = newest_manifest(s3, config)
    check_files(manifest, s3)
    done, at = _Schedules(config, _client("scheduler")).start_after(drift, manifest, now=now)
    return {"dataset": manifest.dataset, "at": at.isoformat(), "done": done}


def _of_drift_since(since: datetime, config: Config, sagemaker: Any) -> str:
    """The execution that drift started since then and that did not fail; empty if none."""
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
        PipelineName=config.pipeline, CreatedAfter=since, SortBy="CreationTime"
    )
    for page in pages:
        for one in page["PipelineExecutionSummaries"]:
            began_with_drift = str(one.get("PipelineExecutionDescription", "")).startswith(DRIFT)
            failed = one.get("PipelineExecutionStatus") == "Failed"
            if began_with_drift and not failed and one["StartTime"] >= since:
                return str(one["PipelineExecutionArn"])
    return ""


def newest_manifest(s3: Any, config: Config) -> Manifest:
    """The manifest that arrived last.

    Raises:
        RefusedError: There is none.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=config.bucket, Prefix=f"{config.prefix}/"
    )
    found = [
        Manifest(config.bucket, entry["Key"], entry["LastModified"])
        for page in pages
        for entry in page.get("Contents", [])
        if entry["Key"].endswith(MANIFEST)
        and entry["Key"].count("/") == config.prefix.count("/") + 2
    ]
    if not found:
        raise RefusedError(
            f"Drift was found, and s3://{config.bucket}/{config.prefix}/ holds no dataset with a "
            "manifest to train on: upload one with slm upload."
        )
    return max(found, key=lambda manifest: (manifest.arrived, manifest.key))


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
    """The one schedule that waits for new data, if any, and the one after drift."""

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
        fires = _fires(waiting)
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

    def start_after(
        self, drift: Drift, manifest: Manifest, *, now: datetime
    ) -> tuple[str, datetime]:
        """Start the pipeline soon; once, however many events ask for it."""
        fires = (now + DRIFT_DELAY).replace(microsecond=0)
        approved = [{"Name": "ModelApprovalStatus", "Value": "Approved"}]
        request = self._at(
            fires,
            manifest,
            name=self._config.drift_schedule,
            description=drift.description,
            more=approved if self._config.automatic_approval else [],
        )
        try:
            self._client.create_schedule(**request)
        except self._client.exceptions.ConflictException:
            where = {"Name": self._config.drift_schedule, "GroupName": self._config.group}
            return "joined", _fires(self._client.get_schedule(**where))
        return "scheduled", fires

    def _request(self, manifest: Manifest, fires: datetime) -> dict[str, Any]:
        return self._at(
            fires,
            manifest,
            name=self._config.schedule,
            description=f"New data in {manifest.dataset}",
        )

    def _at(
        self,
        fires: datetime,
        manifest: Manifest,
        *,
        name: str,
        description: str,
        more: Sequence[Mapping[str, str]] = (),
    ) -> dict[str, Any]:
        at = fires.strftime("%Y-%m-%dT%H:%M:%S")
        token = hashlib.sha256(f"{self._config.pipeline} {name} {at}".encode()).hexdigest()
        start = {
            "PipelineName": self._config.pipeline,
            # a delivery that is repeated starts nothing again
            "ClientRequestToken": token,
            "PipelineExecutionDescription": description,
            "PipelineParameters": [{"Name": "InputData", "Value": manifest.dataset}, *more],
        }
        return {
            "Name": name,
            "GroupName": self._config.group,
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


def _fires(schedule: Mapping[str, Any]) -> datetime:
    """When a one-time schedule is due."""
    expression = schedule["ScheduleExpression"].removeprefix("at(").removesuffix(")")
    return datetime.fromisoformat(expression).replace(tzinfo=UTC)
