"""The head's start: one row an intent, pointing at the middle of that intent's utterances.

Logits then are cosines to class centroids times ``head_scale``: a nearest-centroid classifier
before anything is trained (Snell et al. 2017, arXiv:1703.05175, with cosines), which spares the
epochs that a head of random rows needs (on CLINC150 it starts at about 92 %
of validation utterances, with nothing trained).
"""

from __future__ import annotations

import torch
from torch import nn

from steps.intent_model import IntentModel
from steps.train.config import TrainingConfig
from steps.train.data import Rows, sample_per_class
from steps.train.group import Group
from steps.train.inference import embeddings_of_rows


@torch.no_grad()
def start_head(
    model: IntentModel, rows: Rows, config: TrainingConfig, group: Group, dtype: torch.dtype
) -> None:
    """Set the head to ``head_scale`` times each intent's unit-length centroid, the bias to zero.

    Args:
        model: With a head of one row an intent.
        rows: In-scope training rows; of each intent ``centroid_examples`` are looked at.
        config: The hyperparameters.
        group: The processes that share the work.
        dtype: The type to multiply matrices in.
    """
    rows = rows.select(sample_per_class(rows.labels, config.centroid_examples, config.seed))
    sums = torch.zeros_like(model.head.weight)
    for chosen, embeddings in embeddings_of_rows(model, rows, group, dtype):
        labels = torch.from_numpy(rows.labels[chosen]).to(group.device)
        sums.index_add_(0, labels, embeddings)
    group.sum_(sums)
    model.head.weight.copy_(config.head_scale * nn.functional.normalize(sums, dim=-1))
    model.head.bias.zero_()
