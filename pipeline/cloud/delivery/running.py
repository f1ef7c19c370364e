"""An execution on a commit in an environment: started once, and what it left behind.

An execution is found again by its description, which names the commit and the data: a stage that is
repeated goes on with the one that runs or has succeeded, and trains nothing twice. Data for a smoke
test lies under a name made of its content and without a manifest, so that its arrival starts
nothing by itself.

Leaves out: showing an execution while it runs (pipeline/cli).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cloud import deployed, starting
from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.promotion import artifacts, versions
from pipeline.cloud.promotion.versions import Version
from pipeline.cloud.session import Account, CloudError
from pipeline.datasets_manifest import NAME, manifest_of
from pipeline.errors import UsageError

SMOKE = "delivery"
DEFAULT = "default"
"""The dataset that an environment's pipeline has as its default."""
_NEWEST = 200
"""Versions that are looked through for the one of an execution."""


@dataclass(frozen=True)
class Release:
    """What an execution made, and what is promoted of it.

    Attributes:
        sha256: Of ``package.json``, which names the hash of everything else of the package.
    """

    execution: str
    version: Version
    url: str
    sha256: str
    report: str


def place_smoke_data(account: Account, folder: Path, say: Callable[[str], None]) -> str:
    """Upload the files in ``folder`` unless they are there; returns their address.

    Raises:
        UsageError: It holds no data.
        CloudError: The account refused something.
    """
    manifest = manifest_of(folder, SMOKE)
    name = f"{SMOKE}-{manifest['dataset_sha256'][:16]}"
    settings = account.settings
    bucket = Bucket(account, settings.raw_bucket)
    prefix = f"{settings.datasets_prefix}/{name}"
    for entry in manifest["files"]:
        key = f"{prefix}/{entry['path']}"
        if bucket.upload(folder / entry["path"], key, entry["sha256"]):
            say(bucket.address(key))
    return bucket.address(prefix)


def address_of(account: Account, dataset: str) -> str | None:
    """Where the dataset of a name lies; None for the pipeline's own default.

    Raises:
        UsageError: That is no dataset's name.
    """
    if dataset in ("", DEFAULT):
        return None
    if not NAME.fullmatch(dataset):
        raise UsageError(f"{dataset!r} is not the name of a dataset, as in clinc150.")
    return f"s3://{account.settings.raw_bucket}/{account.settings.datasets_prefix}/{dataset}"


def find_or_start(account: Account, commit: str, data: str | None) -> tuple[str, bool]:
    """The ARN of the execution on a commit and its data, and whether it was started now.

    Raises:
        CloudError: It could not be started.
    """
    description = f"Delivery: {commit} on {data or 'the default dataset'}"
    for one in _executions(account):
        alive = one["PipelineExecutionStatus"] in ("Executing", "Succeeded")
        if alive and one.get("PipelineExecutionDescription") == description:
            return str(one["PipelineExecutionArn"]), False
    plan = starting.plan(account, {"InputData": data} if data else {})
    return starting.start(account, plan, description), True


def release_of(account: Account, arn: str) -> Release:
    """What an execution that succeeded made.

    Raises:
        CloudError: It did not succeed, or what it made cannot be found.
    """
    execution = deployed.short(arn)
    status = deployed.describe(account, arn)["PipelineExecutionStatus"]
    if status != "Succeeded":
        raise CloudError(f"Execution {execution} is {status}: only one that succeeded goes on.")
    steps = {str(step["StepName"]): step for step in deployed.steps(account, arn)}
    version = _version_of(account, _origin(steps, "RegisterModel", execution))
    found = artifacts.locate(version)
    if found is None:
        raise CloudError(
            f"Version {version.number} of {version.group} does not say where its package is: run "
            "the pipeline again with images that note it."
        )
    evaluated = _origin(steps, "EvaluateModel", execution)
    key = f"executions/{evaluated}/EvaluateModel/evaluation/report.html"
    return Release(execution, version, found.url, found.sha256, _console(account, key))


def _executions(account: Account) -> list[dict[str, Any]]:
    name = account.settings.pipeline_name
    return [
        one
        for page in account.pages(
            "sagemaker",
            "list_pipeline_executions",
            f"list the executions of {name}",
            PipelineName=name,
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        for one in page["PipelineExecutionSummaries"]
    ]


def _origin(steps: Mapping[str, Mapping[str, Any]], name: str, execution: str) -> str:
    """The execution that made what a step left: another one where it came from the cache.

    Raises:
        CloudError: The execution has no such step, so a gate was closed.
    """
    if name not in steps:
        raise CloudError(f"Execution {execution} never came to {name}: there is no version.")
    cached: Mapping[str, str] = steps[name].get("CacheHitResult") or {}
    source = cached.get("SourcePipelineExecutionArn", "")
    return deployed.short(source) if source else execution


def _version_of(account: Account, execution: str) -> Version:
    """The version that an execution registered.

    Raises:
        CloudError: There is none.
    """
    group = account.settings.model_package_group
    looked_at = 0
    for page in account.pages(
        "sagemaker",
        "list_model_packages",
        f"list the versions of {group}",
        ModelPackageGroupName=group,
        SortBy="CreationTime",
        SortOrder="Descending",
    ):
        for one in page["ModelPackageSummaryList"]:
            version = versions.read(account, one["ModelPackageArn"])
            if version.properties.get("execution_id") == execution:
                return version
            looked_at += 1
        if looked_at >= _NEWEST:
            break
    raise CloudError(
        f"None of the newest {looked_at} versions of {group} is of execution {execution}: it may "
        "have been removed."
    )


def _console(account: Account, key: str) -> str:
    """Where a person who is logged in to the environment's account sees an object."""
    settings = account.settings
    return (
        f"https://{settings.region}.console.aws.amazon.com/s3/object/{settings.pipeline_bucket}"
        f"?region={settings.region}&prefix={key}"
    )
