"""The whole of train on a tiny model: what comes out, that it repeats, resumes and stops well."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
import re
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from steps.contract import StepError
from steps.intent_model import load, logits_of
from steps.train import loop as loop_module
from steps.train.config import TrainingConfig
from steps.train.train import TrainingFolders, train
from tests.steps.train.crash import processes, train_to_the_end


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def job(tiny_base_model, tiny_prepared, tmp_path):
    """Trains with hyperparameters changed; returns the result and the model folder."""

    def run(name="model", *, prepared=tiny_prepared, checkpoints=None, **arguments):
        folders = TrainingFolders(prepared, tmp_path / name, checkpoints=checkpoints)
        result = train(config_of(tiny_base_model, **arguments), folders)
        return result, tmp_path / name

    return run


def config_of(base, **arguments):
    return TrainingConfig(**arguments_of(base) | arguments)


def arguments_of(base):
    # refit is off but where it is tested, so that the written model is the measured one
    return {
        "base_model": str(base),
        "batch_size": 4,
        "epochs": 2,
        "learning_rate": 0.01,
        "average_decay": 0.0,
        "refit": False,
    }


def weights(folder: Path):
    return load_file(folder / "encoder" / "model.safetensors") | load_file(
        folder / "head.safetensors"
    )


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def distance(first: Path, second: Path) -> float:
    """How far apart two models' answers are, on made-up utterances."""
    texts = [[2, 5 + n, 9 + n % 3, 3] for n in range(40)]
    one, other = (logits_of(load(folder)[0], texts).log_softmax(-1) for folder in (first, second))
    return float((one.exp() * (one - other)).sum(1).mean())


def copy_without(prepared: Path, target: Path, drop) -> Path:
    """The prepared folder with the rows of train and validation that ``drop`` picks left out."""
    target.mkdir()
    for path in prepared.iterdir():
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            keep = [not drop(path.stem, row) for row in table.to_pylist()]
            pq.write_table(table.filter(keep), target / path.name)
        else:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_the_model_folder_is_whole_and_can_be_loaded(job, tiny_prepared, capsys):
    result, folder = job()
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "encoder", "adapter", "tokenizer", "head.safetensors", "intents.json", "training.json",
    }  # fmt: skip
    model, rule = load(folder)
    rows = pq.read_table(tiny_prepared / "validation.parquet").to_pylist()
    rows = [row for row in rows if row["label"] >= 0]
    found = logits_of(model, [row["input_ids"] for row in rows]).argmax(1).tolist()
    right = sum(a == row["label"] for a, row in zip(found, rows, strict=True)) / len(rows)
    assert right == result.metrics["validation_accuracy"]
    assert rule == result.rule
    assert math.isfinite(rule.energy_threshold)

    record = json.loads((folder / "training.json").read_text())
    assert {
        "pooling", "base_model", "dataset_sha256", "hyperparameters", "versions", "commit",
        "parameters", "metrics", "history", "seconds", "validation",
    } <= record.keys()  # fmt: skip
    assert record["metrics"] == result.metrics
    assert record["hyperparameters"]["learning_rate"] == 0.01
    assert record["validation"]["in_scope_rows"] == len(rows)
    assert len(record["history"]) == 2
    printed = capsys.readouterr().out
    assert re.search(r"validation_accuracy=\d\.\d{4} validation_loss=\d\.\d{4}", printed)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"refit": True},  # the mean of two adapters
        {"refit": True, "use_rslora": True},
        {"refit": True, "use_dora": True},  # which have no mean
    ],
)
def test_the_adapter_alone_makes_the_merged_encoder_again(job, tiny_base_model, options):
    from peft import PeftModel
    from transformers import AutoModel

    _, folder = job(**options)
    plain = AutoModel.from_pretrained(tiny_base_model, add_pooling_layer=False)
    again = PeftModel.from_pretrained(plain, folder / "adapter").merge_and_unload().state_dict()
    for name, value in load_file(folder / "encoder" / "model.safetensors").items():
        assert torch.allclose(again[name], value, atol=1e-6), name


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(job):
    _, first = job("first", seed=3)
    _, second = job("second", seed=3)
    _, third = job("third", seed=4)
    assert same(first, second)
    assert not same(first, third)


def test_training_learns_what_it_is_shown(job):
    result, _ = job(epochs=12, patience=0)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


@pytest.mark.parametrize(
    "options",
    [
        {"fine_tuning": "full", "learning_rate": 1e-3},
        {"use_dora": True, "schedule": "linear"},
        {"use_rslora": True, "schedule": "constant", "label_smoothing": 0.1, "clip_norm": 0.0},
        {"precision": "bf16", "average_decay": 0.9, "lora_dropout": 0.1},
    ],
)
def test_every_option_trains_and_repeats(job, options):
    _, first = job("first", epochs=1, **options)
    _, second = job("second", epochs=1, **options)
    assert same(first, second)


