"""Trains an intent classifier: from prepared rows to a model folder, in one pure function.

The plot: look at the base model, read the rows, start the head from class centroids, train, merge
the adapter, set temperature and threshold on the validation split, train again on the validation
rows as well (docs/decisions/0005-train-again-on-all-labelled-rows.md), write. It leaves out the
container (``__main__.py``), several processes (launch.py) and everything about the test split.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from steps.base_model import find_base_model
from steps.intent_model import DecisionRule
from steps.train.averaging import mean_adapter, mean_model
from steps.train.calibration import energy, fit_temperature, fit_threshold, threshold_rule
from steps.train.checkpoint import CheckpointFolder
from steps.train.config import TrainingConfig
from steps.train.data import PreparedData, join, read_prepared
from steps.train.group import Group
from steps.train.head import start_head
from steps.train.inference import Figures, figures_of, logits_of_rows
from steps.train.loop import Loop, OnEpoch, Outcome
from steps.train.model import (
    BaseModel,
    build_model,
    choose_precision,
    merged,
    open_base_model,
)
from steps.train.progress import duration
from steps.train.record import TrainedModel, write_model
from steps.train.tracking import Tracker, open_tracker


@dataclass(frozen=True)
class TrainingFolders:
    """Where a training job reads and writes."""

    prepared: Path
    model: Path
    base_model: Path | None = None
    """The channel ``base-model``; it may be missing."""
    checkpoints: Path | None = None
    """None keeps no checkpoints."""


@dataclass(frozen=True)
class TrainingResult:
    """What a job came to; the model itself lies in its folder."""

    metrics: dict[str, float]
    """On the validation split, of the merged model that was written."""
    history: list[dict[str, float]]
    rule: DecisionRule
    steps: int
    resumed_at: int
    seconds: float


def train(
    config: TrainingConfig, folders: TrainingFolders, group: Group | None = None
) -> TrainingResult:
    """Train on ``folders.prepared`` and write ``folders.model``.

    The same configuration, data, base model and number of processes give the same weights.

    Args:
        config: The hyperparameters.
        folders: Where to read and write.
        group: The processes that train together; None trains alone.

    Raises:
        StepError: The input, the base model or the checkpoints cannot be used.
        SystemExit: SIGTERM arrived while training; a checkpoint was written.
    """
    group = group or Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    say: Callable[[str], None] = (lambda text: print(text, flush=True)) if group.leads else _silent
    tracker = open_tracker(say) if group.leads else None
    try:
        result = _train(config, folders, group, say, tracker)
    except BaseException as error:
        if tracker is not None:
            tracker.close(
                "KILLED" if isinstance(error, SystemExit | KeyboardInterrupt) else "FAILED"
            )
        raise
    if tracker is not None:
        tracker.close()
    return result


def _silent(text: str) -> None:
    pass


def _train(
    config: TrainingConfig,
    folders: TrainingFolders,
    group: Group,
    say: Callable[[str], None],
    tracker: Tracker | None,
) -> TrainingResult:
    began = time.monotonic()
    base = open_base_model(
        find_base_model(config.base_model, folders.base_model), config.max_length
    )
    data = read_prepared(folders.prepared, base.tokenizer, base.tokenizer_sha256, config.max_length)
    dtype = choose_precision(config.precision, group.device)
    say(_opening(config, data, group, dtype))
    if tracker is not None:
        tracker.params(dataclasses.asdict(config) | {"dataset_sha256": data.dataset_sha256})

    chosen = _run_loop(
        _Phase("", config, data, _reporter(tracker, config, began)),
        folders, base, group, dtype, say,
    )  # fmt: skip
    outcome = chosen.outcome
    refitted = None
    if config.refit and len(data.validation):
        phase = _second_phase(config, data, outcome, base, group)
        say(
            f"Training again, {phase.config.epochs} epochs on the {len(data.validation)} "
            "validation utterances as well; temperature and threshold stay as they were chosen "
            "without them."
        )
        refitted = _run_loop(phase, folders, base, group, dtype, say).outcome
    if not group.leads:
        return TrainingResult(
            {}, outcome.history, DecisionRule(data.intents), outcome.steps, 0, 0.0
        )
    trained, metrics = _merge_and_calibrate(base, config, data, outcome, group)
    if refitted is not None:
        trained = _with_weights_of(trained, base, config, refitted)
    seconds = time.monotonic() - began
    metrics_and_time = {"metrics": metrics, "seconds": round(seconds, 3)}
    write_model(
        dataclasses.replace(trained, record=trained.record | metrics_and_time), folders.model
    )
    if tracker is not None:
        tracker.metrics(metrics | {"seconds": seconds}, outcome.steps)
    say(_closing(outcome, trained.rule, metrics, seconds))
    return TrainingResult(
        metrics, outcome.history, trained.rule, outcome.steps, chosen.resumed_at, seconds
    )


@dataclass(frozen=True)
class _Phase:
    """One pass of training from the base model: to choose, or again on all labelled rows."""

    folder: str
    """Of its checkpoints, below those of the job: the two never take up each other's."""
    config: TrainingConfig
    data: PreparedData
    on_epoch: OnEpoch | None
    teacher: Tensor | None = None
    """Another model's logits of the training rows, to learn from beside the labels."""


@dataclass(frozen=True)
class _Trained:
    outcome: Outcome
    resumed_at: int


