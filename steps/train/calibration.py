"""Sets what follows training: the temperature and the out-of-scope threshold.

Both come from the validation split (and, for the threshold, the out-of-scope utterances of the
training split, which the model never trained on). Nothing here sees the test split.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FEWEST_OUT_OF_SCOPE = 10
"""Out-of-scope utterances below which a threshold from them would be chance."""
KEPT_SHARE = 0.99
"""Share of in-scope validation utterances that are accepted where the threshold has nothing
else to go by."""
_TEMPERATURES = (0.05, 20.0)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature of the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: In-scope validation rows, [rows, intents].
        labels: Their intents, [rows].

    Returns:
        The temperature, between 0.05 and 20; 1 when there are no rows.
    """
    if not len(labels):
        return 1.0
    logits, labels = logits.double(), labels.long()
    # of the logarithm, so that the temperature stays positive
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], lr=0.5, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits / logarithm.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    temperature = float(logarithm.detach().exp())
    if not np.isfinite(temperature):
        return 1.0
    return float(np.clip(temperature, *_TEMPERATURES))


def energy(logits: Tensor) -> NDArray[np.float64]:
    """logsumexp of raw logits (Liu et al. 2020, arXiv:2010.03759, with the sign turned): higher
    means in scope."""
    return torch.logsumexp(logits.double(), dim=-1).numpy()


def fit_threshold(in_scope: NDArray[np.float64], out_of_scope: NDArray[np.float64]) -> float:
    """The energy below which an utterance is out of scope.

    With at least ``FEWEST_OUT_OF_SCOPE`` out-of-scope utterances it is the threshold with the
    greatest Youden's J, the share of in-scope accepted minus the share of out-of-scope accepted,
    which does not depend on how many there are of each; the middle of the gap between two
    neighbouring energies, the lower one of equals. With fewer, it is the energy that
    ``KEPT_SHARE`` of the in-scope utterances exceed. Without in-scope rows nothing is rejected.
    """
    if not len(in_scope):
        return float("-inf")
    if len(out_of_scope) < FEWEST_OUT_OF_SCOPE:
        return float(np.quantile(in_scope, 1 - KEPT_SHARE))
    energies = np.unique(np.concatenate([in_scope, out_of_scope]))
    middles = (energies[1:] + energies[:-1]) / 2
    candidates = np.concatenate([energies[:1], middles])
    accepted = 1 - np.searchsorted(np.sort(in_scope), candidates) / len(in_scope)
    let_through = 1 - np.searchsorted(np.sort(out_of_scope), candidates) / len(out_of_scope)
    return float(candidates[int(np.argmax(accepted - let_through))])


def threshold_rule(in_scope_rows: int, out_of_scope_rows: int) -> str:
    """In words, how :func:`fit_threshold` chose, for the record."""
    if not in_scope_rows:
        return "none: no validation rows, nothing is rejected"
    if out_of_scope_rows < FEWEST_OUT_OF_SCOPE:
        return f"{KEPT_SHARE:.0%} of in-scope validation rows accepted"
    return "greatest Youden's J of in-scope validation rows against out-of-scope rows"


def auroc(in_scope: NDArray[np.float64], out_of_scope: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve of energy as the sign of being in scope; ties count half.

    Returns:
        The area, or None when one of the two is empty.
    """
    if not len(in_scope) or not len(out_of_scope):
        return None
    ordered = np.sort(out_of_scope)
    below = np.searchsorted(ordered, in_scope, side="left")
    not_above = np.searchsorted(ordered, in_scope, side="right")
    return float((below + not_above).mean() / 2 / len(out_of_scope))
