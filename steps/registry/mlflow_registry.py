"""MLflow's model registry in a SQLite file, which is what a laptop has.

A group is a registered model and a version is a model version. What SageMaker calls the approval
status is the tag ``approval_status``; set it to ``Approved`` in MLflow's interface (``slm ui``)
to make a version the champion. The alias ``champion`` follows the tag, for readers' convenience:
the tag decides. Metrics, parameters and files belong to a run of the experiment
``GROUP/registered``, whose artifacts lie in ``mlartifacts/`` beside the SQLite file.

Several processes may use the file at once: SQLite's locks are waited for, and only one process
makes the tables. They are made in a file beside it, which then takes its name, because MLflow's
migrations are no transaction: what a killed process left half-made, MLflow refuses for ever.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from steps.archive import MODEL_ARCHIVE
from steps.contract import StepError
from steps.registry import ModelPackage, RegistryEntry, check_download, check_status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

STATUS_TAG = "approval_status"
REASON_TAG = "approval_description"
KEY_TAG = "registration"
HASH_TAG = "model_sha256"
METRIC_TAG = "metric."
CHAMPION_ALIAS = "champion"

LOCK_WAIT = 300.0
"""Seconds to wait for another process before giving up; migrating takes two on an idle machine."""

_PARAMETER_LIMIT = 6000
"""Characters of an MLflow parameter; of a tag 8000."""

_T = TypeVar("_T")


def sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` address, or None for a tracking server."""
    parts = urlsplit(uri)
    if parts.scheme != "sqlite":
        return None
    return Path(unquote(parts.path)[1:]).absolute()


@contextlib.contextmanager
def sole_opener(database: Path) -> Iterator[None]:
    """Hold the lock under which MLflow's tables are made.

    MLflow's own lock covers only the making of the tables, not the migration after it, lies in
    the temporary folder, which two containers do not share, and is missing on Windows. This
    lock is SQLite's, on a file beside the database, so the operating system drops it when a
    process is killed.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(f"{database}.lock", timeout=LOCK_WAIT, isolation_level=None)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise _still_locked() from None
        yield
    finally:
        lock.close()


def open_client(uri: str) -> MlflowClient:
    """An MLflow client whose tables exist, safe against other processes that do the same."""
    # nothing that runs here may need the network, and no one asked to be counted
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    database = sqlite_file(uri)
    if database is None:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    with sole_opener(database):  # the constructor opens the file already
        if not database.exists():
            _make_tables(database)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        _patiently(lambda: client.search_experiments(max_results=1))
        _patiently(lambda: client.search_registered_models(max_results=1))
    return client


def _make_tables(database: Path) -> None:
    """Make MLflow's tables beside ``database`` and give them its name when they are whole."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    unfinished = database.with_name(f"{database.name}.unfinished")
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        left.unlink(missing_ok=True)
    store = SqlAlchemyStore(f"sqlite:///{unfinished}", (database.parent / "mlartifacts").as_uri())
    store.engine.dispose()  # an open file cannot be renamed everywhere
    unfinished.replace(database)


def _patiently(call: Callable[[], _T]) -> _T:
    """Repeat ``call`` while another process holds the database."""
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            return call()
        except MlflowException as error:
            if "database is locked" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise _still_locked() from None
            time.sleep(0.05 + random.random() * 0.2)  # noqa: S311 - spreads the waiting ones


def _still_locked() -> StepError:
    return StepError(
        f"MLflow's database was locked by another process for {LOCK_WAIT:.0f} s: "
        "stop that process, then start again."
    )