def _run_loop(
    phase: _Phase,
    folders: TrainingFolders,
    base: BaseModel,
    group: Group,
    dtype: torch.dtype,
    say: Callable[[str], None],
) -> _Trained:
    """Start the head, or take up a checkpoint, and train to the end."""
    model = build_model(base, phase.config, len(phase.data.intents), group.device, dtype)
    checkpoints = _checkpoints(phase, folders, base, say)
    loop = Loop(
        model, phase.data, phase.config, group, dtype, checkpoints, phase.on_epoch, phase.teacher
    )
    resumed_at = loop.resume()
    if not resumed_at:
        start_head(model, phase.data.train, phase.config, group, dtype)
    return _Trained(loop.run(), resumed_at)


def _second_phase(
    config: TrainingConfig, data: PreparedData, first: Outcome, base: BaseModel, group: Group
) -> _Phase:
    """Training anew, from another start, on all rows, with the first model as a teacher."""
    everything = data.with_validation_in_train()
    stopped_early = len(first.history) < config.epochs
    # the rates fall to zero over all epochs, so fewer are another, worse schedule
    epochs = first.best_epoch + 1 if stopped_early else config.epochs
    again = dataclasses.replace(config, epochs=epochs, seed=(config.seed + 1) % 2**32)
    if not config.distillation:
        return _Phase("refit", again, everything, None)
    model, _ = merged(base, config, first.tensors)
    teacher = logits_of_rows(model.to(group.device), everything.train, group, torch.float32)
    return _Phase("refit", again, everything, None, teacher)


def _with_weights_of(
    trained: TrainedModel, base: BaseModel, config: TrainingConfig, refitted: Outcome
) -> TrainedModel:
    """``trained`` with the weights that saw the validation rows, too, or the mean of both."""
    model, adapter = merged(base, config, refitted.tensors)
    if config.average_models and not config.use_dora:
        model = mean_model(trained.model, model.cpu())
        if trained.adapter is not None and adapter is not None:
            adapter = mean_adapter(trained.adapter, adapter)
    record = trained.record | {"refit": {"steps": refitted.steps, "history": refitted.history}}
    return dataclasses.replace(trained, model=model.cpu(), adapter=adapter, record=record)


def _checkpoints(
    phase: _Phase, folders: TrainingFolders, base: BaseModel, say: Callable[[str], None]
) -> CheckpointFolder | None:
    if folders.checkpoints is None:
        return None
    owner = phase.config.decides_result() | {
        "dataset_sha256": phase.data.dataset_sha256,
        "base_model_sha256": base.weights_sha256(),
    }
    # a folder or a name, the weights' sum says which base model it is
    del owner["base_model"]
    return CheckpointFolder(folders.checkpoints / phase.folder, owner, say)


def _reporter(tracker: Tracker | None, config: TrainingConfig, began: float) -> OnEpoch | None:
    if tracker is None:
        return None

    def report(epoch: int, steps: int, figures: Figures) -> None:
        tracker.metrics(figures | {"seconds": time.monotonic() - began}, steps)

    return report


def _merge_and_calibrate(
    base: BaseModel, config: TrainingConfig, data: PreparedData, outcome: Outcome, group: Group
) -> tuple[TrainedModel, Figures]:
    """The model that ships, and its figures on the validation split as it ships: in float32."""
    model, adapter = merged(base, config, outcome.tensors)
    alone = Group(device=group.device)
    rows = join(data.validation, data.out_of_scope)
    logits = logits_of_rows(model.to(group.device), rows, alone, torch.float32)
    inside, outside = logits[: len(data.validation)], logits[len(data.validation) :]
    figures = figures_of(inside, torch.from_numpy(data.validation.labels), outside)
    rule = DecisionRule(
        intents=data.intents,
        temperature=fit_temperature(inside, torch.from_numpy(data.validation.labels)),
        energy_threshold=fit_threshold(energy(inside), energy(outside)),
        max_length=config.max_length,
    )
    record = {
        "pooling": base.pooling,
        "base_model": config.base_model,
        "dataset_sha256": data.dataset_sha256,
        "hyperparameters": dataclasses.asdict(config)
        | {"learning_rate": config.encoder_learning_rate},
        "parameters": sum(value.numel() for value in model.parameters()),
        "trained_parameters": sum(value.numel() for value in outcome.tensors.values()),
        "history": outcome.history,
        "best_epoch": outcome.best_epoch + 1,
        "steps": outcome.steps,
        "processes": group.world,
        "validation": {
            "in_scope_rows": len(data.validation),
            "out_of_scope_rows": len(data.out_of_scope),
            "threshold_rule": threshold_rule(len(inside), len(outside)),
        },
    }
    return TrainedModel(model.cpu(), adapter, base.tokenizer, rule, record), figures


def _opening(config: TrainingConfig, data: PreparedData, group: Group, dtype: torch.dtype) -> str:
    where = "a GPU" if group.device.type == "cuda" else "the CPU"
    processes = "" if group.world == 1 else f" in {group.world} processes"
    again = (
        "\nThe prepared token ids are of another tokenizer or length: tokenized the texts again."
        if data.retokenized
        else ""
    )
    return (
        f"Training {config.base_model} ({config.fine_tuning}, {str(dtype)[6:]}, on {where}"
        f"{processes}): {len(data.train)} utterances of {len(data.intents)} intents, "
        f"{len(data.validation)} to validate on, {len(data.out_of_scope)} out of scope.{again}"
    )


def _closing(outcome: Outcome, rule: DecisionRule, metrics: Figures, seconds: float) -> str:
    shown = " ".join(f"{name}={value:.4f}" for name, value in metrics.items())
    best = f"epoch {outcome.best_epoch + 1}" if outcome.best_epoch >= 0 else "the last step"
    return (
        f"Trained in {duration(seconds)}; kept {best}. {shown} temperature={rule.temperature:.4f} "
        f"energy_threshold={rule.energy_threshold:.4f}"
    )
