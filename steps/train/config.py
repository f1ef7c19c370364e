"""The hyperparameters of *train*: their names, defaults and rules, all in this one place.

SageMaker hands every hyperparameter over as a string; :func:`decode` turns them into a
:class:`TrainingConfig` and refuses what is unknown or out of range in one sentence. What it
leaves out: where the job's folders are (steps/contract.py), and anything about hosts.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from steps.contract import StepError, read_json

FineTuning = Literal["lora", "qlora", "full"]
Precision = Literal["auto", "bf16", "fp32"]
Schedule = Literal["cosine", "linear", "constant"]

_ADAPTER_LEARNING_RATE = 1e-3
_FULL_LEARNING_RATE = 5e-5


@dataclass(frozen=True)
class TrainingConfig:
    """Everything about a training job that a user may choose."""

    base_model: str = "all-MiniLM-L6-v2"
    """A folder, a bundled model's name or a hub repository; the channel ``base-model`` wins
    over the latter two."""

    fine_tuning: FineTuning = "lora"
    """``lora``: an adapter on every linear layer. ``qlora``: the same over 4-bit weights, on a
    CUDA GPU with bitsandbytes. ``full``: all weights."""

    epochs: int = 4
    """Passes over the training rows, at most; see ``patience``."""

    learning_rate: float = 0.0
    """Peak rate of the encoder or its adapter; 0 takes the method's own: 1e-3 for an adapter,
    5e-5 for all weights."""

    head_learning_rate: float = 1e-2
    """Peak rate of the head, which starts from class centroids."""

    batch_size: int = 16
    """Utterances in one optimizer step, over all processes and accumulated parts: neither more
    processes nor more parts change the result."""

    gradient_accumulation: int = 1
    """Parts in which a process works through its share of a batch; more parts, less memory."""

    lora_rank: int = 16
    """Rank of the adapter's matrices."""

    lora_alpha: float = 32.0
    """Scale of the adapter: alpha / rank, or alpha / sqrt(rank) with ``use_rslora``."""

    lora_dropout: float = 0.0
    """Dropout on what enters the adapter."""

    use_rslora: bool = False
    """Rank-stabilised scale of the adapter (Kalajdzievski 2023, arXiv:2312.03732)."""

    use_dora: bool = False
    """Weight-decomposed adapter (Liu et al. 2024, arXiv:2402.09353): slower, at times better."""

    label_smoothing: float = 0.0
    """Share of the target that is spread over all intents."""

    schedule: Schedule = "cosine"
    """How the learning rates fall to zero after warm-up."""

    warmup_share: float = 0.1
    """Share of all steps over which the learning rates rise from zero."""

    weight_decay: float = 0.01
    """Decoupled decay of matrices; biases and norms are not decayed."""

    clip_norm: float = 1.0
    """Longest gradient, as a norm over all trained tensors; 0 never clips."""

    average_decay: float = 0.995
    """Decay per step of an exponential moving average of the trained weights, which is then
    what is validated and kept; 0 keeps the last weights themselves."""

    patience: int = 2
    """Epochs without a better validation after which training stops; 0 never stops early."""

    refit: bool = True
    """Whether to train again, from the base model and for as many epochs, with the
    validation rows in training; temperature and threshold are those chosen before."""

    distillation: float = 0.5
    """When training again: the share of the loss that follows the first model's answers instead of
    the labels (Furlanello et al. 2018, arXiv:1805.04770); 0 follows the labels alone."""

    distillation_temperature: float = 2.0
    """What both models' logits are divided by before their answers are compared."""

    average_models: bool = True
    """Whether to ship the mean of both models' weights (Wortsman et al. 2022, arXiv:2203.05482);
    never with ``use_dora``, whose adapters have no mean."""

    head_scale: float = 20.0
    """Length of the head's rows at the start; logits are this times a cosine."""

    centroid_examples: int = 64
    """Utterances per intent that are averaged into the head's start; 0 takes all."""

    max_length: int = 64
    """Longest input in tokens, special tokens included."""

    seed: int = 0
    """Decides the order of rows, the adapter's start and dropout."""

    precision: Precision = "auto"
    """``auto`` takes bf16 where the processor computes in it natively, fp32 elsewhere."""

    checkpoint_steps: int = 100
    """Optimizer steps between checkpoints; one is also written after every epoch."""

    processes_per_host: int = 0
    """Training processes on each host; 0 takes one a GPU, or one where there is none."""

    @property
    def encoder_learning_rate(self) -> float:
        if self.learning_rate > 0:
            return self.learning_rate
        return _FULL_LEARNING_RATE if self.fine_tuning == "full" else _ADAPTER_LEARNING_RATE

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            rule = _RULES.get(field.name)
            value = getattr(self, field.name)
            if rule is not None and not rule[0](value):
                raise StepError(_refusal(field.name, value, rule[1]))
        if self.gradient_accumulation > self.batch_size:
            raise StepError(
                f"The hyperparameter gradient_accumulation is {self.gradient_accumulation}, more "
                f"than the {self.batch_size} utterances of batch_size: lower it."
            )
        if self.use_dora and self.fine_tuning == "full":
            raise StepError(
                "The hyperparameter use_dora is true, but fine_tuning is 'full', which has no "
                "adapter: set fine_tuning to lora or qlora."
            )

    def decides_result(self) -> dict[str, Any]:
        """The fields that the trained weights depend on; a checkpoint of others is not ours."""
        neutral = {"checkpoint_steps", "processes_per_host", "gradient_accumulation"}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in neutral}


