from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from steps.compile import early_exit
from steps.compile.early_exit import EarlyExit, Graphs, choose
from steps.compile.exit_graph import EARLY, add, layers, look
from tests.tiny import write_tiny_base_model, write_tiny_model

LAYERS = 4
EVERYWHERE = -math.inf


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    """Token ids of 300 made-up utterances of two to ten tokens."""
    random = np.random.default_rng(0)
    return [random.integers(1000, 9000, size=2 + number % 9).tolist() for number in range(300)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_prepared: Path) -> Path:
    """An encoder of four layers, fused and in float32, so that batches change no digit."""
    from steps.compile.export import export
    from steps.intent_model import load

    base = write_tiny_base_model(tmp_path_factory.mktemp("base"), LAYERS)
    model = write_tiny_model(tmp_path_factory.mktemp("model"), base, tiny_prepared)
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(load(model)[0], path)
    return path


class Found(NamedTuple):
    """The exit of the graph, and what it was fitted to."""

    hidden: str
    features: np.ndarray
    whole: np.ndarray
    """The logits of all layers."""
    leaving: EarlyExit


@pytest.fixture(scope="module")
def found(graph: Path, rows: list[list[int]]) -> Found:
    hidden = layers(graph)[0]
    features, whole = look(graph, hidden, rows)
    leaving = choose(features, whole, EVERYWHERE, 0.2)
    assert leaving is not None
    return Found(hidden, features, whole, leaving)


