"""Lets clear utterances leave the encoder early.

Most of what people say to a device is easy: the first layer of the encoder knows it already. A
second head behind that layer imitates the logits of the whole model; where its best intent is
clearly ahead of the next and its energy clearly that of an utterance in scope, its answer stands
and the other layers are not computed (DeeBERT, Xin et al., 2020, arXiv:2004.12993). All of it
stands in the graph, as an ``If``: whoever opens the file gets ``logits`` as before, and one row's
answer does not depend on the others of its batch.

The head is a ridge regression, stretched so that it is as confident as the whole model where both
are sure. How clear is enough comes from conformal risk control
(Angelopoulos et al., 2022, arXiv:2208.02814) on labelled rows that the head did not see: in
expectation, at most the share that is asked for of all answers change. What it leaves out: more
exits than one, and architectures whose attention blocks were not fused
(``docs/decisions/0018-early-exit.md``).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steps.compile.parity import energy

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

AFTER = 1
"""Layers before the exit. A second layer lets more utterances leave, but costs all of them more."""
FEWEST_LAYERS = 3
"""Encoders of fewer layers have nothing to save."""
SAMPLE = 20_000
"""Labelled utterances that the head is fitted to, at most."""
FOLDS = 5
RIDGE = 0.01
"""Of the variance of a feature, which is 1."""
GAINS = np.arange(1.0, 3.01, 0.05)
"""A ridge regression shrinks what it imitates; one of these factors stretches it again."""
EARLY = "early"
"""The graph's second output, [batch]: which rows left early."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EarlyExit:
    """A head behind layer ``AFTER``, and the clearness from which its answer stands."""

    weights: NDArray[np.float32]
    """[features, intents]; features are the mean, the highest and the lowest value over the
    tokens, each scaled to length 1."""
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
    layers = boundaries(graphs.float32)
    leaving = None
    if not max_changed:
        note = "every utterance goes through all layers, as asked for"
    elif len(layers) < FEWEST_LAYERS:
        note = f"every utterance goes through all layers: there are {len(layers)} to leave early"
    else:
        leaving = choose(*look(graphs.int8, layers[AFTER], rows), threshold, max_changed)
        note = (
            f"every utterance goes through all layers: {len(rows):,} labelled ones are too few to "
            f"let one leave early and change at most {max_changed:.2%} of the answers"
        )
    if leaving is None:
        shutil.copyfile(graphs.int8, graphs.target)
        return {"share": 0.0, "max_changed": max_changed, "note": note}
    add(graphs.int8, graphs.target, layers[AFTER], leaving)
    return {
        "after_layers": AFTER,
        "layers": len(layers),
        "share": round(leaving.share, 6),
        "changed": round(leaving.changed, 6),
        "max_changed": max_changed,
        "margin": leaving.margin,
        "rows": leaving.rows,
        "note": f"{leaving.share:.1%} of {leaving.rows:,} labelled utterances leave after layer "
        f"{AFTER} of {len(layers)}, which changes {leaving.changed:.2%} of the answers",
    }


def boundaries(graph: Path) -> list[str]:
    """What goes into each fused attention block of a float32 graph: the output of the layers
    before it."""
    import onnx

    nodes = onnx.load(str(graph)).graph.node
    return [node.input[0] for node in nodes if node.op_type == "Attention"]


