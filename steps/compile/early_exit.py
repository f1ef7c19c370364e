"""Lets clear utterances leave before the encoder's first layer.

Most of what people say to a device is easy: the words themselves give it away. A second head on the
embeddings imitates the logits of the whole model; where its best intent is clearly ahead of the
next and its energy clearly that of an utterance in scope, its answer stands and no layer is
computed (an early exit as in DeeBERT, Xin et al., 2020, arXiv:2004.12993, at the earliest place).
All of it stands in the graph, as an ``If``: whoever opens the file gets ``logits`` as before, and
one row's answer does not depend on the others of its batch.

The head is a ridge regression, stretched so that it is as confident as the whole model where both
are sure. How clear is enough comes from conformal risk control (Angelopoulos et al., 2022,
arXiv:2208.02814) on labelled rows that the head did not see; ``docs/decisions/0018-early-exit.md``
has what was compared. What it leaves out: more exits than one, and architectures whose attention
blocks were not fused.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.compile import exit_graph
from steps.compile.parity import energy

SAMPLE = 20_000
"""Labelled utterances that the head is fitted to, at most."""
FOLDS = 5
RIDGE = 0.01
"""Of the variance of a feature, which is 1."""
GAINS = np.arange(1.0, 3.01, 0.05)
"""A ridge regression shrinks what it imitates; one of these factors stretches it again."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EarlyExit:
    """A head on the embeddings, and the clearness from which its answer stands."""

    weights: NDArray[np.float32]
    """[features, intents]."""
    bias: NDArray[np.float32]
    margin: float
    """By how much the best logit must exceed the next, and the energy the threshold."""
    threshold: float
    """The energy below which an utterance is out of scope."""
    rows: int
    """Labelled utterances that it was fitted to and chosen on."""
    share: float
    """Of those, the share that leaves early."""
    changed: float
    """Of those, the share whose answer differs from the whole model's."""


@dataclass(frozen=True)
class Graphs:
    """The files that the exit is made from and goes to."""

    float32: Path
    """Fused, in which attention blocks have their own name."""
    int8: Path
    target: Path


def compile_exit(
    graphs: Graphs, rows: Sequence[list[int]], threshold: float, max_changed: float
) -> dict[str, Any]:
    """Write the int8 graph to its target, with an exit where one keeps to ``max_changed``.

    Args:
        graphs: The files.
        rows: Token ids of labelled utterances, out of scope included.
        threshold: The energy below which an utterance is out of scope.
        max_changed: The share of all answers that may change, in expectation; 0 for no exit.

    Returns:
        What stands in ``compilation.json``: ``share`` is 0 where none leaves early, and ``note``
        says why.
    """
    layers = exit_graph.layers(graphs.float32)
    leaving, why = None, ""
    if not max_changed:
        why = "as asked for"
    elif not layers:
        why = "this architecture is not fused"
    else:
        if max_changed * (len(rows) + 1) >= 1:  # with fewer not even a head without a fault could
            features, logits = exit_graph.look(graphs.int8, layers[0], rows)
            leaving = choose(features, logits, threshold, max_changed)
        why = (
            f"{len(rows):,} labelled ones do not prove that leaving early changes at most "
            f"{max_changed:.2%} of the answers"
        )
    if leaving is None:
        shutil.copyfile(graphs.int8, graphs.target)
        note = f"every utterance goes through all layers: {why}"
        return {"share": 0.0, "max_changed": max_changed, "note": note}
    exit_graph.add(graphs.int8, graphs.target, layers[0], leaving)
    return {
        "share": round(leaving.share, 6),
        "changed": round(leaving.changed, 6),
        "max_changed": max_changed,
        "margin": leaving.margin,
        "rows": leaving.rows,
        "note": f"{leaving.share:.1%} of {leaving.rows:,} labelled utterances leave before the "
        f"first of {len(layers)} layers, which changes {leaving.changed:.2%} of the answers",
    }


