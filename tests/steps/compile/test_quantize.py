from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steps.compile.quantize import LARGEST_SAFE_PAIR, largest_pair, quantize
from steps.contract import StepError


def multiply(path: Path, weights: np.ndarray, operator: str = "MatMulInteger") -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"MatMulInteger": (TensorProto.UINT8, TensorProto.INT32)}
    taken, given = kinds.get(operator, (TensorProto.FLOAT, TensorProto.FLOAT))
    node = helper.make_node(operator, ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "multiply",
        [helper.make_tensor_value_info("x", taken, ["rows", weights.shape[0]])],
        [helper.make_tensor_value_info("y", given, ["rows", weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def test_weights_of_a_compiled_model_cannot_saturate(tiny_compiled: Path, read_json) -> None:
    count, pair = largest_pair(tiny_compiled / "model.onnx")
    # in each of two layers: query, key and value at once, attention's output, two dense layers;
    # then the head. The embedding's tables are looked up, not multiplied
    assert count == 9
    assert 0 < pair <= LARGEST_SAFE_PAIR
    record = read_json(tiny_compiled / "compilation.json")["int8"]
    assert record["saturates_without_vnni"] is False
    assert record["largest_pair"] == pair


def test_neighbours_are_consecutive_along_the_inner_dimension(tmp_path: Path) -> None:
    weights = np.array([[100, -3], [-27, 4], [1, 127], [2, 3], [9, 9]], dtype=np.int8)
    assert largest_pair(multiply(tmp_path / "m.onnx", weights)) == (1, 130)


def test_a_model_that_was_not_quantised_ends_the_step(tmp_path: Path) -> None:
    # nothing but an addition: there is no weight to quantise
    source = multiply(tmp_path / "m.onnx", np.ones((1, 4), dtype=np.float32), "Add")
    with pytest.raises(StepError, match="quantised nothing"):
        quantize(source, tmp_path / "q.onnx")


def test_weights_that_could_saturate_end_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime import quantization

    whole = quantization.quantize_dynamic

    def eight_bits(*args, **options):
        return whole(*args, **{**options, "reduce_range": False})

    monkeypatch.setattr(quantization, "quantize_dynamic", eight_bits)
    source = multiply(tmp_path / "m.onnx", np.ones((8, 4), dtype=np.float32), "MatMul")
    with pytest.raises(StepError, match=r"add up to 25\d, more than the 128"):
        quantize(source, tmp_path / "q.onnx")
