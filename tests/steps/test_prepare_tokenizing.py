"""Token ids are the base model's own, and padding is known for every kind of tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from steps.base_model import bundled_base_model
from steps.contract import StepError
from steps.prepare.tokenizing import load_tokenizer


def model_folder(folder: Path, tokenizer: Tokenizer | None, **files: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(files.get("config", {})))
    if "tokenizer_config" in files:
        (folder / "tokenizer_config.json").write_text(json.dumps(files["tokenizer_config"]))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def words() -> Tokenizer:
    vocabulary = {"[UNK]": 0, "on": 1, "off": 2, "<end>": 3, "[PAD]": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_ids_are_those_that_transformers_gives() -> None:
    from transformers import AutoTokenizer

    folder = bundled_base_model()
    assert folder is not None
    texts = ["Turn it off, please!", "naïve café 🙂", "a " * 100]
    loaded = load_tokenizer(folder, 16)
    ids, lengths = loaded.encode(texts)
    stock = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    expected = stock(texts, truncation=True, max_length=16)["input_ids"]
    assert lengths.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [number for row in expected for number in row]
    assert loaded.pad_id == stock.pad_token_id
    assert loaded.unknown_id == stock.unk_token_id
    assert loaded.special_tokens == 2
    assert loaded.vocabulary_size == len(stock)


def test_no_texts_are_no_ids(tmp_path: Path) -> None:
    ids, lengths = load_tokenizer(model_folder(tmp_path, words()), 8).encode([])
    assert len(ids) == len(lengths) == 0


@pytest.mark.parametrize(
    ("files", "pad"),
    [
        ({"tokenizer_config": {"pad_token": "[PAD]", "eos_token": "<end>"}}, 4),
        ({"tokenizer_config": {"pad_token": {"content": "[PAD]"}}}, 4),
        ({"tokenizer_config": {"pad_token": None, "eos_token": "<end>"}}, 3),
        ({"config": {"pad_token_id": 2}}, 2),
        ({"config": {"eos_token_id": [3, 1]}}, 3),
        ({"tokenizer_config": {"eos_token": "nowhere"}}, 0),
        ({}, 0),
    ],
)
def test_decoders_without_a_padding_token_get_their_end_token_or_zero(
    tmp_path: Path, files: dict[str, Any], pad: int
) -> None:
    assert load_tokenizer(model_folder(tmp_path, words(), **files), 8).pad_id == pad


def test_unknown_tokens_are_known_where_there_are_any(tmp_path: Path) -> None:
    assert load_tokenizer(model_folder(tmp_path, words()), 8).unknown_id == 0
    pieces = Tokenizer(models.Unigram([("<s>", 0.0), ("<unk>", 0.0)], unk_id=1))
    assert load_tokenizer(model_folder(tmp_path, pieces), 8).unknown_id == 1
    everything = Tokenizer(models.BPE({"a": 0}, []))
    assert load_tokenizer(model_folder(tmp_path, everything), 8).unknown_id is None


def test_a_model_without_a_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, None, config={"model_type": "bert"})
    with pytest.raises(
        StepError, match=r"can be read \(no tokenizer\.json and no vocabulary\)"
    ) as raised:
        load_tokenizer(folder, 8)
    assert "\n" not in str(raised.value)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(StepError, match=r"it needs a tokenizer\.json"):
        load_tokenizer(folder, 8)


def test_a_slow_tokenizer_is_converted(tmp_path: Path) -> None:
    bundled = bundled_base_model()
    assert bundled is not None
    for name in ("vocab.txt", "config.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bundled / name).read_bytes())
    assert load_tokenizer(tmp_path, 8).encode(["turn it off"])[0].tolist() == [
        101, 2735, 2009, 2125, 102,
    ]  # fmt: skip
