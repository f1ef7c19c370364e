"""Learning rates: which tensors get which, and how they go over time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from steps.train.config import TrainingConfig
from steps.train.optimizer import make_optimizer, rate_share, set_learning_rates


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_rises_during_warmup_and_falls_to_nearly_zero(schedule):
    config = TrainingConfig(warmup_share=0.1, schedule=schedule)
    shares = [rate_share(step, 100, config) for step in range(100)]
    assert 0 < shares[0] < 0.1
    assert shares[:10] == sorted(shares[:10])
    assert shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 0.02


def test_a_constant_rate_only_warms_up():
    config = TrainingConfig(warmup_share=0.1, schedule="constant")
    assert {rate_share(step, 100, config) for step in range(10, 100)} == {1.0}


def test_the_head_has_a_rate_of_its_own_and_only_matrices_decay():
    config = TrainingConfig(learning_rate=0.001, head_learning_rate=0.01, weight_decay=0.1)
    tensors = {
        "encoder.weight": nn.Parameter(torch.zeros(2, 2)),
        "encoder.bias": nn.Parameter(torch.zeros(2)),
        "head.weight": nn.Parameter(torch.zeros(2, 2)),
    }
    optimizer = make_optimizer(tensors, config)
    found = {(g["peak_lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert found == {(0.001, 0.1), (0.001, 0.0), (0.01, 0.1)}
    set_learning_rates(optimizer, 0.5)
    assert sorted(g["lr"] for g in optimizer.param_groups) == [0.0005, 0.0005, 0.005]
