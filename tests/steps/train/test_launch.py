"""Hosts and processes; two real processes through torchrun train what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from steps.contract import StepError
from steps.train.config import TrainingConfig
from steps.train.group import joined
from steps.train.launch import (
    Hosts,
    failure_file,
    first_failure,
    processes_here,
    read_hosts,
    torchrun_arguments,
)
from steps.train.train import TrainingFolders, train


@pytest.fixture
def container(tmp_path, repository, tiny_prepared, tiny_base_model):
    """A folder laid out like a training container's /opt/ml, and a way to run the step in it."""
    root = tmp_path / "ml"
    (root / "input/data").mkdir(parents=True)
    (root / "input/config").mkdir()
    (root / "input/data/prepared").symlink_to(tiny_prepared)
    (root / "input/data/base-model").symlink_to(tiny_base_model)
    container = Container(root, repository)
    yield container
    container.clean_up()


class Container:
    def __init__(self, root: Path, repository: Path) -> None:
        self.root, self._repository = root, repository
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **hyperparameters: str) -> subprocess.Popen[str]:
        path = self.root / "input/config/hyperparameters.json"
        defaults = {"epochs": "2", "batch_size": "4", "refit": "false"}
        path.write_text(json.dumps(defaults | hyperparameters))
        environment = os.environ | {
            "SLM_ML_ROOT": str(self.root),
            "PYTHONPATH": str(self._repository),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "steps.train", *arguments],
            env=environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def clean_up(self) -> None:
        """Kill what a failed test left running; workers end with their launcher."""
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def run(self, *arguments: str, **hyperparameters: str) -> tuple[int, str]:
        process = self.start(*arguments, **hyperparameters)
        output, _ = process.communicate()
        return process.returncode, output

    @property
    def failure(self) -> str:
        return (self.root / "output/failure").read_text()


def test_without_a_resource_config_there_is_one_host(tmp_path):
    assert read_hosts(tmp_path / "resourceconfig.json") == Hosts()


def test_hosts_are_ranked_by_name(tmp_path):
    path = tmp_path / "resourceconfig.json"
    hosts = {
        "current_host": "algo-2",
        "hosts": ["algo-2", "algo-1"],
        "network_interface_name": "eth0",
    }
    path.write_text(json.dumps(hosts))
    found = read_hosts(path)
    assert (found.rank, found.interface) == (1, "eth0")
    assert torchrun_arguments(found, 4) == [
        "--nproc-per-node=4",
        "--nnodes=2",
        "--node-rank=1",
        "--master-addr=algo-1",
        "--master-port=29500",
        "--module",
        "steps.train",
    ]


@pytest.mark.parametrize("value", [{}, {"hosts": ["a"], "current_host": "b"}, []])
def test_a_resource_config_that_lacks_something_is_refused(tmp_path, value):
    path = tmp_path / "resourceconfig.json"
    path.write_text(json.dumps(value))
    with pytest.raises(StepError, match="is not a resource config"):
        read_hosts(path)


def test_one_host_needs_no_address():
    assert "--standalone" in torchrun_arguments(Hosts(), 2)


def test_there_is_one_process_a_gpu_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert processes_here(0) == 8
    assert processes_here(2) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert processes_here(0) == 1


def test_only_a_process_of_a_group_reports_to_a_file_of_its_own(monkeypatch, tmp_path):
    default = tmp_path / "failure"
    assert failure_file(default) == default
    monkeypatch.setenv("SLM_TRAIN_FAILURES", str(tmp_path))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert failure_file(default) == tmp_path / "1"


def test_the_cause_of_a_failure_is_told_rather_than_what_followed(tmp_path):
    assert "ended with -9 and said nothing" in first_failure(tmp_path, -9)
    (tmp_path / "0").write_text("Another training process ended first: process 0 of 2.\n")
    assert first_failure(tmp_path, 1).startswith("Another training process ended first")
    (tmp_path / "1").write_text("The disk is full.\n")
    assert first_failure(tmp_path, 1) == "The disk is full."


def test_a_process_that_loses_the_others_says_so_without_a_traceback(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *a, **o: None)
    closed = "[gloo/transport/tcp/pair.cc:538] Connection closed by peer"
    with pytest.raises(StepError, match="ended first: process 1 of 2"), joined():
        raise RuntimeError(closed)
    with pytest.raises(RuntimeError, match="a bug"), joined():
        raise RuntimeError("a bug")


def test_two_processes_train_what_one_trains(container, tmp_path, tiny_base_model, tiny_prepared):
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_base_model.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_text())
    # dropout falls differently in two processes; without it they must agree
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config | no_dropout))
    code, output = container.run(
        base_model=str(base), processes_per_host="2", precision="fp32", batch_size="5"
    )
    assert code == 0, output
    assert "in 2 processes" in output
    assert output.count("validation_accuracy=") == 3, "only the leading process speaks"
    torch.set_num_threads(1)
    alone = train(
        TrainingConfig(base_model=str(base), precision="fp32", batch_size=5, epochs=2, refit=False),
        TrainingFolders(tiny_prepared, tmp_path / "alone"),
    )
    record = json.loads((container.root / "model/training.json").read_text())
    assert record["processes"] == 2
    for ours, theirs in zip(record["history"], alone.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)
    for name in ("encoder/model.safetensors", "head.safetensors"):
        together, single = (
            load_file(container.root / "model" / name),
            load_file(tmp_path / "alone" / name),
        )
        assert all(torch.allclose(together[k], single[k], atol=1e-3) for k in single)


def test_when_processes_fail_the_job_ends_with_one_sentence(container):
    (container.root / "input/data/base-model").unlink()
    code, output = container.run(base_model="./nowhere", processes_per_host="2")
    assert code == 1
    assert "Traceback" not in output, output
    assert container.failure.startswith("The base model './nowhere' is not there")


def test_a_stopped_group_of_processes_agrees_on_its_last_checkpoint(container):
    endless = {"epochs": "100000", "patience": "0", "checkpoint_steps": "5"}
    endless |= {"processes_per_host": "2"}
    process = container.start("train", **endless)
    while not list((container.root / "checkpoints").glob("step-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 143, output
    assert "Stopped by SIGTERM" in output
    assert not (container.root / "model").exists()


def test_a_wrong_hyperparameter_ends_the_job_with_one_sentence(container):
    code, output = container.run(epochs="many")
    assert code == 1
    assert "Traceback" not in output, output
    assert container.failure == "The hyperparameter epochs is 'many' but must be a whole number.\n"


def test_an_unknown_argument_is_a_usage_error(container):
    code, output = container.run("--epochs", "3")
    assert code == 2
    assert "usage:" in output
