"""Sends the few figures that matter to MLflow, without ever getting in training's way.

Active only where ``MLFLOW_TRACKING_URI`` is set. Everything happens in a thread of its own, since
importing MLflow and opening its database take seconds; a tracking server that fails is said once
and costs nothing else. A resumed job finds its run by the execution's id and continues it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from steps.logs import execution_id

URI_VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
_EXPERIMENT = "slm-edge"
_EXECUTION_TAG, _STEP_TAG = "slm.execution_id", "slm.step"
_PATIENCE = 60.0  # seconds that a finished job waits for figures still on their way


class Tracker:
    """Takes figures now and sends them when it can.

    Args:
        name: What the run is called and found again by.
        log: Takes a sentence for the log.
    """

    def __init__(self, name: str, log: Callable[[str], None]) -> None:
        self._name, self._log = name, log
        self._work: queue.SimpleQueue[Callable[[_Run], None] | None] = queue.SimpleQueue()
        # a daemon, so that a hanging server cannot keep a finished job alive
        self._thread = threading.Thread(target=self._send, name="tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, Any]) -> None:
        self._work.put(lambda run: run.params(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)  # MLflow counts milliseconds
        self._work.put(lambda run: run.metrics(values, step, now))

    def close(self, status: str = "FINISHED") -> None:
        """Send what is left and end the run: FINISHED, FAILED or KILLED."""
        self._work.put(lambda run: run.end(status))
        self._work.put(None)
        self._thread.join(_PATIENCE)

    def _send(self) -> None:
        try:
            run = _Run(self._name)
            while (task := self._work.get()) is not None:
                task(run)
        except Exception as error:  # noqa: BLE001 - whatever MLflow throws, training goes on
            first = (str(error).splitlines() or [""])[0]
            self._log(f"warning: MLflow does not take our figures ({first}); going on without.")


class _Run:
    """One MLflow run, spoken to through the client: no global state."""

    def __init__(self, name: str) -> None:
        from steps.registry.mlflow_registry import open_client

        # two executions may be the first to open the database at the same time
        self._client = open_client(os.environ[URI_VARIABLE])
        experiment = _experiment(self._client)
        tags = {_EXECUTION_TAG: name, _STEP_TAG: "train"}
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        earlier = self._client.search_runs([experiment], wanted, max_results=1)
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(self._id).data.params
        params = [Param(key, str(value)) for key, value in values.items() if key not in known]
        self._client.log_batch(self._id, params=params)

    def metrics(self, values: Mapping[str, float], step: int, now: int) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._id, status)


def _experiment(client: Any) -> str:
    from mlflow.exceptions import MlflowException

    name = os.environ.get(EXPERIMENT_VARIABLE, _EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=_artifacts())
        except MlflowException:  # another run made it in the meantime
            found = client.get_experiment_by_name(name)
    return found.experiment_id


def _artifacts() -> str | None:
    """Beside a database file; otherwise MLflow would take a folder of the working directory."""
    uri = urlparse(os.environ[URI_VARIABLE])
    if uri.scheme != "sqlite":
        return None
    database = Path(uri.path[1:])  # sqlite:///relative, sqlite:////absolute
    return (database.resolve().parent / "mlartifacts").as_uri()


def open_tracker(log: Callable[[str], None]) -> Tracker | None:
    """The tracker of this job, or None where no MLflow is configured."""
    if not os.environ.get(URI_VARIABLE):
        return None
    name = execution_id() or os.environ.get("TRAINING_JOB_NAME")
    return Tracker(name or f"train-{time.strftime('%Y%m%d-%H%M%S')}", log)
