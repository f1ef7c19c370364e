"""Base models of several kinds, made trainable and merged again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from steps.contract import StepError
from steps.train.config import TrainingConfig
from steps.train.model import (
    build_model,
    choose_precision,
    load_encoder,
    merged,
    open_base_model,
    trained_tensors,
)

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30522}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny_decoder(tmp_path_factory, tiny_base_model) -> Path:
    from transformers import LlamaConfig, LlamaModel

    folder = tmp_path_factory.mktemp("decoder")
    torch.manual_seed(0)
    LlamaModel(LlamaConfig(intermediate_size=64, **SIZES)).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base_model, local_files_only=True)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_gpt2(tmp_path_factory, tiny_base_model) -> Path:
    from transformers import GPT2Config, GPT2Model

    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    GPT2Model(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=30522)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base_model, local_files_only=True).save_pretrained(folder)
    return folder


@pytest.fixture
def copied(tiny_base_model, tmp_path) -> Path:
    return shutil.copytree(tiny_base_model, tmp_path / "base")


def built(folder, **arguments):
    config = TrainingConfig(**arguments)
    base = open_base_model(folder, 64)
    return base, config, build_model(base, config, 3, CPU, torch.float32).eval()


def disturbed(model):
    """The model with its trained tensors moved, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in trained_tensors(model).values():
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return model


IDS = torch.tensor([[101, 2000, 2001, 102], [101, 2005, 102, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True, "lora_rank": 4},
        {"use_dora": True, "lora_rank": 4},
        {"fine_tuning": "full"},
    ],
)
def test_the_merged_model_answers_as_the_trained_one(tiny_base_model, options):
    base, config, model = built(tiny_base_model, **options)
    disturbed(model)
    plain, adapter = merged(base, config, trained_tensors(model))
    assert torch.allclose(plain(IDS, MASK), model(IDS, MASK), atol=1e-4)
    assert (adapter is None) == (config.fine_tuning == "full")
    assert "lora" not in str(dict(plain.named_parameters()).keys())


def test_an_adapter_stands_on_every_linear_layer(tiny_base_model):
    _, _, model = built(tiny_base_model)
    names = {name.split(".lora_")[0] for name in trained_tensors(model) if "lora_A" in name}
    assert len(names) == 2 * 6  # query, key, value, three dense layers; two layers
    trained = trained_tensors(model)
    assert all(name.startswith("head.") or ".lora_" in name for name in trained)


def test_full_fine_tuning_trains_every_weight(tiny_base_model):
    _, _, model = built(tiny_base_model, fine_tuning="full")
    assert len(trained_tensors(model)) == len(list(model.parameters()))


@pytest.mark.parametrize("decoder", ["tiny_decoder", "tiny_gpt2"])
def test_a_decoder_is_pooled_at_its_last_token_and_merged(request, decoder):
    base, config, model = built(request.getfixturevalue(decoder))
    assert base.pooling == "last"
    assert base.tokenizer.pad_token_id is not None
    disturbed(model)
    plain, _ = merged(base, config, trained_tensors(model))
    assert torch.allclose(plain(IDS, MASK), model(IDS, MASK), atol=1e-4)
    short = model(IDS[1:, :3], MASK[1:, :3])
    assert torch.allclose(model(IDS, MASK)[1:], short, atol=1e-4), "padding must not matter"
    assert plain.encoder.config.use_cache


def test_an_encoder_is_pooled_by_the_mean(tiny_base_model):
    assert open_base_model(tiny_base_model, 64).pooling == "mean"


def test_frozen_weights_are_kept_in_bf16_and_trained_ones_in_float32(tiny_base_model):
    base = open_base_model(tiny_base_model, 64)
    model = build_model(base, TrainingConfig(), 3, CPU, torch.bfloat16)
    types = {value.dtype for value in trained_tensors(model).values()}
    assert types == {torch.float32}
    assert any(value.dtype == torch.bfloat16 for value in model.parameters())


def test_dora_keeps_its_frozen_weights_exact(tiny_base_model):
    base = open_base_model(tiny_base_model, 64)
    model = build_model(base, TrainingConfig(use_dora=True), 3, CPU, torch.bfloat16)
    assert all(value.dtype == torch.float32 for value in model.parameters())


def test_precision_is_bf16_only_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert choose_precision("auto", CPU) == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("bf16", CPU) == torch.bfloat16
    assert choose_precision("fp32", CPU) == torch.float32


def test_on_a_gpu_emulated_bf16_does_not_count(monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation
    )
    assert choose_precision("auto", torch.device("cuda")) == torch.float32


def test_qlora_without_a_gpu_says_what_to_choose(tiny_base_model):
    with pytest.raises(StepError, match=r"'qlora', which needs a CUDA GPU.*choose lora, or a GPU"):
        built(tiny_base_model, fine_tuning="qlora")


def test_qlora_without_bitsandbytes_says_what_to_install(tiny_base_model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    base = open_base_model(tiny_base_model, 64)
    with pytest.raises(StepError, match="needs the package bitsandbytes"):
        build_model(
            base, TrainingConfig(fine_tuning="qlora"), 3, torch.device("cuda"), torch.bfloat16
        )


def test_a_base_model_without_safetensors_is_refused(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(StepError, match=r"weights of the base model .* cannot be read"):
        load_encoder(open_base_model(copied, 64))


def test_a_base_model_with_damaged_weights_is_refused(copied):
    (copied / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(StepError, match=r"weights of the base model .* cannot be read"):
        load_encoder(open_base_model(copied, 64))


def test_a_base_model_with_a_damaged_configuration_is_refused(copied):
    (copied / "config.json").write_text('{"model_type": "no such thing"}')
    with pytest.raises(StepError, match=r"base model in .* cannot be read"):
        open_base_model(copied, 64)


def test_a_base_model_without_a_fast_tokenizer_is_refused(copied, monkeypatch):
    (copied / "tokenizer.json").unlink()
    with pytest.raises(StepError, match=r"no tokenizer\.json|cannot be read"):
        open_base_model(copied, 64)


def test_an_encoder_decoder_is_refused(copied):
    from transformers import T5Config

    T5Config(d_model=32, num_layers=1).save_pretrained(copied)
    with pytest.raises(StepError, match=r"encoder-decoder \(t5\)"):
        open_base_model(copied, 64)


def test_inputs_longer_than_the_base_model_takes_are_refused(tiny_base_model):
    with pytest.raises(StepError, match=r"max_length is 512, but .* takes at most 128"):
        open_base_model(tiny_base_model, 512)


def test_the_sum_of_the_weights_tells_base_models_apart(copied, tiny_decoder):
    first, second = open_base_model(copied, 64), open_base_model(tiny_decoder, 64)
    assert first.weights_sha256() != second.weights_sha256()
    assert first.weights_sha256() == open_base_model(copied, 64).weights_sha256()