def ask(path: Path, rows: list[list[int]], names: list[str]) -> list[Any]:
    """One batch of ``rows``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return session.run(names, {"input_ids": ids, "attention_mask": mask})


def test_a_row_that_leads_by_enough_leaves_and_the_others_go_through_all_layers(
    graph: Path, rows: list[list[int]], found: Found, tmp_path: Path
) -> None:
    hidden, features, whole, leaving = found
    add(graph, tmp_path / "model.onnx", hidden, leaving)
    early = features @ leaving.weights + leaving.bias
    best = np.sort(early, axis=1)
    leaves = best[:, -1] - best[:, -2] >= leaving.margin
    assert 0 < leaves.sum() < len(rows)
    expected = np.where(leaves[:, None], early, whole)
    # alone, and in batches of all lengths, where padding must not count
    for size in (1, 50):
        for start in range(0, 100, size):
            chunk = slice(start, start + size)
            left, logits = ask(tmp_path / "model.onnx", rows[chunk], [EARLY, "logits"])
            assert left.tolist() == leaves[chunk].tolist()
            assert np.allclose(logits, expected[chunk], atol=1e-2)  # weights of 16 bits


def test_what_looks_out_of_scope_does_not_leave_however_far_it_leads(
    graph: Path, rows: list[list[int]], found: Found, tmp_path: Path
) -> None:
    from steps.compile.parity import energy

    hidden, features, _, leaving = found
    energies = energy(features @ leaving.weights + leaving.bias)
    middle = float(np.median(energies))
    add(graph, tmp_path / "model.onnx", hidden, replace(leaving, margin=0.0, threshold=middle))
    (left,) = ask(tmp_path / "model.onnx", rows, [EARLY])
    sure = np.abs(energies - middle) > 1e-3
    assert left[sure].tolist() == (energies > middle)[sure].tolist()


def test_what_a_regression_shrinks_is_stretched_again() -> None:
    _, wanted = separated(2000, 1)
    gain, shift = early_exit._stretch(wanted.astype(float) / 1.6 + 2, wanted.astype(float))
    assert gain == pytest.approx(1.6)
    assert shift == pytest.approx(-3.2, abs=0.01)


def test_what_leaves_early_does_not_go_through_the_other_layers(
    graph: Path, found: Found, tmp_path: Path
) -> None:
    """The layers stand in one branch: a model without them answers what leaves, and no more."""
    import onnx

    hidden, _, _, leaving = found
    add(graph, tmp_path / "model.onnx", hidden, leaving)
    nodes = onnx.load(str(tmp_path / "model.onnx")).graph.node
    assert "Attention" not in [node.op_type for node in nodes]
    (choice,) = (node for node in nodes if node.op_type == "If")
    branches = {item.name: item.g for item in choice.attribute}
    kinds = {name: [node.op_type for node in branch.node] for name, branch in branches.items()}
    assert kinds["then_branch"] == ["Identity"]
    assert kinds["else_branch"].count("Attention") == LAYERS


def separated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes, some near a border, and the logits of a model that knows more."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 6)).astype(np.float32)
    hint = features[:, :3] * 4
    return features, (hint + random.normal(size=hint.shape)).astype(np.float32)


def test_no_more_answers_change_than_asked_for_on_rows_that_nothing_was_chosen_on() -> None:
    features, logits = separated(2000, 1)
    unseen, wanted = separated(20_000, 2)
    shares = []
    for bound in (0.05, 0.02, 0.005):
        leaving = choose(features, logits, EVERYWHERE, bound)
        assert leaving is not None
        assert leaving.changed <= bound
        answers = unseen @ leaving.weights + leaving.bias
        best = np.sort(answers, axis=1)
        leaves = best[:, -1] - best[:, -2] >= leaving.margin
        changed = (answers.argmax(axis=1) != wanted.argmax(axis=1)) & leaves
        assert changed.mean() <= bound * 1.3  # the bound holds in expectation
        assert leaves.mean() == pytest.approx(leaving.share, abs=0.05)
        shares.append(leaving.share)
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0.1


def test_an_answer_where_the_whole_model_rejects_counts_as_changed() -> None:
    features, logits = separated(2000, 1)
    # every third row is out of scope to the whole model, which the features do not show
    logits[::3] -= 100
    assert choose(features, logits, EVERYWHERE, 0.05) is not None
    leaving = choose(features, logits, -50.0, 0.05)
    assert leaving is None or leaving.share < 0.16


@pytest.mark.parametrize(("rows", "bound"), [(9, 0.5), (150, 0.005)])
def test_few_rows_prove_nothing(rows: int, bound: float) -> None:
    assert choose(*separated(rows, 1), EVERYWHERE, bound) is None


@pytest.mark.parametrize(
    ("bound", "count", "reason"),
    [(0.0, 300, "as asked for"), (0.001, 300, "300 labelled ones do not prove")],
)
def test_without_an_exit_the_graph_stays_and_the_note_says_why(
    graph: Path, rows: list[list[int]], tmp_path: Path, bound: float, count: int, reason: str
) -> None:
    target = tmp_path / "model.onnx"
    record = early_exit.compile_exit(Graphs(graph, graph, target), rows[:count], EVERYWHERE, bound)
    assert record["share"] == 0
    assert reason in record["note"]
    assert target.read_bytes() == graph.read_bytes()


def test_a_graph_without_fused_attention_has_no_exit(
    graph: Path, rows: list[list[int]], tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(str(graph))
    for node in model.graph.node:
        node.op_type = node.op_type.replace("Attention", "AttentionOfAnotherKind")
    onnx.save(model, str(tmp_path / "unfused.onnx"))
    target = tmp_path / "model.onnx"
    record = early_exit.compile_exit(
        Graphs(tmp_path / "unfused.onnx", graph, target), rows, EVERYWHERE, 0.2
    )
    assert (record["share"], target.read_bytes()) == (0, graph.read_bytes())
    assert "this architecture is not fused" in record["note"]


def test_a_row_of_one_token_is_answered(
    graph: Path, rows: list[list[int]], found: Found, tmp_path: Path
) -> None:
    """A tokenizer without special tokens can give one: it has no neighbours."""
    hidden, _, _, leaving = found
    add(graph, tmp_path / "model.onnx", hidden, leaving)
    (alone,) = ask(tmp_path / "model.onnx", [[1037]], ["logits"])
    (together,) = ask(tmp_path / "model.onnx", [[1037], rows[8]], ["logits"])
    assert np.isfinite(alone).all()
    assert np.allclose(together[0], alone[0], atol=1e-3)


def test_the_compiled_record_names_the_bound_that_it_was_held_to(
    tiny_compiled: Path, read_json: Any
) -> None:
    record = read_json(tiny_compiled / "compilation.json")["early_exit"]
    assert (record["share"], record["max_changed"]) == (0.0, 0.001)
    assert "do not prove" in record["note"]


def test_the_record_says_what_leaves_and_what_it_changes(
    graph: Path, rows: list[list[int]], tmp_path: Path
) -> None:
    record = early_exit.compile_exit(
        Graphs(graph, graph, tmp_path / "model.onnx"), rows, EVERYWHERE, 0.2
    )
    assert record["rows"] == 300
    assert 0 < record["share"] <= 1
    assert 0 <= record["changed"] <= 0.2
    assert f"{record['share']:.1%} of 300 labelled utterances leave" in record["note"]
    assert f"the first of {LAYERS} layers" in record["note"]
