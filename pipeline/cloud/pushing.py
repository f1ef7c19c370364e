"""Pushes a run of this machine to the account: its model, its package, its figures, its version.

In this order, so that nothing is half there: objects in S3, then figures in CloudWatch, then the
version in the model registry, which alone makes the run visible to others. Each part can be
repeated: objects that are there are left alone, and *register* finds the version that it made
before. What ends a push is a record beside the model; a run that has one is not pushed again.

The version is registered by the step *register* itself, in its own process, so that a pushed
version is recorded as any other is; it also puts the evaluation into S3.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from pipeline import results
from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.fleet import packages
from pipeline.cloud.promotion import versions
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.local import Execution, UsageError, open_storage, runs
from pipeline.local.errors import PipelineError
from pipeline.local.storage import FolderStorage

PREFIX = "pushed"
MODEL = "model.tar.gz"
RECORD = "registration.json"
_OLDEST = timedelta(days=13)  # CloudWatch takes no datum that is older than two weeks
_REPOSITORY = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalRun:
    """What of an execution is pushed: files of this machine."""

    execution: Execution
    model: Path
    evaluation: Path
    prepared: Path
    package: Path
    figures: results.Figures


@dataclass(frozen=True)
class Pushed:
    """What the account has now.

    Attributes:
        new: False when an earlier push had ended; nothing was then done.
    """

    version: str
    arn: str
    status: str
    model: str
    package: str
    new: bool


def choose(home: Path, execution_id: str | None) -> LocalRun:
    """The run to push: the one named, or the newest that succeeded.

    Raises:
        UsageError: There is none.
        PipelineError: It did not pass its gates, or its data lie elsewhere.
    """
    if execution_id:
        execution = runs.load(home, execution_id)
    else:
        found = [one for one in runs.list_executions(home) if one.status == "Succeeded"]
        if not found:
            raise UsageError(f"No execution in {home} has succeeded yet: start with slm run.")
        execution = found[0]
    if execution.status != "Succeeded":
        reason = f" ({execution.failure_reason.rstrip('.')})" if execution.failure_reason else ""
        raise PipelineError(
            f"Execution {execution.id} is {execution.status}{reason}: only a run that passed its "
            "gates is pushed."
        )
    if execution.endpoint_url:
        raise PipelineError(
            f"Execution {execution.id} kept its data at {execution.endpoint_url}: push a run "
            "whose data lie on this machine."
        )
    return _files_of(home, execution)


def _files_of(home: Path, execution: Execution) -> LocalRun:
    figures = results.read_figures(home, execution)
    if figures.registered and figures.registered.status == "Rejected":
        raise PipelineError(f"The model of execution {execution.id} was rejected: train again.")
    folders = {
        name: results.output_folder(home, execution, name)
        for name in ("evaluation", "prepared", "package")
    }
    model = _model_of(home, execution)
    for name, path in {"model": model, **folders}.items():
        if path is None:
            raise PipelineError(
                f"Execution {execution.id} has no {name} on this machine: run the pipeline again."
            )
    return LocalRun(
        execution,
        cast("Path", model),
        cast("Path", folders["evaluation"]),
        cast("Path", folders["prepared"]),
        cast("Path", folders["package"]),
        figures,
    )


def _model_of(home: Path, execution: Execution) -> Path | None:
    storage = open_storage(home)
    for step in execution.steps.values():
        artifacts: Mapping[str, Any] = step.outputs.get("ModelArtifacts") or {}
        uri = str(artifacts.get("S3ModelArtifacts", ""))
        if uri and isinstance(storage, FolderStorage) and storage.path(uri).is_file():
            return storage.path(uri)
    return None


def push(account: Account, run: LocalRun, say: Say) -> Pushed:
    """Push a run; ``say`` is told what is done next.

    Raises:
        CloudError: The account refused something, or the model could not be registered. Pushing
            again goes on from there.
    """
    settings, name = account.settings, run.execution.id
    models = Bucket(account, settings.model_bucket)
    deployments = Bucket(account, settings.deployments_bucket)
    place = f"{PREFIX}/{name}"
    record = _read_record(account, models, f"{place}/{RECORD}")
    new = record is None
    if record is None:
        deployments.check()
        _upload_model(models, run, place, say)
        _upload_folder(deployments, run.package, place, say)
        say(f"figures to CloudWatch, {settings.metric_namespace}")
        _send_figures(account, run)
        say(f"the version to the registry, {settings.model_package_group}")
        record = _register(account, run, models, place)
        _note_package(account, run, str(record["model_package"]), deployments.address(place))
        content = json.dumps(record, indent=2, sort_keys=True) + "\n"
        models.write(f"{place}/{RECORD}", content.encode(), "application/json")
    return Pushed(
        version=str(record["version"]),
        arn=str(record["model_package"]),
        status=str(record["status"]),
        model=models.address(f"{place}/{MODEL}"),
        package=deployments.address(place),
        new=new,
    )


def _read_record(account: Account, models: Bucket, key: str) -> dict[str, Any] | None:
    """What an earlier push ended with, as the registry has it now; None if it has it no more."""
    content = models.read(key)
    if content is None:
        return None
    try:
        record: dict[str, Any] = json.loads(content)
        described = account.call(
            "sagemaker",
            "describe_model_package",
            f"read version {record['version']}",
            ModelPackageName=record["model_package"],
        )
    except (MissingError, ValueError, KeyError):
        return None
    return {**record, "status": described["ModelApprovalStatus"]}


def _upload_model(models: Bucket, run: LocalRun, place: str, say: Say) -> None:
    digest, key = _sha256(run.model), f"{place}/{MODEL}"
    if models.hash_of(key) not in (None, digest):
        raise CloudError(
            f"{models.address(key)} is another model than that of execution {run.execution.id}: "
            "delete it first if it is not needed."
        )
    say(models.address(key))
    models.upload(run.model, key, digest)


def _upload_folder(bucket: Bucket, folder: Path, place: str, say: Say) -> None:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        key = f"{place}/{file.relative_to(folder).as_posix()}"
        say(bucket.address(key))
        bucket.upload(file, key, _sha256(file))


def _send_figures(account: Account, run: LocalRun) -> None:
    figures = list(figures_of(run.figures))
    if not figures:
        return
    ended = datetime.fromisoformat(run.execution.ended or run.execution.started)
    timestamp = max(ended, datetime.now(UTC) - _OLDEST)
    account.call(
        "cloudwatch",
        "put_metric_data",
        "send the figures to CloudWatch",
        Namespace=account.settings.metric_namespace,
        MetricData=[
            {
                "MetricName": name,  # those of executions: another dimension is another metric
                "Timestamp": timestamp,
                "Value": value,
            }
            for name, value in figures
        ],
    )


def figures_of(figures: results.Figures) -> Iterator[tuple[str, float]]:
    """The few that are charted of executions as well, as far as they are known."""
    row = figures.rows[0] if figures.rows else None
    measured = (
        ("Accuracy", row and row.accuracy),
        ("OutOfScopeAuroc", row and row.out_of_scope_auroc),
        ("CalibrationError", row and row.calibration_error),
    )
    for name, figure in measured:
        if figure is not None:
            yield name, figure.value
    if figures.agreement is not None:
        yield "CompiledAgreement", figures.agreement


def _register(account: Account, run: LocalRun, models: Bucket, place: str) -> dict[str, Any]:
    """Run the step *register* by hand and return its ``registration.json``."""
    with tempfile.TemporaryDirectory(prefix="slm-push-") as scratch:
        root = Path(scratch)
        given = {
            "--model": run.model.parent,
            "--evaluation": run.evaluation,
            "--prepared": run.prepared,
            "--output": root,
            "--model-data-url": models.address(f"{place}/{MODEL}"),
            "--model-package-group": account.settings.model_package_group,
            "--execution-id": run.execution.id,
            "--image": account.settings.processing_image,
        }
        command = [sys.executable, "-m", "steps.register"]
        for option, value in given.items():
            command += [option, str(value)]
        done = subprocess.run(
            command,
            env=_environment(account, root, models.key_arn),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CloudError(f"The model was not registered: {_failure(root, done.stderr)}")
        registration: dict[str, Any] = json.loads((root / RECORD).read_text(encoding="utf-8"))
        return registration


def _note_package(account: Account, run: LocalRun, arn: str, url: str) -> None:
    """Where the version's package is and what it is, as the step *package* notes it in a job."""
    noted = {
        versions.PACKAGE_URL: url,
        versions.PACKAGE_SHA256: _sha256(run.package / packages.SUMMARY),
    }
    versions.note(account, versions.read(account, arn), noted)


def _environment(account: Account, root: Path, key_arn: str) -> dict[str, str]:
    environment = {
        **os.environ,
        "SLM_ML_ROOT": str(root),  # where it leaves the sentence of a failure
        "SLM_REGISTRY": "sagemaker",
        "SLM_KMS_KEY": key_arn,
        "AWS_REGION": account.settings.region,
        "AWS_DEFAULT_REGION": account.settings.region,
        "PYTHONPATH": str(_REPOSITORY),
    }
    if account.endpoint_url:
        environment["AWS_ENDPOINT_URL"] = account.endpoint_url
    return environment


def _failure(root: Path, errors: str) -> str:
    try:
        return (root / "output" / "message").read_text(encoding="utf-8").strip()
    except OSError:
        return (errors.strip().splitlines() or ["it ended without a word"])[-1]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
