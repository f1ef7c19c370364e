"""Embeddings and logits of many rows, shared among the processes, and the figures from them.

Used by the head's start, by validation and after training. What it leaves out: gradients.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steps.intent_model import IntentModel
from steps.train.calibration import auroc, energy
from steps.train.data import Rows, walk_by_length
from steps.train.group import Group
from steps.train.model import computing_in

_BATCH = 64

Figures = dict[str, float]


@torch.inference_mode()
def embeddings_of_rows(
    model: IntentModel, rows: Rows, group: Group, dtype: torch.dtype
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """This process's share of ``rows``: row numbers and embeddings, batch by batch."""
    model.eval()
    for chosen in walk_by_length(rows.lengths, _BATCH, group.rank, group.world):
        ids, mask, _ = rows.batch(chosen)
        with computing_in(dtype, group.device):
            embeddings = model.embed(ids.to(group.device), mask.to(group.device))
        yield chosen, embeddings


@torch.inference_mode()
def logits_of_rows(model: IntentModel, rows: Rows, group: Group, dtype: torch.dtype) -> Tensor:
    """Logits [rows, intents], float32 on the CPU, the same in every process."""
    logits = torch.zeros(len(rows), model.head.out_features, device=group.device)
    for chosen, embeddings in embeddings_of_rows(model, rows, group, dtype):
        logits[torch.from_numpy(chosen).to(group.device)] = model.head(embeddings)
    return group.sum_(logits).cpu()


def figures_of(in_scope: Tensor, labels: Tensor, out_of_scope: Tensor) -> Figures:
    """Accuracy and loss of in-scope logits, and how well energy tells out-of-scope ones apart.

    What cannot be measured, for want of rows, is left out.
    """
    if not len(in_scope):
        return {}
    figures = {
        "validation_accuracy": float((in_scope.argmax(1) == labels).double().mean()),
        "validation_loss": float(nn.functional.cross_entropy(in_scope, labels)),
    }
    area = auroc(energy(in_scope), energy(out_of_scope))
    return figures if area is None else figures | {"out_of_scope_auroc": area}