class MlflowRegistry:
    """A registered model of MLflow; see :class:`steps.registry.Registry`."""

    kind = "mlflow"

    def __init__(self, group: str, uri: str) -> None:
        self.group = group
        self.uri = uri
        self._opened: MlflowClient | None = None

    @property
    def _client(self) -> MlflowClient:
        if self._opened is None:
            self._opened = open_client(self.uri)
        return self._opened

    def champion(self) -> ModelPackage | None:
        database = sqlite_file(self.uri)
        if database is not None and not database.exists():
            return None  # spares the first run MLflow's import and migration
        version = self._newest_approved()
        return None if version is None else self._package(version)

    def register(self, entry: RegistryEntry) -> ModelPackage:
        check_status(entry.status)
        self._create_group()
        version = self._find(entry.key)
        if version is None:
            version = self._create_version(entry)
        self._point_champion()
        return self._package(version)

    def reject(self, name: str, reason: str) -> None:
        version = self._version(name)
        for tag, value in ((REASON_TAG, reason), (STATUS_TAG, "Rejected")):
            self._call("set_model_version_tag", self.group, str(version.version), tag, value)
        self._point_champion()

    def note(self, name: str, properties: dict[str, str]) -> None:
        version = self._version(name)
        for tag, value in properties.items():
            self._call("set_model_version_tag", self.group, str(version.version), tag, value)

    def download(self, package: ModelPackage, folder: Path) -> Path:
        from mlflow.exceptions import MlflowException

        version = self._version(package.name)
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / MODEL_ARCHIVE
        with contextlib.suppress(MlflowException, FileNotFoundError):
            self._call("download_artifacts", version.run_id, MODEL_ARCHIVE, str(folder))
        if not archive.is_file():
            raise StepError(
                f"The model of {package.name} is gone from {version.source}: "
                "restore it or reject this version."
            )
        check_download(archive, version.tags.get(HASH_TAG), package.name)
        return folder

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        client = self._client
        return _patiently(lambda: getattr(client, method)(*arguments, **options))

    def _create_group(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._call(
                "create_registered_model",
                self.group,
                description=f"Set the tag {STATUS_TAG} of a version to Approved to release it.",
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _search(self, condition: str, limit: int = 1) -> list[ModelVersion]:
        return self._call(
            "search_model_versions",
            f"name = '{self.group}' and {condition}",
            max_results=limit,
            order_by=["version_number DESC"],
        )

    def _newest_approved(self) -> ModelVersion | None:
        return next(iter(self._search(f"tags.{STATUS_TAG} = 'Approved'")), None)

    def _find(self, key: str) -> ModelVersion | None:
        return next(iter(self._search(f"tags.{KEY_TAG} = '{key}'")), None)

    def _version(self, name: str) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        prefix = f"models:/{self.group}/"
        try:
            return self._call("get_model_version", self.group, name.removeprefix(prefix))
        except MlflowException:
            raise StepError(
                f"The model package {name} is not in the group {self.group} of {self.uri}: "
                "register it first."
            ) from None

    def _create_version(self, entry: RegistryEntry) -> ModelVersion:
        run = self._run(entry)
        for path in (entry.model, *entry.files):
            self._call("log_artifact", run.info.run_id, str(path))
        tags = {
            **{name: value[:_PARAMETER_LIMIT] for name, value in entry.properties.items()},
            **{METRIC_TAG + name: repr(value) for name, value in entry.metrics.items()},
            STATUS_TAG: entry.status,
            KEY_TAG: entry.key,
            HASH_TAG: entry.model_sha256,
        }
        # one transaction: whoever sees the version sees its status and its key too
        version = self._call(
            "create_model_version",
            self.group,
            source=run.info.artifact_uri,
            run_id=run.info.run_id,
            tags=tags,
            description=entry.description,
        )
        self._call("set_terminated", run.info.run_id, "FINISHED")
        return version

    def _run(self, entry: RegistryEntry) -> Any:
        """The run that holds the entry's files: a new one, or that of an attempt cut short."""
        from mlflow.entities import Metric, Param

        experiment = self._experiment()
        unfinished = self._call(
            "search_runs", [experiment], f"tags.{KEY_TAG} = '{entry.key}'", max_results=1
        )
        if unfinished:
            return unfinished[0]
        now = int(time.time() * 1000)
        name = entry.properties.get("job_name") or entry.execution_id
        run = self._call("create_run", experiment, tags={KEY_TAG: entry.key}, run_name=name)
        self._call(
            "log_batch",
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in entry.metrics.items()],
            params=[
                Param(name, value[:_PARAMETER_LIMIT]) for name, value in entry.properties.items()
            ],
        )
        return run

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = f"{self.group}/registered"
        database = sqlite_file(self.uri)
        folder = None if database is None else database.parent / "mlartifacts" / "registered"
        found = self._call("get_experiment_by_name", name)
        if found is not None:
            return found.experiment_id
        try:
            location = None if folder is None else (folder / self.group).as_uri()
            return self._call("create_experiment", name, artifact_location=location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._call("get_experiment_by_name", name).experiment_id

    def _point_champion(self) -> None:
        """Let the alias follow the tags."""
        newest = self._newest_approved()
        if newest is not None:
            alias = (self.group, CHAMPION_ALIAS, str(newest.version))
            self._call("set_registered_model_alias", *alias)
        else:
            self._call("delete_registered_model_alias", self.group, CHAMPION_ALIAS)

    def _package(self, version: ModelVersion) -> ModelPackage:
        return ModelPackage(
            name=f"models:/{self.group}/{version.version}",
            version=int(version.version),
            status=version.tags.get(STATUS_TAG, "PendingManualApproval"),
            metrics={
                tag.removeprefix(METRIC_TAG): float(value)
                for tag, value in version.tags.items()
                if tag.startswith(METRIC_TAG)
            },
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(),
        )
