"""The optimizer: two learning rates, which parts decay, and how the rates go over time.

What it leaves out: taking steps (loop.py).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from steps.train.config import TrainingConfig


def make_optimizer(trained: dict[str, nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with a rate for the head and one for the rest; only matrices decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in trained.items():
        peak = config.head_learning_rate if name.startswith("head.") else 0.0
        peak = peak or config.encoder_learning_rate
        decay = config.weight_decay if value.ndim > 1 else 0.0
        groups.setdefault((peak, decay), []).append(value)
    return torch.optim.AdamW(
        [
            {"params": values, "peak_lr": peak, "weight_decay": decay}
            for (peak, decay), values in groups.items()
        ],
        fused=True,  # one kernel for the adapter's many small tensors
    )


def rate_share(step: int, total: int, config: TrainingConfig) -> float:
    """The share of the peak learning rates that step number ``step`` of ``total`` is taken with.

    It rises linearly over the first ``warmup_share`` of all steps, then follows ``schedule``.
    """
    warmup = round(total * config.warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    return 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def set_learning_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group of parameters ``share`` of its peak rate."""
    for parameters in optimizer.param_groups:
        parameters["lr"] = parameters["peak_lr"] * share
