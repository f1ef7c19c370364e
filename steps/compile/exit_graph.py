"""The early exit as nodes of an ONNX graph: its features, its head, and the ``If`` around the rest.

What it leaves out: fitting the head, and deciding when its answer stands (early_exit.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from steps.compile.early_exit import EarlyExit

EARLY = "early"
"""The graph's second output, [batch]: which rows left early."""
FEATURES = "early_features"
_FAR = 1e4
"""Beyond every activation: where padding is put so that it is no row's highest or lowest value."""


def layers(graph: Path) -> list[str]:
    """What goes into each fused attention block of a float32 graph; none if they are not fused."""
    import onnx

    nodes = onnx.load(str(graph)).graph.node
    return [node.input[0] for node in nodes if node.op_type == "Attention"]


def look(
    graph: Path, hidden: str, rows: Sequence[list[int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ask ``graph`` one utterance at a time, which is how the device asks.

    Args:
        graph: A graph of inputs ``input_ids`` and ``attention_mask`` and output ``logits``.
        hidden: The activation that the exit reads, [batch, tokens, width].
        rows: Token ids of each utterance.

    Returns:
        Features, [rows, 5 x width], and logits, [rows, intents].
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    model = onnx.load(str(graph))
    model.graph.node.extend(_features(model, hidden))
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, None))
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[list[Any]] = [[], []]
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        asked = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        for values, value in zip(found, session.run([FEATURES, "logits"], asked), strict=True):
            values.append(np.asarray(value)[0])
    return np.stack(found[0]), np.stack(found[1])


def add(source: Path, target: Path, hidden: str, leaving: EarlyExit) -> None:
    """Write ``source`` with the exit at the activation ``hidden`` to ``target``."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph = model.graph
    deep = _descendants(model, hidden)
    moved = {id(node) for node in deep}
    shallow = [node for node in graph.node if id(node) not in moved]
    rest = [_copy(node, {"logits": "logits_of_all_layers"}) for node in deep]
    picked = ["early_row", "early_logits", "logits_of_all_layers"]
    rest.append(helper.make_node("Where", picked, ["late_logits"]))
    short = [helper.make_node("Identity", ["early_logits"], ["kept_logits"])]
    choice = helper.make_node("If", ["all_early"], ["logits"], "early_exit")
    for name, branch, output in (
        ("then_branch", short, "kept_logits"),
        ("else_branch", rest, "late_logits"),
    ):
        shape = ["batch", len(leaving.bias)]
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        body = helper.make_graph(branch, name, [], [result])
        choice.attribute.append(helper.make_attribute(name, body))
    nodes = [_copy(node, {}) for node in shallow]
    nodes += [*_features(model, hidden), *_head(model, leaving), choice]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.append(helper.make_tensor_value_info(EARLY, TensorProto.BOOL, ["batch"]))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _features(model: ModelProto, hidden: str) -> list[NodeProto]:
    """``hidden`` to ``early_features``: mean, highest and lowest value of each channel over the
    tokens, and highest and lowest sum over two neighbours, each of the five of length 1."""
    from onnx import TensorProto, helper

    node = helper.make_node
    axis = _constant(model, "early_axis_of_tokens", [1], np.int64)
    first = _constant(model, "early_first", [0], np.int64)
    one = _constant(model, "early_one", [1], np.int64)
    end = _constant(model, "early_end", [2**31], np.int64)
    last_axis = _constant(model, "early_last_axis", [2], np.int64)
    present = _constant(model, "early_present", 1, np.float32)
    far = _constant(model, "early_far", _FAR, np.float32)
    nodes = [
        node("Cast", ["attention_mask"], ["early_mask_flat"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["early_mask_flat", last_axis], ["early_mask"]),
        node("Mul", [hidden, "early_mask"], ["early_kept"]),
        node("ReduceSum", ["early_kept", axis], ["early_sum"], keepdims=0),
        # the neighbour of the last token is the first, which their mask then rules out
        node("Slice", [hidden, one, end, axis], ["early_later"]),
        node("Slice", [hidden, first, one, axis], ["early_start"]),
        node("Concat", ["early_later", "early_start"], ["early_next"], axis=1),
        node("Add", [hidden, "early_next"], ["early_pairs"]),
        node("Slice", ["early_mask", one, end, axis], ["early_mask_later"]),
        node("Slice", ["early_mask", first, one, axis], ["early_mask_start"]),
        node("Sub", ["early_mask_start", "early_mask_start"], ["early_mask_none"]),
        node("Concat", ["early_mask_later", "early_mask_none"], ["early_pair_mask"], axis=1),
    ]
    parts = ["early_sum"]
    for kind, values, mask in (
        ("token", hidden, "early_mask"),
        ("pair", "early_pairs", "early_pair_mask"),
    ):
        gap, away = f"early_{kind}_gap", f"early_{kind}_away"
        nodes += [node("Sub", [mask, present], [gap]), node("Mul", [gap, far], [away])]
        for moving, peak, name in (("Add", "ReduceMax", "highest"), ("Sub", "ReduceMin", "lowest")):
            part = f"early_{kind}_{name}"
            nodes.append(node(moving, [values, away], [f"{part}_of"]))
            nodes.append(node(peak, [f"{part}_of"], [part], axes=[1], keepdims=0))
            parts.append(part)
    for part in parts:
        nodes.append(node("ReduceL2", [part], [f"{part}_length"], axes=[1], keepdims=1))
        nodes.append(node("Div", [part, f"{part}_length"], [f"{part}_unit"]))
    return [*nodes, node("Concat", [f"{part}_unit" for part in parts], [FEATURES], axis=1)]


def _head(model: ModelProto, leaving: EarlyExit) -> list[NodeProto]:
    """``early_features`` to ``early_logits``, to ``early_row``, and to ``all_early``."""
    from onnx import TensorProto, helper

    node = helper.make_node
    # half the bytes; onnxruntime makes them float32 once, at load
    weights = _constant(model, "early_weights_stored", leaving.weights, np.float16)
    bias = _constant(model, "early_bias", leaving.bias, np.float32)
    margin = _constant(model, "early_margin", leaving.margin, np.float32)
    threshold = _constant(model, "early_threshold", leaving.threshold, np.float32)
    two = _constant(model, "early_two", [2], np.int64)
    return [
        node("Cast", [weights], ["early_weights"], to=TensorProto.FLOAT),
        node("Gemm", [FEATURES, "early_weights", bias], ["early_logits"]),
        node("TopK", ["early_logits", two], ["early_best", "early_places"], axis=1),
        node("Split", ["early_best"], ["early_highest", "early_second"], axis=1),
        node("Sub", ["early_highest", "early_second"], ["early_lead"]),
        node("ReduceLogSumExp", ["early_logits"], ["early_energy"], axes=[1], keepdims=1),
        node("Sub", ["early_energy", threshold], ["early_above_threshold"]),
        node("Min", ["early_lead", "early_above_threshold"], ["early_clearness"]),
        node("GreaterOrEqual", ["early_clearness", margin], ["early_row"]),
        node("Squeeze", ["early_row", "early_axis_of_tokens"], [EARLY]),
        node("Cast", ["early_row"], ["early_counted"], to=TensorProto.INT32),
        node("ReduceMin", ["early_counted"], ["early_all_counted"], keepdims=0),
        node("Cast", ["early_all_counted"], ["all_early"], to=TensorProto.BOOL),
    ]


def _constant(model: ModelProto, name: str, value: Any, kind: type) -> str:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
    return name


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
