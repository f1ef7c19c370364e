from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import classifier as classifier_module
from edge.classifier import IntentClassifier, Prediction
from edge.errors import (
    DamagedFileError,
    InconsistentModelError,
    InputError,
    MissingFileError,
    ModelError,
)
from edge.folder import needs_precision

UTTERANCES = ["play some jazz", "will it rain tomorrow", "turn off the kitchen light", "lamp off"]


@pytest.fixture(scope="session")
def classifier(tiny_compiled: Path) -> IntentClassifier:
    return IntentClassifier.load(tiny_compiled)


@pytest.fixture
def folder(tiny_compiled: Path, tmp_path: Path) -> Path:
    """A copy of the compiled folder, without the record that would notice a change."""
    copy = Path(shutil.copytree(tiny_compiled, tmp_path / "model"))
    (copy / "compilation.json").unlink()
    return copy


def change_rule(folder: Path, **changes: object) -> None:
    path = folder / "intents.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_utterance_gets_an_intent_a_confidence_and_candidates(
    classifier: IntentClassifier,
) -> None:
    answer = classifier.predict("play some jazz")
    assert answer.top[0].confidence == answer.confidence
    assert [c.confidence for c in answer.top] == sorted(
        (c.confidence for c in answer.top), reverse=True
    )
    assert {c.intent for c in answer.top} == set(classifier.intents)
    assert sum(c.confidence for c in answer.top) == pytest.approx(1)
    assert answer.model_version == "7"
    assert len(classifier.predict("play some jazz", top_k=1).top) == 1


def test_confidence_and_energy_follow_from_the_logits(
    classifier: IntentClassifier, tiny_compiled: Path, read_json
) -> None:
    rule = read_json(tiny_compiled / "intents.json")
    logits = classifier.logits(["play some jazz"])[0].astype(np.float64)
    answer = classifier.predict("play some jazz")
    scaled = np.exp(logits / rule["temperature"])
    assert answer.confidence == pytest.approx((scaled / scaled.sum()).max())
    assert answer.energy == pytest.approx(math.log(np.exp(logits).sum()))
    assert answer.top[0].intent == rule["intents"][int(logits.argmax())]


def test_a_list_gives_a_list_in_its_own_order(classifier: IntentClassifier) -> None:
    answers = classifier.predict(UTTERANCES)
    assert [a.top[0].intent for a in answers] == [
        classifier.predict(text).top[0].intent for text in UTTERANCES
    ]
    assert classifier.predict([]) == []
    assert classifier.logits([]).shape == (0, 3)


def test_batches_of_any_size_give_nearly_the_same_logits(classifier: IntentClassifier) -> None:
    texts = UTTERANCES * 3
    alone = classifier.logits(texts, batch=1)
    # a batch shares the scale of its quantised activations
    assert np.abs(classifier.logits(texts, batch=5) - alone).max() < 0.5
    assert np.array_equal(alone, classifier.logits(texts, batch=1))


def test_an_energy_below_the_threshold_is_out_of_scope_but_keeps_its_candidates(
    folder: Path,
) -> None:
    change_rule(folder, energy_threshold=1e6)
    answer = IntentClassifier.load(folder).predict("play some jazz")
    assert (answer.intent, answer.out_of_scope) == ("out_of_scope", True)
    assert answer.top[0].intent != "out_of_scope"


def test_no_threshold_rejects_nothing(folder: Path) -> None:
    change_rule(folder, energy_threshold=None)
    assert not IntentClassifier.load(folder).predict("gibberish qwxz").out_of_scope


def test_a_folder_without_a_record_has_an_unknown_version(folder: Path) -> None:
    assert IntentClassifier.load(str(folder)).predict("lamp off").model_version == "unknown"


