"""Prepared rows and the order of batches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from steps.contract import StepError
from steps.train.data import (
    Rows,
    epoch_batches,
    join,
    read_prepared,
    sample_per_class,
    walk_by_length,
)
from steps.train.model import open_base_model


@pytest.fixture(scope="module")
def tokenizer(tiny_base_model):
    return AutoTokenizer.from_pretrained(tiny_base_model, local_files_only=True)


@pytest.fixture
def prepared(tiny_prepared, tmp_path) -> Path:
    return shutil.copytree(tiny_prepared, tmp_path / "prepared")


def read(folder, tokenizer, digest="other", length=64):
    return read_prepared(folder, tokenizer, digest, length)


def rows_of(lists, labels):
    starts = np.concatenate([[0], np.cumsum([len(row) for row in lists])]).astype(np.int64)
    return Rows(np.concatenate(lists).astype(np.int32), starts, np.array(labels))


def test_out_of_scope_rows_are_never_a_class(prepared, tokenizer):
    data = read(prepared, tokenizer)
    assert data.train.labels.min() == 0
    assert data.validation.labels.min() == 0
    assert set(data.out_of_scope.labels) == {-1}
    tables = [pq.read_table(prepared / f"{split}.parquet") for split in ("train", "validation")]
    assert len(data.out_of_scope) == sum(
        table.column("label").to_pylist().count(-1) for table in tables
    )


def test_token_ids_of_the_same_tokenizer_and_length_are_taken_as_they_are(
    prepared, tokenizer, tiny_base_model
):
    digest = open_base_model(tiny_base_model, 64).tokenizer_sha256
    statistics = json.loads((prepared / "statistics.json").read_text())
    statistics["tokenizer_sha256"] = digest
    (prepared / "statistics.json").write_text(json.dumps(statistics))

    taken = read(prepared, tokenizer, digest)
    assert not taken.retokenized
    again = read(prepared, tokenizer, "another tokenizer")
    assert again.retokenized
    assert np.array_equal(taken.train.tokens, again.train.tokens)
    shorter = read(prepared, tokenizer, digest, length=5)
    assert shorter.retokenized
    assert shorter.train.lengths.max() == 5


@pytest.mark.parametrize("name", ["train.parquet", "statistics.json", "intents.json"])
def test_a_missing_file_is_named(prepared, tokenizer, name):
    (prepared / name).unlink()
    with pytest.raises(StepError, match=name):
        read(prepared, tokenizer)


def test_a_file_that_is_no_parquet_is_named(prepared, tokenizer):
    (prepared / "train.parquet").write_text("text,intent\n")
    with pytest.raises(StepError, match=r"train\.parquet is not a readable Parquet file"):
        read(prepared, tokenizer)


def test_a_missing_column_is_named(prepared, tokenizer):
    table = pq.read_table(prepared / "train.parquet").drop_columns(["label"])
    pq.write_table(table, prepared / "train.parquet")
    with pytest.raises(StepError, match=r"train\.parquet has no column 'label'"):
        read(prepared, tokenizer)


def test_a_label_that_is_no_intent_is_refused(prepared, tokenizer):
    (prepared / "intents.json").write_text(json.dumps({"intents": ["lights_off", "weather"]}))
    with pytest.raises(StepError, match="label outside intents"):
        read(prepared, tokenizer)


def test_statistics_that_lack_a_key_are_refused(prepared, tokenizer):
    (prepared / "statistics.json").write_text("{}")
    with pytest.raises(StepError, match="lacks 'dataset_sha256'"):
        read(prepared, tokenizer)


def test_one_intent_only_is_refused(prepared, tokenizer):
    for split in ("train", "validation"):
        table = pq.read_table(prepared / f"{split}.parquet")
        keep = pa.compute.less_equal(table.column("label"), 0)
        pq.write_table(table.filter(keep), prepared / f"{split}.parquet")
    (prepared / "intents.json").write_text(json.dumps({"intents": ["lights_off"]}))
    with pytest.raises(StepError, match="at least two"):
        read(prepared, tokenizer)


def test_an_intent_without_a_training_row_is_named(prepared, tokenizer):
    table = pq.read_table(prepared / "train.parquet")
    keep = pa.compute.not_equal(table.column("label"), 1)
    pq.write_table(table.filter(keep), prepared / "train.parquet")
    with pytest.raises(StepError, match="'play_music' has no training row"):
        read(prepared, tokenizer)


def test_a_row_without_tokens_becomes_one_padding_token(prepared, tokenizer, tiny_base_model):
    digest = open_base_model(tiny_base_model, 64).tokenizer_sha256
    statistics = json.loads((prepared / "statistics.json").read_text())
    (prepared / "statistics.json").write_text(json.dumps(statistics | {"tokenizer_sha256": digest}))
    table = pq.read_table(prepared / "train.parquet")
    ids = table.column("input_ids").to_pylist()
    ids[1] = []
    index = table.schema.get_field_index("input_ids")
    table = table.set_column(index, "input_ids", pa.array(ids, pa.list_(pa.int32())))
    pq.write_table(table, prepared / "train.parquet")
    data = read(prepared, tokenizer, digest)
    assert data.train.lengths[1] == 1
    assert data.train.select(np.array([1])).tokens.tolist() == [tokenizer.pad_token_id]
    assert data.train.select(np.array([2])).tokens.tolist() == ids[2]


def test_a_batch_is_padded_on_the_right_to_its_longest_row():
    ids, mask, labels = rows_of([[5, 6, 7], [8], [9, 9]], [2, 0, 1]).batch(np.array([1, 2]))
    assert ids.tolist() == [[8, 0], [9, 9]]
    assert mask.tolist() == [[1, 0], [1, 1]]
    assert labels.tolist() == [0, 1]


def test_joined_rows_follow_each_other():
    both = join(rows_of([[1, 2]], [0]), rows_of([[3], [4, 5]], [1, -1]))
    assert both.select(np.array([2, 0])).tokens.tolist() == [4, 5, 1, 2]
    assert both.labels.tolist() == [0, 1, -1]


def test_every_row_stands_in_one_batch_of_an_epoch():
    lengths = np.random.default_rng(0).integers(3, 30, 1000)
    batches = epoch_batches(lengths, 32, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert len(batches) == 32


def test_a_batch_holds_rows_of_like_length_but_the_order_is_mixed():
    lengths = np.random.default_rng(0).integers(3, 60, 4000)
    batches = epoch_batches(lengths, 32, seed=1, epoch=0)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest != sorted(longest)


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = np.arange(100) % 7 + 3

    def order(seed, epoch):
        return np.concatenate(epoch_batches(lengths, 8, seed, epoch)).tolist()

    assert order(3, 2) == order(3, 2)
    assert order(3, 2) != order(3, 1)
    assert order(3, 2) != order(4, 2)


def test_processes_walk_through_all_rows_once_between_them():
    lengths = np.random.default_rng(0).integers(3, 30, 101)
    walks = [np.concatenate(list(walk_by_length(lengths, 8, rank, 3))) for rank in range(3)]
    assert sorted(np.concatenate(walks).tolist()) == list(range(101))


def test_a_sample_takes_at_most_so_many_of_each_intent():
    labels = np.array([0] * 10 + [1] * 2 + [2] * 5)
    chosen = sample_per_class(labels, 3, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [3, 2, 3]
    assert sample_per_class(labels, 0, seed=0).tolist() == list(range(17))
    assert sample_per_class(labels, 3, seed=0).tolist() == chosen.tolist()
