"""Takes the peaks out of activations before they are quantised.

Dynamic quantisation has one scale for a whole activation. In a trained encoder a few channels are
ten times larger than the rest and leave those a handful of the 256 steps. Each such channel is
divided by what it has in excess, and the weights that it meets are multiplied by the same: the
product stays, the error of a logit's margin falls by 40 % (``docs/decisions/0004-int8.md``). This
is SmoothQuant (Xiao et al., 2022, arXiv:2211.10438) for the peaks alone.

What it leaves out: the head, whose input has unit length and no peaks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PEAK = 2.0
"""A channel may be this many times the median channel; what exceeds it is taken out."""
SAMPLE = 256
"""Utterances of the train split on which the activations are looked at."""


def equalize(source: Path, target: Path, rows: list[list[int]]) -> int:
    """Write ``source``, a float32 graph, with equalised activations to ``target``.

    Args:
        source: A graph of inputs ``input_ids`` and ``attention_mask``.
        target: Gives the same logits, but for rounding.
        rows: Token ids of training utterances; without any the graph stays as it is.

    Returns:
        How many activations had peaks.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    count = 0
    for name, largest in _largest_values(source, rows).items():
        excess = np.maximum(largest / max(PEAK * float(np.median(largest)), 1e-6), 1.0)
        if excess.max() == 1.0:
            continue
        products = [node for node in _products(model) if node.input[0] == name]
        # the quantiser names its own tensors NAME_scale and NAME_zero_point: keep clear of them
        scale, scaled = f"{name}_peaks", f"{name}_without_peaks"
        inverse = (1 / excess).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(inverse, scale))
        first = list(model.graph.node).index(products[0])
        for node in products:
            tensor = weights[node.input[1]]
            matrix = numpy_helper.to_array(tensor) * excess[:, None].astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(matrix, tensor.name))
            node.input[0] = scaled
        # last: inserting moves what the nodes at hand refer to
        model.graph.node.insert(first, helper.make_node("Mul", [name, scale], [scaled], scaled))
        count += 1
    onnx.save(model, str(target))
    return count


def _products(model: ModelProto) -> list[NodeProto]:
    """The products of an activation and a weight that nothing else uses, in graph order."""
    names = {tensor.name for tensor in model.graph.initializer}
    used = [name for node in model.graph.node for name in node.input]
    return [
        node
        for node in model.graph.node
        if node.op_type in ("Attention", "MatMul")
        and node.input[1] in names
        and used.count(node.input[1]) == 1
    ]


def _largest_values(source: Path, rows: list[list[int]]) -> dict[str, NDArray[np.float32]]:
    """The largest absolute value of each channel of every activation that meets a weight."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    names = list(dict.fromkeys(node.input[0] for node in _products(model)))
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a second thread only waits for such small products
    options.log_severity_level = 4  # it warns about outputs of unknown shape
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    largest: dict[str, NDArray[np.float32]] = {}
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        values = session.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for name, value in zip(names, map(np.asarray, values), strict=True):
            found = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], found) if name in largest else found
    return largest
