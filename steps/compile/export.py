"""From a trained model to a fused ONNX graph in float32.

The TorchScript-based exporter is used on purpose, with eager attention: onnxruntime's fusion for
BERT recognises what it writes and does not recognise the newer exporter's graph (see
``docs/decisions/0004-int8.md``). What it leaves out: quantisation.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steps.contract import StepError
from steps.intent_model import IntentModel

FUSED_ARCHITECTURES = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
"""``model_type`` of the encoders whose attention onnxruntime's fusion must find."""
OPSET = 17
TOLERANCE = 1e-3
"""Largest difference of a logit between PyTorch and the graph; float32 gives about 1e-5."""
_SHAPES = ((1, 5), (2, 9), (3, 24))
"""Batch and length of the inputs that the graph is checked with; not the traced one."""


class Exportable(nn.Module):
    """The intent model in operations that trace well; gives the same logits.

    Token types are passed as zeros, which saves a dozen nodes that look up and expand a buffer;
    the mean's division is left out, because normalisation cancels it.
    """

    def __init__(self, model: IntentModel) -> None:
        super().__init__()
        self.model = model
        # GPT-2 takes token_type_ids too, but looks them up among the words: only where the
        # encoder has a table of its own do zeros mean "nothing special"
        self.has_token_types = any(
            name.endswith("token_type_embeddings") for name, _ in model.encoder.named_modules()
        )
        self.has_cache = "use_cache" in inspect.signature(model.encoder.forward).parameters

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        more: dict[str, Any] = {}
        if self.has_token_types:
            more["token_type_ids"] = torch.zeros_like(input_ids)
        if self.has_cache:
            more["use_cache"] = False
        output = self.model.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)
        states = output.last_hidden_state
        if self.model.pooling == "last":
            last = attention_mask.sum(dim=1) - 1
            index = last.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
            pooled = states.gather(1, index).squeeze(1)
        else:
            pooled = (states * attention_mask.unsqueeze(-1).to(states.dtype)).sum(dim=1)
        length = (pooled * pooled).sum(dim=-1, keepdim=True).sqrt()
        return self.model.head(pooled / length)


def export(model: IntentModel, path: Path) -> int:
    """Write the fused float32 graph of ``model`` to ``path`` and check it against PyTorch.

    Returns:
        How many attention blocks were fused; 0 for an architecture that the fusion does not know.

    Raises:
        StepError: The model cannot be exported, attention was not fused, or answers changed.
    """
    config = configuration(model)
    architecture = str(config.model_type)
    plain = path.with_name(f"plain-{path.name}")
    module = export_plain(model, plain)
    if architecture in FUSED_ARCHITECTURES:
        fused = _fuse(plain, path, int(config.num_attention_heads), int(config.hidden_size))
        if fused != config.num_hidden_layers:
            raise StepError(
                f"onnxruntime fused {fused} of {config.num_hidden_layers} attention blocks of this "
                f"{architecture} model: torch, transformers or onnxruntime changed what they "
                "write, use the pinned versions."
            )
        plain.unlink()
    else:
        fused = 0
        plain.replace(path)
    _compare(module, path)
    return fused


def export_plain(model: IntentModel, path: Path) -> Exportable:
    """Write the unfused float32 graph, with free batch and length, to ``path``.

    Raises:
        StepError: PyTorch cannot export this architecture.
    """
    module = traceable(model)
    free = {0: "batch", 1: "length"}
    try:
        with quiet(), torch.inference_mode():
            torch.onnx.export(
                module,
                _inputs(2, 9, _vocabulary(module)),
                str(path),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_axes={"input_ids": free, "attention_mask": free, "logits": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise StepError(
            f"This {configuration(model).model_type} model cannot be exported to ONNX: "
            f"{str(error).strip().splitlines()[0]}"
        ) from None
    return module


def traceable(model: IntentModel) -> Exportable:
    """``model`` in evaluation mode with attention written out, which traces and fuses well."""
    model.encoder.set_attn_implementation("eager")  # type: ignore[operator]
    return Exportable(model).eval()


def _fuse(plain: Path, path: Path, heads: int, hidden: int) -> int:
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    # on a CPU these two are slower than what they replace; edge/folder.py says how much
    wanted = FusionOptions("bert")
    wanted.enable_skip_layer_norm = wanted.enable_bias_skip_layer_norm = False
    wanted.enable_bias_gelu = False
    with quiet():
        fused = optimizer.optimize_model(
            str(plain), "bert", heads, hidden, opt_level=0, optimization_options=wanted
        )
        fused.save_model_to_file(str(path))
    return sum(node.op_type == "Attention" for node in fused.model.graph.node)


def _compare(module: Exportable, path: Path) -> None:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for rows, length in _SHAPES:
        ids, mask = _inputs(rows, length, _vocabulary(module))
        with torch.inference_mode():
            # the model itself, not what was traced: a mistake in Exportable must show too
            expected = module.model(ids, mask).numpy()
        found = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[
            0
        ]
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise StepError(
                f"The ONNX graph of this {configuration(module.model).model_type} model answers "
                f"differently from PyTorch (a logit by {difference:.3g} for {rows} utterances of "
                f"{length} tokens): this architecture cannot be compiled."
            )


def configuration(model: IntentModel) -> Any:
    """The encoder's transformers configuration, which torch's types know nothing of."""
    return model.encoder.config


def _vocabulary(module: Exportable) -> int:
    return int(configuration(module.model).vocab_size)


def _inputs(rows: int, length: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Seeded ids and a mask, both [rows, length], in which every later row is padded more."""
    random = torch.Generator().manual_seed(rows * 1000 + length)
    ids = torch.randint(5, vocabulary, (rows, length), generator=random)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(1, rows):
        mask[row, length - 2 * row :] = 0
    return ids, mask


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporter and optimiser from writing pages of advice into the job's log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
