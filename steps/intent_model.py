"""The model that *train* writes and that *evaluate* and *compile* read.

An encoder (or decoder) from transformers, its token states pooled and normalised into one
embedding, and a linear head with one row an intent. The model folder is described in
:func:`save` and holds nothing that needs unpickling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steps.contract import StepError, read_json, write_json

Pooling = Literal["mean", "last"]


@dataclass(frozen=True)
class DecisionRule:
    """What turns logits into an answer; written to ``intents.json``.

    ``energy`` is logsumexp of the raw logits; an utterance whose energy lies below
    ``energy_threshold`` is out of scope. Confidence is the softmax of logits / ``temperature``.
    """

    intents: list[str]
    temperature: float = 1.0
    energy_threshold: float = float("-inf")
    max_length: int = 64
    """Longest input in tokens, special tokens included; the rest is cut off."""

    def to_json(self) -> dict[str, Any]:
        # JSON has no infinity: no threshold is written as null and rejects nothing
        threshold = self.energy_threshold
        return {
            "intents": self.intents,
            "temperature": self.temperature,
            "energy_threshold": None if threshold == float("-inf") else threshold,
            "max_length": self.max_length,
        }

    @classmethod
    def read(cls, path: Path) -> DecisionRule:
        value = read_json(path, "The list of intents")
        try:
            threshold = value["energy_threshold"]
            return cls(
                intents=list(value["intents"]),
                temperature=float(value["temperature"]),
                energy_threshold=float("-inf") if threshold is None else float(threshold),
                max_length=int(value["max_length"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StepError(
                f"{path} is not a list of intents as train writes it: {error}."
            ) from None


class IntentModel(nn.Module):
    """Encoder, pooling and head; returns raw logits of shape [batch, intents]."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.pooling: Pooling = pooling

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit-length embeddings, [batch, hidden], of ids and mask [batch, length]."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "last":
            last = attention_mask.sum(dim=1) - 1
            pooled = states[torch.arange(states.shape[0], device=states.device), last]
        else:
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return nn.functional.normalize(pooled.float(), dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.embed(input_ids, attention_mask))


def save(model: IntentModel, tokenizer: Any, rule: DecisionRule, folder: Path) -> None:
    """Write the model folder: ``encoder/``, ``tokenizer/``, ``head.safetensors``, ``intents.json``.

    ``encoder`` must be a plain transformers model (merged, no adapter). *train* adds
    ``adapter/`` and ``training.json``, whose key ``pooling`` :func:`load` needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.encoder.save_pretrained(folder / "encoder", safe_serialization=True)  # type: ignore[operator]
    tokenizer.save_pretrained(folder / "tokenizer")
    head = {
        "weight": model.head.weight.detach().float().contiguous(),
        "bias": model.head.bias.detach().float().contiguous(),
    }
    save_file(head, str(folder / "head.safetensors"))
    write_json(folder / "intents.json", rule.to_json())


def load(folder: Path) -> tuple[IntentModel, DecisionRule]:
    """Read a model folder for inference, in float32 on the CPU.

    Raises:
        StepError: A file is missing, damaged or does not fit the others.
    """
    from transformers import AutoModel

    training = read_json(folder / "training.json", "The training record of the model")
    rule = DecisionRule.read(folder / "intents.json")
    try:
        encoder = AutoModel.from_pretrained(
            folder / "encoder", local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        tensors = load_file(str(folder / "head.safetensors"))
        weight, bias = tensors["weight"], tensors["bias"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StepError(f"The model in {folder} cannot be read: {error}") from None
    if weight.shape[0] != len(rule.intents):
        raise StepError(
            f"The model in {folder} has {weight.shape[0]} rows in head.safetensors "
            f"but {len(rule.intents)} intents in intents.json: train it again."
        )
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return IntentModel(encoder, head, training.get("pooling", "mean")).eval(), rule


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer (``tokenizers.Tokenizer``) of a model folder, without padding set."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer" / "tokenizer.json"
    if not path.is_file():
        raise StepError(f"The tokenizer of the model is missing: {path} does not exist.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    return tokenizer


@torch.inference_mode()
def logits_of(
    model: IntentModel, input_ids: list[list[int]], *, pad_id: int = 0, batch: int = 64
) -> Tensor:
    """Logits [rows, intents] of token id lists of any length, batched by like length."""
    order = sorted(range(len(input_ids)), key=lambda row: len(input_ids[row]))
    rows = torch.empty(len(input_ids), model.head.out_features)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        ids, mask = pad([input_ids[row] for row in chosen], pad_id)
        rows[chosen] = model(ids, mask).float()
    return rows


def pad(rows: list[list[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, both [rows, longest], padded on the right."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = 1
    return ids, mask
