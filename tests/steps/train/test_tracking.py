"""MLflow, for real, over a file; and what happens where it does not answer."""

from __future__ import annotations

import pytest

from steps.train.tracking import open_tracker


@pytest.fixture
def store(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SLM_EXECUTION_ID", "20261123-ab12")
    return uri


def test_without_a_tracking_address_nothing_is_tracked(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert open_tracker(print) is None


def test_a_resumed_job_continues_its_run(store, tmp_path):
    from mlflow.tracking import MlflowClient

    log = []
    for epochs, status in ((1, "KILLED"), (2, "FINISHED")):
        tracker = open_tracker(log.append)
        tracker.params({"seed": 0, "epochs": 2})
        tracker.metrics({"validation_accuracy": 0.5 * epochs}, step=10 * epochs)
        tracker.close(status)
    assert log == []
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("slm-edge")
    assert experiment.artifact_location == (tmp_path / "mlartifacts").as_uri()
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "20261123-ab12"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "0", "epochs": "2"}
    history = client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(10, 0.5), (20, 1.0)]


def test_a_tracker_that_fails_is_said_once_and_stops_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'no' / 'such' / 'f.db'}")
    (tmp_path / "no").write_text("a file where the folder should be")
    log = []
    tracker = open_tracker(log.append)
    tracker.params({"seed": 0})
    tracker.metrics({"train_loss": 1.0}, step=1)
    tracker.close()
    assert len(log) == 1
    assert log[0].startswith("warning: MLflow")