def test_many_threads_get_the_answers_that_one_gets(classifier: IntentClassifier) -> None:
    texts = UTTERANCES * 10
    expected = [classifier.predict(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(classifier.predict, texts)) == expected


def test_precision_and_threads_change_no_answer(tiny_compiled: Path) -> None:
    one = IntentClassifier.load(tiny_compiled)
    other = IntentClassifier.load(tiny_compiled, threads=2, precise=True)
    assert np.allclose(one.logits(UTTERANCES), other.logits(UTTERANCES), atol=1e-4)


def test_a_megabyte_of_text_is_cut_before_it_is_tokenized(classifier: IntentClassifier) -> None:
    long = "turn off the kitchen light " * 40_000
    assert classifier.predict(long) == classifier.predict(long[:5000])


def test_what_nobody_sees_changes_no_answer(classifier: IntentClassifier) -> None:
    assert classifier.predict("\ufeff play\u200b  some\x00\tjazz\n") == classifier.predict(
        "play some jazz"
    )


@pytest.mark.parametrize("text", ["", "   \n", "\x00\u200b"])
def test_blank_text_is_refused(classifier: IntentClassifier, text: str) -> None:
    with pytest.raises(InputError, match="Utterance 0 is blank"):
        classifier.predict(text)


def test_what_is_no_text_is_refused_with_its_position(classifier: IntentClassifier) -> None:
    with pytest.raises(InputError, match="Utterance 1 is int, not text"):
        classifier.predict(["lamp off", 5])  # type: ignore[list-item]
    with pytest.raises(InputError, match="half a surrogate pair"):
        classifier.predict("lamp \ud800 off")


def test_arguments_out_of_range_are_refused(
    classifier: IntentClassifier, tiny_compiled: Path
) -> None:
    with pytest.raises(InputError, match="top_k must be 1 or more, not 0"):
        classifier.predict("lamp off", top_k=0)
    with pytest.raises(InputError, match="batch must be 1 or more"):
        classifier.logits(["lamp off"], batch=0)
    with pytest.raises(InputError, match="threads must be 1 or more"):
        IntentClassifier.load(tiny_compiled, threads=0)
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "intents.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=f"has no {name}"):
        IntentClassifier.load(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "intents.json"])
def test_a_truncated_file_is_named(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedFileError, match=name):
        IntentClassifier.load(folder)


def test_a_file_other_than_the_compiled_one_is_refused(tiny_compiled: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_compiled, tmp_path / "model"))
    change_rule(copy, temperature=9.0)
    with pytest.raises(DamagedFileError, match="is not the file that compilation"):
        IntentClassifier.load(copy)


@pytest.mark.parametrize(
    "record", ["not json", "[]", '{"files": 1}', '{"files": {"model.onnx": 5}}']
)
def test_a_damaged_record_is_refused(folder: Path, record: str) -> None:
    (folder / "compilation.json").write_text(record)
    with pytest.raises(DamagedFileError):
        IntentClassifier.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"intents": ["one"]}, "two or more names"),
        ({"intents": ["one", ""]}, "two or more names"),
        ({"intents": ["one", "one", "two"]}, "named twice"),
        ({"intents": None}, "not a list of intents"),
        ({"temperature": 0}, "temperature must be positive"),
        ({"temperature": math.nan}, "temperature must be positive"),
        ({"energy_threshold": math.nan}, "energy_threshold is not a number"),
        ({"max_length": 2}, "max_length must be 3 or more"),
        ({"max_length": "many"}, "not a list of intents"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    folder: Path, changes: dict[str, object], reason: str
) -> None:
    change_rule(folder, **changes)
    with pytest.raises(DamagedFileError, match=reason):
        IntentClassifier.load(folder)


def test_files_that_do_not_belong_together_are_refused(folder: Path) -> None:
    change_rule(folder, intents=["one", "two"])
    with pytest.raises(InconsistentModelError, match=r"but intents\.json has 2 intents"):
        IntentClassifier.load(folder)
    change_rule(folder, intents=["one", "two", "three"], max_length=4096)  # 128 positions
    with pytest.raises(InconsistentModelError, match="does not take what"):
        IntentClassifier.load(folder)


