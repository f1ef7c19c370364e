from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steps.compile.equalize import equalize

CHANNELS = 6


@pytest.fixture
def peaked(tmp_path: Path) -> Path:
    """Looked-up rows whose channel 2 is 50 times the others, multiplied by three weights, of which
    two products share one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    table = random.uniform(0.5, 1, (10, CHANNELS)).astype(np.float32)
    table[:, 2] *= 50
    names = {"a": "own", "b": "other", "c": "shared", "d": "shared"}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["x"]),
            *(helper.make_node("MatMul", ["x", w], [y]) for y, w in names.items()),
            helper.make_node("Sum", list(names), ["logits"]),
        ],
        "peaked",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(table, "table"),
            *(
                numpy_helper.from_array(random.normal(size=(CHANNELS, 4)).astype(np.float32), name)
                for name in ("own", "other", "shared")
            ),
        ],
    )
    path = tmp_path / "peaked.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(path),
    )
    return path


def run(path: Path, ids: list[int]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = np.array([ids], dtype=np.int64)
    return session.run(["logits"], {"input_ids": given, "attention_mask": given})[0]


def test_peaks_move_into_the_weights_and_the_answers_stay(peaked: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    assert equalize(peaked, tmp_path / "flat.onnx", [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]]) == 1
    ids = [9, 0, 4]
    assert np.allclose(run(peaked, ids), run(tmp_path / "flat.onnx", ids), atol=1e-4)
    graph = onnx.load(str(tmp_path / "flat.onnx")).graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(peaked)).graph.initializer}
    scales = [w for name, w in weights.items() if name.endswith("_peaks")]
    assert len(scales) == 1  # products of one activation share its scale
    assert np.flatnonzero(scales[0] < 0.99).tolist() == [2]
    assert (weights["own"][2] / before["own"][2] > 15).all()
    # a weight that two products use cannot be changed for one of them
    assert np.array_equal(weights["shared"], before["shared"])


def test_a_graph_without_training_utterances_stays_as_it_is(peaked: Path, tmp_path: Path) -> None:
    assert equalize(peaked, tmp_path / "same.onnx", []) == 0
    assert (tmp_path / "same.onnx").read_bytes() == peaked.read_bytes()
