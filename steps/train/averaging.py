"""The mean of two models that were trained from one base model, and the adapter that gives it.

Two adapters side by side, each at half its strength, add to the base model exactly the mean of
what each would add. What it leaves out: DoRA, whose adapters scale the base model's weights, too.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from steps.intent_model import IntentModel
from steps.train.model import Adapter


@torch.no_grad()
def mean_model(first: IntentModel, second: IntentModel) -> IntentModel:
    """A model like both, with the mean of their weights; both are left as they are."""
    mean = copy.deepcopy(first)
    others = second.state_dict()
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(others[name], 0.5)
    return mean


def mean_adapter(first: Adapter, second: Adapter) -> Adapter:
    """One adapter of twice the rank that stands for the mean of two of the same shape."""
    tensors: dict[str, Tensor] = {}
    for name, value in first.tensors.items():
        other = second.tensors[name]
        if ".lora_B." in name:  # [out, rank]
            tensors[name] = torch.cat([value, other], dim=1) / 2
        else:  # lora_A: [rank, in]
            tensors[name] = torch.cat([value, other])
    config = copy.deepcopy(first.config)
    config.r *= 2
    # the scale, alpha / rank or alpha / sqrt(rank), stays what it was
    config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2
    return Adapter(config, tensors)
