"""Dynamic int8 quantisation that gives the same answers on every processor.

x86 processors without VNNI multiply 8-bit activations by 8-bit weights with ``vpmaddubsw``, which
adds two products into 16 bits and saturates: answers then differ from those of the machine that
tested the model. Weights of 7 bits cannot saturate (255 × (64 + 64) < 32,768), so that AVX2, VNNI
and ARM compute the same integers. :func:`largest_pair` proves it on the compiled file.

What it leaves out: choosing the layers to quantise by their error; ``docs/decisions/0004-int8.md``
has what each part costs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from steps.contract import StepError

WEIGHT_BITS = 7
LARGEST_SAFE_PAIR = 32767 // 255
"""Two neighbouring weights of a column may add up to this before ``vpmaddubsw`` saturates."""
_WEIGHT_INPUTS = {"MatMulInteger": 1, "QAttention": 1}
"""Which input of a quantised operator holds its weight."""


@dataclass(frozen=True)
class Quantized:
    """What the quantiser did, as it stands in ``compilation.json``."""

    weights: int
    """Weight matrices in int8."""
    largest_pair: int
    bytes: int

    def to_json(self) -> dict[str, object]:
        return {
            "activations": "uint8, dynamic, per tensor",
            "weights": f"int8 of {WEIGHT_BITS} bits, per channel",
            "weight_matrices": self.weights,
            "largest_pair": self.largest_pair,
            "largest_safe_pair": LARGEST_SAFE_PAIR,
            "saturates_without_vnni": self.largest_pair > LARGEST_SAFE_PAIR,
        }


def quantize(source: Path, target: Path) -> Quantized:
    """Write ``source`` with int8 weights to ``target``.

    Raises:
        StepError: The quantiser left the weights as they were, or at a width that saturates.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            # the fused operators are not standard ONNX: no shape inference tells their type
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(before)
    weights, pair = largest_pair(target)
    if weights == 0:
        raise StepError(
            f"onnxruntime quantised nothing in {source.name}: it changed what it recognises, "
            "use the pinned version."
        )
    if pair > LARGEST_SAFE_PAIR:
        raise StepError(
            f"onnxruntime wrote weights of which two add up to {pair}, more than the "
            f"{LARGEST_SAFE_PAIR} that cannot saturate on AVX2: use the pinned version."
        )
    return Quantized(weights, pair, target.stat().st_size)


def largest_pair(model: Path) -> tuple[int, int]:
    """How many int8 weight matrices ``model`` has, and their largest sum of neighbours' sizes.

    Neighbours are the two weights, consecutive along the inner dimension, whose products
    ``vpmaddubsw`` adds.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    count, largest = 0, 0
    for node in graph.node:
        position = _WEIGHT_INPUTS.get(node.op_type)
        if position is None or node.input[position] not in tensors:
            continue
        sizes = np.abs(numpy_helper.to_array(tensors[node.input[position]]).astype(np.int16))
        odd = sizes.shape[-2] % 2
        sizes = np.pad(sizes, [(0, 0)] * (sizes.ndim - 2) + [(0, odd), (0, 0)])
        pairs = sizes[..., 0::2, :] + sizes[..., 1::2, :]
        count, largest = count + 1, max(largest, int(pairs.max()))
    return count, largest
