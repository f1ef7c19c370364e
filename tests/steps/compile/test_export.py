from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from steps.compile import export as exporting
from steps.compile.export import Exportable, export
from steps.contract import StepError
from steps.intent_model import IntentModel, Pooling, load

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip


def model_of(config: Any, pooling: Pooling = "mean") -> IntentModel:
    from transformers import AutoModel

    torch.manual_seed(0)
    return IntentModel(AutoModel.from_config(config).eval(), nn.Linear(16, 3), pooling).eval()


def test_every_attention_block_of_a_bert_is_fused_and_answers_stay(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(load(tiny_model)[0], tmp_path / "model.onnx") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    written = capsys.readouterr()
    assert (written.out, "Warning" in written.err) == ("", False)


def test_a_decoder_pooled_at_its_last_token_is_exported_unfused(tmp_path: Path) -> None:
    from transformers import LlamaConfig

    model = model_of(LlamaConfig(**SMALL, num_key_value_heads=1), "last")
    assert export(model, tmp_path / "model.onnx") == 0
    assert (tmp_path / "model.onnx").is_file()


def test_token_types_are_passed_only_to_encoders_that_have_a_table_of_them() -> None:
    from transformers import BertConfig, GPT2Config

    decoder = GPT2Config(
        vocab_size=60, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    ids = torch.arange(6).view(2, 3)
    for config, has in ((BertConfig(**SMALL), True), (decoder, False)):
        model = model_of(config)
        module = Exportable(model)
        assert module.has_token_types is has
        with torch.inference_mode():
            assert torch.allclose(
                module(ids, torch.ones_like(ids)), model(ids, torch.ones_like(ids)), atol=1e-5
            )


def test_attention_that_was_not_fused_ends_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import MPNetConfig

    # MPNet's attention has a position bias, which the fusion for BERT does not find
    monkeypatch.setattr(exporting, "FUSED_ARCHITECTURES", ("mpnet",))
    with pytest.raises(StepError, match="fused 0 of 1 attention blocks of this mpnet model"):
        export(model_of(MPNetConfig(**SMALL)), tmp_path / "model.onnx")


def test_a_graph_that_answers_differently_ends_the_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Exportable, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model(input_ids, attention_mask) + 1

    monkeypatch.setattr(Exportable, "forward", wrong)
    with pytest.raises(StepError, match="answers differently from PyTorch"):
        export(load(tiny_model)[0], tmp_path / "model.onnx")


def test_an_architecture_that_pytorch_cannot_export_ends_the_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untraceable(self: Exportable, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        raise RuntimeError("no such operator\nand a page about it")

    monkeypatch.setattr(Exportable, "forward", untraceable)
    with pytest.raises(StepError, match=r"cannot be exported to ONNX: no such operator$"):
        export(load(tiny_model)[0], tmp_path / "model.onnx")