def look(
    graph: Path, hidden: str, rows: Sequence[list[int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ask ``graph`` one utterance at a time, which is how the device asks.

    Args:
        graph: A graph of inputs ``input_ids`` and ``attention_mask`` and output ``logits``.
        hidden: The name of the exit's activation, [batch, tokens, width].
        rows: Token ids of each utterance.

    Returns:
        Features, [rows, 3 x width], and logits, [rows, intents].
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    model = onnx.load(str(graph))
    model.graph.output.append(helper.make_tensor_value_info(hidden, TensorProto.FLOAT, None))
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    features, logits = [], []
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        states, answer = map(np.asarray, session.run([hidden, "logits"], asked))
        parts = (states[0].mean(axis=0), states[0].max(axis=0), states[0].min(axis=0))
        features.append(np.concatenate([part / np.linalg.norm(part) for part in parts]))
        logits.append(answer[0])
    return np.stack(features), np.stack(logits)


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
    fold = np.arange(len(rows)) % FOLDS
    unseen = np.empty_like(wanted)
    for number in range(FOLDS):
        weights, bias = _ridge(rows[fold != number], wanted[fold != number])
        unseen[fold == number] = rows[fold == number] @ weights + bias
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
    weights, bias = _ridge(rows, wanted)
    return EarlyExit(
        (gain * weights).astype(np.float32),
        (gain * bias + shift).astype(np.float32),
        margin=float(clearness[order[last]]),
        threshold=threshold,
        rows=len(rows),
        share=(last + 1) / len(rows),
        changed=float(differs[order[: last + 1]].sum()) / len(rows),
    )


def add(source: Path, target: Path, hidden: str, leaving: EarlyExit) -> None:
    """Write ``source`` with the exit at the activation ``hidden`` to ``target``."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph = model.graph
    deep = _descendants(model, hidden)
    shallow = [node for node in graph.node if id(node) not in {id(found) for found in deep}]
    rest = [_copy(node, {"logits": "logits_of_all_layers"}) for node in deep]
    rest.append(
        helper.make_node(
            "Where", ["early_row", "early_logits", "logits_of_all_layers"], ["late_logits"]
        )
    )
    short = [helper.make_node("Identity", ["early_logits"], ["kept_logits"])]
    intents = len(leaving.bias)
    choice = helper.make_node("If", ["all_early"], ["logits"], "early_exit")
    for name, branch, output in (
        ("then_branch", short, "kept_logits"),
        ("else_branch", rest, "late_logits"),
    ):
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", intents])
        body = helper.make_graph(branch, name, [], [result])
        choice.attribute.append(helper.make_attribute(name, body))
    nodes = [_copy(node, {}) for node in shallow]
    nodes += _exit_nodes(model, hidden, leaving)
    nodes.append(choice)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(EARLY, TensorProto.BOOL, ["batch"]))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _exit_nodes(model: ModelProto, hidden: str, leaving: EarlyExit) -> list[NodeProto]:
    """The second head: ``hidden`` to ``early_logits``, ``early_row`` and ``all_early``."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any, kind: type) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    weights = constant("early_weights", leaving.weights, np.float32)
    bias = constant("early_bias", leaving.bias, np.float32)
    margin = constant("early_margin", leaving.margin, np.float32)
    threshold = constant("early_threshold", leaving.threshold, np.float32)
    tokens = constant("early_axis_of_tokens", [1], np.int64)
    last = constant("early_last_axis", [2], np.int64)
    two = constant("early_two", [2], np.int64)
    far = constant("early_far", 1e4, np.float32)
    one = constant("early_one", 1, np.float32)
    node = helper.make_node
    nodes = [
        node("Cast", ["attention_mask"], ["early_mask_flat"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["early_mask_flat", last], ["early_mask"]),
        node("Mul", [hidden, "early_mask"], ["early_kept"]),
        node("ReduceSum", ["early_kept", tokens], ["early_sum"], keepdims=0),
        node("Sub", ["early_mask", one], ["early_gap"]),
        node("Mul", ["early_gap", far], ["early_far_below"]),
        node("Add", [hidden, "early_far_below"], ["early_padding_below"]),
        node("ReduceMax", ["early_padding_below"], ["early_highest"], axes=[1], keepdims=0),
        node("Sub", [hidden, "early_far_below"], ["early_padding_above"]),
        node("ReduceMin", ["early_padding_above"], ["early_lowest"], axes=[1], keepdims=0),
    ]
    parts = ("early_sum", "early_highest", "early_lowest")
    for part in parts:
        nodes += [
            node("ReduceL2", [part], [f"{part}_length"], axes=[1], keepdims=1),
            node("Div", [part, f"{part}_length"], [f"{part}_unit"]),
        ]
    return [
        *nodes,
        node("Concat", [f"{part}_unit" for part in parts], ["early_features"], axis=1),
        node("Gemm", ["early_features", weights, bias], ["early_logits"]),
        node("TopK", ["early_logits", two], ["early_best", "early_places"], axis=1),
        node("Split", ["early_best"], ["early_first", "early_second"], axis=1),
        node("Sub", ["early_first", "early_second"], ["early_lead"]),
        node("ReduceLogSumExp", ["early_logits"], ["early_energy"], axes=[1], keepdims=1),
        node("Sub", ["early_energy", threshold], ["early_above_threshold"]),
        node("Min", ["early_lead", "early_above_threshold"], ["early_clearness"]),
        node("GreaterOrEqual", ["early_clearness", margin], ["early_row"]),
        node("Squeeze", ["early_row", tokens], [EARLY]),
        node("Cast", ["early_row"], ["early_counted"], to=TensorProto.INT32),
        node("ReduceMin", ["early_counted"], ["early_all_counted"], keepdims=0),
        node("Cast", ["early_all_counted"], ["all_early"], to=TensorProto.BOOL),
    ]


def _descendants(model: ModelProto, name: str) -> list[NodeProto]:
    """The nodes that need the tensor ``name``, in graph order."""
    reached, found = {name}, []
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
            found.append(node)
    return found


def _copy(node: NodeProto, renamed: dict[str, str]) -> NodeProto:
    copy = type(node)()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        names[:] = [renamed.get(name, name) for name in names]
    return copy


def _ridge(features: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """Weights and bias of the ridge regression from standardised features."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled, middle = (features - mean) / spread, wanted.mean(axis=0)
    square = scaled.T @ scaled / len(scaled) + RIDGE * np.eye(scaled.shape[1])
    weights = np.linalg.solve(square, scaled.T @ (wanted - middle) / len(scaled))
    weights /= spread[:, None]
    return weights, middle - mean @ weights


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