def test_accumulating_gradients_changes_memory_and_not_the_result(job, tiny_base_model, tmp_path):
    # without dropout, whose random numbers depend on the shape of what they fall on
    config = json.loads((tiny_base_model / "config.json").read_text())
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_base_model.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config | no_dropout))
    options = {"base_model": str(base), "precision": "fp32"}
    _, whole = job("whole", **options)
    _, parts = job("parts", gradient_accumulation=3, **options)
    a, b = weights(whole), weights(parts)
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)


def test_out_of_scope_rows_change_the_threshold_and_never_the_weights(job, tiny_prepared, tmp_path):
    without = copy_without(tiny_prepared, tmp_path / "in", lambda _, row: row["label"] < 0)
    with_rows, first = job("first")
    without_rows, second = job("second", prepared=without)
    assert same(first, second)
    assert "out_of_scope_auroc" in with_rows.metrics
    assert "out_of_scope_auroc" not in without_rows.metrics
    assert math.isfinite(without_rows.rule.energy_threshold)


def test_without_validation_rows_the_last_weights_are_kept_and_nothing_is_rejected(
    job, tiny_prepared, tmp_path
):
    bare = copy_without(tiny_prepared, tmp_path / "bare", lambda split, _: split == "validation")
    result, folder = job(prepared=bare)
    assert result.metrics == {}
    assert result.rule.temperature == 1.0
    assert json.loads((folder / "intents.json").read_text())["energy_threshold"] is None
    assert load(folder)[1].energy_threshold == -math.inf


def test_training_stops_early_and_keeps_the_best_epoch(job, capsys):
    rates = {"learning_rate": 0.3, "head_learning_rate": 0.9}  # far too high, on purpose
    result, folder = job(epochs=30, patience=1, precision="fp32", **rates)
    record = json.loads((folder / "training.json").read_text())
    assert len(result.history) < 30
    assert record["best_epoch"] == len(result.history) - 1
    assert "Stopped early" in capsys.readouterr().out
    best = result.history[record["best_epoch"] - 1]
    assert result.metrics["validation_loss"] == pytest.approx(best["validation_loss"], rel=1e-3)
    assert result.metrics["validation_loss"] != pytest.approx(
        result.history[-1]["validation_loss"], rel=1e-3
    )


def test_a_loss_that_is_no_number_says_which_rates_to_lower(job, monkeypatch, tmp_path):
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional,
        "cross_entropy",
        lambda *args, **options: cross_entropy(*args, **options) * math.nan,
    )
    with pytest.raises(StepError, match=r"no number any more in epoch 1: lower learning_rate"):
        job()
    assert not (tmp_path / "model").exists()


