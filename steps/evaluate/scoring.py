"""The test rows as they were prepared, and a trained model's answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steps.contract import OUT_OF_SCOPE_LABEL, StepError, read_json
from steps.evaluate.metrics import Array, confidence, energy


@dataclass(frozen=True)
class Rows:
    """One prepared split, in the file's order."""

    texts: list[str]
    intents: list[str]
    labels: Array
    """int32; -1 is out of scope."""
    input_ids: list[list[int]]
    """Empty where the ids were not asked for."""


def read_rows(prepared: Path, split: str, *, ids: bool) -> Rows:
    """Read ``train``, ``validation`` or ``test``, with or without the token ids.

    Raises:
        StepError: The file is missing, damaged or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = prepared / f"{split}.parquet"
    columns = ["text", "intent", "label"] + (["input_ids"] if ids else [])
    try:
        # not read_table, which takes a folder called a=b for a column
        with pq.ParquetFile(path) as file:
            table = file.read(columns=columns)
    except FileNotFoundError:
        raise StepError(
            f"The {split} split is missing: {path} does not exist; run prepare first."
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise StepError(f"{path} cannot be read ({error}): run prepare again.") from None
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise StepError(f"{path} has no column {', '.join(missing)}: run prepare again.")
    return Rows(
        texts=table["text"].to_pylist(),
        intents=table["intent"].to_pylist(),
        labels=table["label"].to_numpy().astype(np.int32),
        input_ids=table["input_ids"].to_pylist() if ids else [],
    )


@dataclass(frozen=True)
class Scores:
    """A model's answers, one row an utterance."""

    logits: Array
    """float32 [rows, intents]."""
    predicted: Array
    """int32: the intent of the largest logit, whether or not the row is then rejected."""
    energy: Array
    confidence: Array
    """After temperature scaling."""
    unscaled_confidence: Array

    @classmethod
    def of(cls, logits: Array, temperature: float) -> Scores:
        return cls(
            logits=logits,
            predicted=logits.argmax(axis=1).astype(np.int32),
            energy=energy(logits),
            confidence=confidence(logits, temperature),
            unscaled_confidence=confidence(logits),
        )


class Classifier:
    """A model folder, loaded, that answers token ids or texts."""

    def __init__(self, model: Any, rule: Any, tokenizer: Any, pad_id: int) -> None:
        self.model = model
        self.rule = rule
        self._tokenizer = tokenizer
        self._pad_id = pad_id
        self._seen: dict[tuple[int, ...], int] = {}

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Load an unpacked model folder.

        Raises:
            StepError: A part of it is missing or damaged.
        """
        from steps.intent_model import load, load_tokenizer

        model, rule = load(folder)
        tokenizer = load_tokenizer(folder)
        tokenizer.enable_truncation(rule.max_length)
        pad_id = getattr(model.encoder.config, "pad_token_id", None)
        return cls(model, rule, tokenizer, 0 if pad_id is None else pad_id)

    def score(self, input_ids: list[list[int]]) -> Scores:
        """Answers to token ids.

        Raises:
            StepError: An id is not in the model's vocabulary, or a row has no id.
        """
        self._check(input_ids)
        scores = Scores.of(self._logits(input_ids), self.rule.temperature)
        answers = scores.predicted.tolist()
        self._seen.update(zip(map(tuple, input_ids), answers, strict=True))
        return scores

    def score_texts(self, texts: Sequence[str]) -> Scores:
        """Answers to texts, cut into tokens as the device will cut them."""
        return self.score(self._encode(texts))

    def predict(self, texts: Sequence[str]) -> Array:
        """Labels of texts; what has the tokens of an earlier row is not computed again."""
        rows = [tuple(ids) for ids in self._encode(texts)]
        new = [list(ids) for ids in dict.fromkeys(rows) if ids not in self._seen]
        if new:
            self.score(new)
        return np.array([self._seen[ids] for ids in rows], dtype=np.int32)

    def logits(self, texts: Sequence[str]) -> Array:
        """Logits of texts, always computed: for timing."""
        return self._logits(self._encode(texts))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def _logits(self, input_ids: list[list[int]]) -> Array:
        from steps.intent_model import logits_of

        return logits_of(self.model, input_ids, pad_id=self._pad_id).numpy()

    def _check(self, input_ids: list[list[int]]) -> None:
        size = getattr(self.model.encoder.config, "vocab_size", None)
        largest = max((max(ids, default=-1) for ids in input_ids), default=-1)
        if any(not ids for ids in input_ids) or (size is not None and largest >= size):
            raise StepError(
                f"The token ids do not fit the model (largest {largest}, vocabulary {size}): the "
                "data were prepared with another tokenizer; run prepare with the base model that "
                "train used."
            )


def check_same_intents(prepared: Path, intents: list[str]) -> None:
    """The model and the data must agree on labels.

    Raises:
        StepError: They do not; the sentence names what only one of them has.
    """
    value = read_json(prepared / "intents.json", "The list of prepared intents")
    expected = list(value.get("intents", [])) if isinstance(value, dict) else []
    if expected == intents:
        return
    apart = sorted(set(expected) ^ set(intents)) or ["the order alone"]
    raise StepError(
        f"The model and {prepared} have different intents (first difference: {apart[0]}): "
        "evaluate the model on the data that it was trained on."
    )


def in_scope(labels: Array) -> Array:
    """Which rows have an intent, bool [rows]."""
    return labels != OUT_OF_SCOPE_LABEL