_Rule = tuple[Callable[[Any], bool], str]
_POSITIVE: _Rule = (lambda value: value >= 1, "must be at least 1")
_NOT_NEGATIVE: _Rule = (lambda value: value >= 0, "must not be negative")
_ABOVE_ZERO: _Rule = (lambda value: value > 0, "must be above 0")
_SHARE: _Rule = (lambda value: 0 <= value < 1, "must be at least 0 and below 1")

_RULES: dict[str, _Rule] = {
    "base_model": (lambda value: bool(value.strip()), "must not be empty"),
    "epochs": _POSITIVE,
    "learning_rate": (lambda value: 0 <= value <= 1, "must lie between 0 and 1"),
    "head_learning_rate": (lambda value: 0 < value <= 1, "must be above 0 and at most 1"),
    "batch_size": _POSITIVE,
    "gradient_accumulation": _POSITIVE,
    "lora_rank": _POSITIVE,
    "lora_alpha": _ABOVE_ZERO,
    "lora_dropout": _SHARE,
    "label_smoothing": _SHARE,
    "warmup_share": _SHARE,
    "weight_decay": _NOT_NEGATIVE,
    "clip_norm": _NOT_NEGATIVE,
    "average_decay": _SHARE,
    "patience": _NOT_NEGATIVE,
    "distillation": (lambda value: 0 <= value <= 1, "must lie between 0 and 1"),
    "distillation_temperature": _ABOVE_ZERO,
    "head_scale": _ABOVE_ZERO,
    "centroid_examples": _NOT_NEGATIVE,
    "max_length": (lambda value: value >= 4, "must be at least 4"),
    "seed": (lambda value: 0 <= value < 2**32, "must lie between 0 and 4294967295"),
    "checkpoint_steps": _POSITIVE,
    "processes_per_host": _NOT_NEGATIVE,
}


def read_config(path: Path) -> TrainingConfig:
    """The hyperparameters of a training job; a missing file means all defaults.

    Raises:
        StepError: A key is unknown, or a value breaks its rule.
    """
    if not path.exists():
        return TrainingConfig()
    values = read_json(path, "The hyperparameters of the training job")
    if not isinstance(values, dict):
        raise StepError(f"{path} must hold a JSON object of hyperparameters.")
    return decode(values)


def decode(values: Mapping[str, Any]) -> TrainingConfig:
    """Turn SageMaker's string hyperparameters into a checked config.

    Keys that SageMaker's own tools add (``sagemaker_*``, ``_tuning_*``) are passed over.
    """
    kinds = get_type_hints(TrainingConfig)
    decoded: dict[str, Any] = {}
    for key, value in values.items():
        if key.startswith(("sagemaker_", "_")):
            continue
        if key not in kinds:
            raise StepError(
                f"There is no hyperparameter {key!r}: choose from {', '.join(sorted(kinds))}."
            )
        decoded[key] = _decode_one(key, value, kinds[key])
    return TrainingConfig(**decoded)


def _decode_one(key: str, value: Any, kind: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) >= 2 and text[0] == text[-1] == '"':  # some SDKs encode each value as JSON
        text = text[1:-1]
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if text not in choices:
            raise StepError(_refusal(key, text, f"must be one of {', '.join(choices)}"))
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise StepError(_refusal(key, text, "must be true or false"))
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        rule = "must be a whole number" if kind is int else "must be a number"
        raise StepError(_refusal(key, text, rule))
    return number


def _refusal(key: str, value: Any, rule: str) -> str:
    return f"The hyperparameter {key} is {value!r} but {rule}."
