"""Turns texts into the base model's token ids, many at a time.

Uses the tokenizer's own file with the library `tokenizers` (Rust, all cores); transformers is
only asked where a model comes without that file. It leaves out padding: batches pad.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.contract import StepError

_VOCABULARIES = (
    "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


@dataclass(frozen=True)
class TextTokenizer:
    """A loaded tokenizer that truncates to ``max_length`` tokens."""

    backend: Any
    sha256: str
    """Of its tokenizer.json."""
    max_length: int
    pad_id: int
    unknown_id: int | None
    """None for tokenizers that spell everything out in bytes."""

    @property
    def vocabulary_size(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    @property
    def special_tokens(self) -> int:
        """How many of each text's tokens are not its own, such as [CLS] and [SEP]."""
        return int(self.backend.num_special_tokens_to_add(False))

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """All ids of all texts in one array, and the number of ids of each text."""
        lists = [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]
        lengths = np.fromiter(map(len, lists), np.int32, len(lists))
        flat = np.fromiter(chain.from_iterable(lists), np.int32, int(lengths.sum()))
        return flat, lengths


def load_tokenizer(base_model: Path, max_length: int) -> TextTokenizer:
    """The tokenizer in the folder of a base model.

    Raises:
        StepError: There is none, it cannot be read, or the model cannot take ``max_length``.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    config = _json(base_model / "config.json")
    longest = config.get("max_position_embeddings")
    if isinstance(longest, int) and max_length > longest:
        raise StepError(
            f"max_length is {max_length}, but the base model in {base_model} takes at most "
            f"{longest} tokens: lower MaxLength."
        )
    backend, sha256 = _backend(base_model)
    backend.no_padding()
    backend.enable_truncation(max_length)
    return TextTokenizer(
        backend, sha256, max_length, _pad_id(base_model, backend, config), _unknown_id(backend)
    )


def _backend(base_model: Path) -> tuple[Any, str]:
    from tokenizers import Tokenizer

    path = base_model / "tokenizer.json"
    try:
        if path.is_file():
            text = path.read_bytes()
            return Tokenizer.from_buffer(text), hashlib.sha256(text).hexdigest()
        if not any((base_model / name).is_file() for name in _VOCABULARIES):
            raise FileNotFoundError("no tokenizer.json and no vocabulary")
        from transformers import AutoTokenizer  # without a vocabulary it would make an empty one

        tokenizer = AutoTokenizer.from_pretrained(str(base_model), local_files_only=True)
        backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exception
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise StepError(
            f"The base model in {base_model} has no tokenizer that can be read ({reason}): "
            "it needs a tokenizer.json."
        ) from None
    return backend, hashlib.sha256(backend.to_str().encode()).hexdigest()


def _pad_id(base_model: Path, backend: Any, config: dict[str, Any]) -> int:
    """The padding token's id; decoders often have none and get their end token's, or 0."""
    names = _json(base_model / "tokenizer_config.json")
    for kind in ("pad", "eos"):
        token = names.get(f"{kind}_token")
        if isinstance(token, dict):  # an AddedToken
            token = token.get("content")
        number = backend.token_to_id(token) if isinstance(token, str) else None
        number = config.get(f"{kind}_token_id") if number is None else number
        if isinstance(number, list):  # some decoders end in several ways
            number = number[0] if number else None
        if isinstance(number, int):
            return number
    return 0


def _unknown_id(backend: Any) -> int | None:
    model = json.loads(backend.to_str())["model"]
    if isinstance(model.get("unk_id"), int):  # Unigram
        return model["unk_id"]
    token = model.get("unk_token")
    return backend.token_to_id(token) if isinstance(token, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