def test_a_job_killed_again_and_again_ends_with_the_same_model(
    job, tiny_base_model, tiny_prepared, tmp_path
):
    options = {"average_decay": 0.9, "checkpoint_steps": 1, "lora_dropout": 0.1}
    undisturbed, expected = job("undisturbed", **options)
    model, checkpoints = tmp_path / "model", tmp_path / "checkpoints"
    arguments = (arguments_of(tiny_base_model) | options, tiny_prepared, model, checkpoints)
    moments = random.Random(1)  # noqa: S311 - when to kill, no secret
    for _ in range(3):
        seen = sorted(checkpoints.glob("step-*"))
        process = processes().Process(target=train_to_the_end, args=arguments)
        process.start()
        while process.is_alive() and sorted(checkpoints.glob("step-*")) == seen:
            time.sleep(0.002)
        process.join(moments.uniform(0, 0.05))
        process.kill()
        process.join()
    process = processes().Process(target=train_to_the_end, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert same(expected, model)
    record = json.loads((model / "training.json").read_text())
    assert record["metrics"] == undisturbed.metrics
    assert record["history"] == undisturbed.history


def test_sigterm_writes_a_checkpoint_and_the_next_run_ends_the_same(
    job, tmp_path, monkeypatch, capsys
):
    undisturbed, expected = job("undisturbed")
    step = loop_module.Loop._step

    def interrupted(self, batch):
        if self._state.steps == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(loop_module.Loop, "_step", interrupted)
        with pytest.raises(SystemExit) as stopped:
            job("model", checkpoints=tmp_path / "checkpoints")
    assert stopped.value.code == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM after step 7" in capsys.readouterr().out
    assert not (tmp_path / "model").exists()
    result, folder = job("model", checkpoints=tmp_path / "checkpoints")
    assert result.resumed_at == 7
    assert same(expected, folder)
    assert result.history == undisturbed.history


def test_sigterm_while_validating_ends_the_job_with_the_epochs_checkpoint(
    job, tmp_path, monkeypatch
):
    def interrupted(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"validation_accuracy": 1.0, "validation_loss": 0.1}

    monkeypatch.setattr(loop_module.Loop, "_validate", interrupted)
    with pytest.raises(SystemExit):
        job(checkpoints=tmp_path / "checkpoints", epochs=1)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_a_damaged_checkpoint_is_passed_over_and_the_result_stays_the_same(job, tmp_path, capsys):
    checkpoints = tmp_path / "checkpoints"
    _, expected = job("undisturbed", checkpoints=checkpoints)
    newest = max(checkpoints.iterdir())
    (newest / "state.safetensors").write_bytes(b"torn")
    result, folder = job("again", checkpoints=checkpoints)
    assert "is damaged" in capsys.readouterr().out
    assert 0 < result.resumed_at < result.steps
    assert same(expected, folder)


def test_a_checkpoint_of_other_data_or_hyperparameters_is_refused(job, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    job(checkpoints=checkpoints, epochs=1)
    with pytest.raises(StepError, match=r"of another training job .*seed was 0 and is 9 now"):
        job(checkpoints=checkpoints, epochs=1, seed=9)


def test_a_finished_job_that_is_started_again_only_writes_its_model(job, tmp_path):
    first, folder = job("model", checkpoints=tmp_path / "checkpoints")
    before = weights(folder)
    second, _ = job("model", checkpoints=tmp_path / "checkpoints")
    assert second.resumed_at == first.steps
    assert second.metrics == first.metrics
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())


def test_a_disk_that_fills_up_at_the_end_leaves_no_half_model(job, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from steps.train import record

    def full(*arguments):
        (tmp_path / ".model.partial").mkdir()
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(record, "save", full)
    with pytest.raises(OSError, match="No space left") as raised:
        job()
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_mounted_model_folder_that_cannot_be_replaced_is_filled_instead(
    job, tmp_path, monkeypatch
):
    (tmp_path / "model" / "encoder").mkdir(parents=True)
    (tmp_path / "model" / "training.json").write_text("old")
    replace = Path.replace

    def mounted(self, target):
        if Path(target).name == "model":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", mounted)
    _, folder = job(epochs=1)
    load(folder)
    assert not (tmp_path / ".model.partial").exists()


def test_refitting_changes_the_weights_but_not_what_was_measured(job):
    held_back, first = job("first")
    refitted, second = job("second", refit=True)
    assert refitted.metrics == held_back.metrics
    assert refitted.rule == held_back.rule
    assert refitted.history == held_back.history
    assert not same(first, second)
    record = json.loads((second / "training.json").read_text())
    assert len(record["refit"]["history"]) == 2, "all epochs: none was stale"


def test_refitting_takes_the_best_epochs_where_training_stopped_early(job):
    result, folder = job(refit=True, epochs=30, patience=1, learning_rate=0.2)
    record = json.loads((folder / "training.json").read_text())
    assert len(result.history) < 30
    assert len(record["refit"]["history"]) == record["best_epoch"] < len(result.history)


def test_the_mean_of_both_trainings_is_what_ships(job):
    _, first = job("first")
    _, second = job("second", refit=True, average_models=False)
    _, mean = job("mean", refit=True)
    one, other = weights(first), weights(second)
    for name, value in weights(mean).items():
        assert torch.allclose(value, (one[name] + other[name]) / 2, atol=1e-6), name


def test_the_second_training_follows_the_firsts_answers_as_far_as_it_is_told(job):
    options = {"refit": True, "average_models": False, "epochs": 8, "patience": 0}
    _, first = job("first", epochs=8, patience=0)
    _, taught = job("taught", distillation=1.0, **options)
    _, untaught = job("untaught", distillation=0.0, **options)
    assert distance(first, taught) < distance(first, untaught)


def test_a_job_stopped_while_refitting_ends_with_the_same_model(job, tmp_path, monkeypatch):
    _, expected = job("undisturbed", refit=True)
    step = loop_module.Loop._step
    calls = 0

    def interrupted(self, batch):
        nonlocal calls
        calls += 1
        if calls == 13:  # ten to choose, then the third of the refit
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(loop_module.Loop, "_step", interrupted)
        with pytest.raises(SystemExit):
            job("model", refit=True, checkpoints=tmp_path / "checkpoints")
    _, folder = job("model", refit=True, checkpoints=tmp_path / "checkpoints")
    assert same(expected, folder)


def test_mlflow_is_told_the_figures_and_how_a_job_ended(job, tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SLM_EXECUTION_ID", "good")
    result, _ = job(epochs=1)
    monkeypatch.setenv("SLM_EXECUTION_ID", "bad")
    with pytest.raises(StepError):
        job(epochs=1, max_length=500)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("slm-edge")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["good"].info.status == "FINISHED"
    assert runs["bad"].info.status == "FAILED"
    metrics = runs["good"].data.metrics
    assert metrics["validation_accuracy"] == result.metrics["validation_accuracy"]
    assert {
        "train_loss", "validation_loss", "out_of_scope_auroc", "seconds", "learning_rate",
    } <= metrics.keys()  # fmt: skip
    assert runs["good"].data.params["epochs"] == "1"


def test_the_result_of_a_job_is_a_frozen_object(job):
    result, _ = job(epochs=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.steps = 0