def choose(
    features: NDArray[np.float32],
    logits: NDArray[np.float32],
    threshold: float,
    max_changed: float,
) -> EarlyExit | None:
    """Fit the head and the clearness from which it may answer.

    Args:
        features: [rows, features], of labelled utterances, out of scope included.
        logits: [rows, intents], of the whole model.
        threshold: The energy below which an utterance is out of scope.
        max_changed: The share of all answers that may change, in expectation.

    Returns:
        None where no margin keeps to ``max_changed``, as with few rows.
    """
    rows, wanted = features.astype(np.float64), logits.astype(np.float64)
    if len(rows) < 2 * FOLDS:
        return None
    head, unseen = _ridge(rows, wanted)
    gain, shift = _stretch(unseen, wanted)
    unseen = gain * unseen + shift
    clearness = np.minimum(_lead(unseen), energy(unseen) - threshold)
    differs = _decision(unseen, threshold) != _decision(wanted, threshold)
    order = np.argsort(-clearness, kind="stable")
    risk = (np.cumsum(differs[order]) + 1) / (len(rows) + 1)
    within = np.flatnonzero((risk <= max_changed) & (clearness[order] >= 0))
    if not len(within):
        return None
    last = int(within[-1])
    weights, bias = head
    return EarlyExit(
        (gain * weights).astype(np.float32),
        (gain * bias + shift).astype(np.float32),
        margin=float(clearness[order[last]]),
        threshold=threshold,
        rows=len(rows),
        share=(last + 1) / len(rows),
        changed=float(differs[order[: last + 1]].sum()) / len(rows),
    )


def _ridge(features: Floats, wanted: Floats) -> tuple[tuple[Floats, Floats], Floats]:
    """The ridge regression from standardised features.

    Returns:
        Weights and bias fitted to all rows, and what those fitted to the other folds say of each.
    """
    mean, spread, middle = features.mean(axis=0), features.std(axis=0) + 1e-6, wanted.mean(axis=0)
    scaled, offset = (features - mean) / spread, wanted - middle
    fold = np.arange(len(scaled)) % FOLDS
    parts = [(scaled[fold == number], offset[fold == number]) for number in range(FOLDS)]
    squares = [own.T @ own for own, _ in parts]
    products = [own.T @ target for own, target in parts]
    square, product = np.sum(squares, axis=0), np.sum(products, axis=0)

    def solve(square: Floats, product: Floats, rows: int) -> Floats:
        steadied = square + RIDGE * rows * np.eye(len(square))
        return np.linalg.solve(steadied, product).astype(np.float64, copy=False)

    unseen = np.empty_like(wanted)
    for number, (own, _) in enumerate(parts):
        others = solve(square - squares[number], product - products[number], len(scaled) - len(own))
        unseen[fold == number] = own @ others + middle
    weights = solve(square, product, len(scaled)) / spread[:, None]
    return (weights, middle - mean @ weights), unseen


def _stretch(unseen: Floats, wanted: Floats) -> tuple[float, float]:
    """Factor and summand with which ``unseen`` is as confident as ``wanted``, and of its energy.

    Of the clearer half of the rows; the factor is that of the least Kullback-Leibler divergence.
    """
    lead = _lead(unseen)
    clear = lead >= np.median(lead)
    found, sure = unseen[clear], wanted[clear]
    target = sure - energy(sure)[:, None]

    def divergence(gain: float) -> float:
        own = gain * found
        return float((np.exp(target) * (target - own + energy(own)[:, None])).sum())

    gain = min((float(gain) for gain in GAINS), key=divergence)
    return gain, float((energy(sure) - energy(gain * found)).mean())


def _lead(logits: Floats) -> Floats:
    best = np.partition(logits, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def _decision(logits: Floats, threshold: float) -> NDArray[np.int64]:
    """The most likely intent of each row, or -1 for out of scope."""
    return np.where(energy(logits) < threshold, -1, logits.argmax(axis=1))