def graph(inputs: list[str], value: float) -> bytes:
    """A model whose logits are the two constants ``value`` whatever it is given."""
    from onnx import TensorProto, helper

    given = [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "l"]) for n in inputs]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])
    constant = helper.make_tensor("value", TensorProto.FLOAT, [1, 2], [value, value])
    node = helper.make_node("Constant", [], ["logits"], value=constant)
    return helper.make_model(
        helper.make_graph([node], "constant", given, [logits]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    ).SerializeToString()


def test_a_model_with_other_inputs_or_no_finite_answer_is_refused(folder: Path) -> None:
    change_rule(folder, intents=["one", "two"])
    (folder / "model.onnx").write_bytes(graph(["tokens"], 1.0))
    with pytest.raises(InconsistentModelError, match="takes tokens, not input_ids"):
        IntentClassifier.load(folder)
    (folder / "model.onnx").write_bytes(graph(["input_ids", "attention_mask"], math.nan))
    with pytest.raises(InconsistentModelError, match="infinite or missing"):
        IntentClassifier.load(folder)
    assert issubclass(InconsistentModelError, ModelError)


def test_a_prediction_counts_its_tokens_and_those_that_are_unknown(
    classifier: IntentClassifier,
) -> None:
    answer = classifier.predict("lamp \U000130c0 off")
    assert (answer.tokens, answer.unknown_tokens) == (5, 1)
    assert [(a.tokens, a.unknown_tokens) for a in classifier.predict(["lamp", "lamp off"])] == [
        (3, 0),
        (4, 0),
    ]


def test_a_prediction_is_ready_for_json(classifier: IntentClassifier) -> None:
    answer = classifier.predict("lamp off", top_k=1)
    assert isinstance(answer, Prediction)
    value = json.loads(json.dumps(answer.to_json()))
    assert value["top"] == [{"intent": answer.top[0].intent, "confidence": answer.confidence}]
    assert value["model_version"] == "7"
    assert not {"tokens", "unknown_tokens"} & set(value)


def test_the_runtime_imports_neither_torch_nor_anything_of_ours(repository: Path) -> None:
    code = (
        "import sys, edge.classifier, edge.cli\n"
        "found = {m.partition('.')[0] for m in sys.modules}\n"
        "unwanted = {'torch', 'transformers', 'boto3', 'steps', 'pipeline', 'pandas'} & found\n"
        "sys.exit(f'imported {unwanted}' if unwanted else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)


@pytest.mark.parametrize(
    ("flags", "saturates", "machine", "precise"),
    [
        ("avx2 fma", True, "x86_64", True),
        ("avx2 fma", False, "x86_64", False),
        ("avx2 avx512_vnni", True, "x86_64", False),
        ("avx2 avx_vnni", True, "x86_64", False),
        ("asimddp i8mm", True, "aarch64", False),
    ],
)
def test_where_a_processor_would_saturate_the_model_is_multiplied_precisely(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    saturates: bool,
    machine: str,
    precise: bool,
) -> None:
    record = {"int8": {"saturates_without_vnni": saturates}}
    (tmp_path / "compilation.json").write_text(json.dumps(record))
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}\n")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert needs_precision(tmp_path, tmp_path / "cpuinfo") is precise
    if machine == "x86_64":  # without the list: slower rather than wrong
        assert needs_precision(tmp_path, tmp_path / "none") is saturates


def test_auto_takes_the_precise_option_where_it_is_needed(
    tiny_compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = classifier_module.open_session

    def open_session(path: Path, threads: int, precise: bool, arena: bool) -> Any:
        asked.append(precise)
        return real(path, threads, precise, arena)

    monkeypatch.setattr(classifier_module, "open_session", open_session)
    monkeypatch.setattr(classifier_module, "needs_precision", lambda folder: True)
    IntentClassifier.load(tiny_compiled)
    IntentClassifier.load(tiny_compiled, precise=False)
    assert asked == [True, False]
