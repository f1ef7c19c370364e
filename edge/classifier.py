"""Turns an utterance into an intent: one model, loaded once, asked from any thread.

::

    classifier = IntentClassifier.load("model")
    classifier.predict("turn off the kitchen light").intent

This is the code that the device runs, that *compile* scores the model with and that
``python -m edge`` tries from a shell. It needs numpy, onnxruntime and tokenizers, nothing else.

What can go wrong is drawn in :mod:`edge.errors`. It leaves out the network, signatures and updates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edge.cleaning import clean
from edge.errors import InconsistentModelError, InputError, MissingFileError, ModelError
from edge.folder import (
    MODEL,
    RULE,
    TOKENIZER,
    Rule,
    Session,
    check_record,
    first_line,
    needs_precision,
    open_session,
    read_rule,
    read_tokenizer,
    unknown_token,
)  # fmt: skip

__all__ = ["Candidate", "InputError", "IntentClassifier", "ModelError", "Prediction"]

OUT_OF_SCOPE = "out_of_scope"
"""The intent of an utterance that no intent should claim."""
CHARACTERS_PER_TOKEN = 64
"""Text beyond ``max_length`` times this many characters is not even tokenized. It bounds the work
for a megabyte of text and is far more than any language puts into one token."""
BATCH = 32
"""Utterances that go through the model at once."""


class Candidate(NamedTuple):
    """An intent and its calibrated probability."""

    intent: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one utterance."""

    intent: str
    """The most likely intent, or ``out_of_scope``."""
    confidence: float
    """Calibrated probability of the best candidate, also when it was rejected."""
    out_of_scope: bool
    energy: float
    """logsumexp of the logits; the higher, the more the utterance is like the training data."""
    top: tuple[Candidate, ...]
    """The best candidates, most likely first, also when the utterance was rejected."""
    model_version: str
    tokens: int = 0
    """What the model saw, its two special tokens included."""
    unknown_tokens: int = 0
    """Of those, how many stand for what the tokenizer does not know."""

    def to_json(self) -> dict[str, Any]:
        """What is answered, as plain lists and dictionaries: the counts of tokens stay here."""
        return {
            "intent": self.intent,
            "confidence": self.confidence,
            "out_of_scope": self.out_of_scope,
            "energy": self.energy,
            "top": [candidate._asdict() for candidate in self.top],
            "model_version": self.model_version,
        }


class IntentClassifier:
    """A loaded model. Make it with :meth:`load`; every method may be called from any thread."""

    def __init__(
        self, session: Session, tokenizer: Tokenizer, rule: Rule, model_version: str
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._rule = rule
        self._unknown = unknown_token(tokenizer)
        self._characters = rule.max_length * CHARACTERS_PER_TOKEN
        self.model_version = model_version

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        threads: int = 1,
        precise: bool | Literal["auto"] = "auto",
        arena: bool = True,
    ) -> IntentClassifier:
        """Load a *compiled* folder and try it once.

        Args:
            folder: Holds ``model.onnx``, ``tokenizer.json``, ``intents.json`` and, for a finished
                compilation, ``compilation.json``, whose hashes are then checked.
            threads: Threads that one prediction may use. One is fastest for single utterances.
            precise: Multiply without saturation, more slowly: what 8-bit weights need on x86
                processors without VNNI. ``auto`` does it there. Models compiled here have 7-bit
                weights, which cannot saturate, and do not need it.
            arena: Keep freed memory for the next prediction.

        Raises:
            ModelError: A file is missing, damaged or does not fit the others.
            InputError: ``threads`` is not a positive whole number.
        """
        folder = Path(folder)
        if threads < 1:
            raise InputError(f"threads must be 1 or more, not {threads}.")
        for name in (MODEL, TOKENIZER, RULE):
            if not (folder / name).is_file():
                raise MissingFileError(f"The model folder {folder} has no {name}.")
        version = check_record(folder)
        rule = read_rule(folder / RULE)
        tokenizer = read_tokenizer(folder / TOKENIZER, rule.max_length)
        exact = needs_precision(folder) if precise == "auto" else precise
        session = open_session(folder / MODEL, threads, exact, arena)
        classifier = cls(session, tokenizer, rule, version)
        classifier._try_once(folder)
        return classifier

    @property
    def intents(self) -> tuple[str, ...]:
        """The intents in the order of the logits; ``out_of_scope`` is not among them."""
        return self._rule.intents

    @overload
    def predict(self, text: str, top_k: int = 3) -> Prediction: ...

    @overload
    def predict(self, text: list[str] | tuple[str, ...], top_k: int = 3) -> list[Prediction]: ...

    def predict(
        self, text: str | list[str] | tuple[str, ...], top_k: int = 3
    ) -> Prediction | list[Prediction]:
        """Classify one utterance, or several at once.

        Several are run in batches of like length. A batch shares the scale of its quantised
        activations, so that a logit may differ in the second decimal from that of the utterance
        alone; ask one by one where that matters.

        Args:
            text: An utterance or a list of them; an empty list gives an empty list.
            top_k: How many candidates to return, at most.

        Raises:
            InputError: An utterance is not text, is blank or is not valid Unicode, or ``top_k``
                is not positive.
        """
        if top_k < 1:
            raise InputError(f"top_k must be 1 or more, not {top_k}.")
        if isinstance(text, str):
            ids = self._encode(text, 0)
            return self._answer(self._run([ids])[0], ids, top_k)
        encoded = self._encode_all(text)
        rows = self._run_all(encoded, BATCH)
        return [self._answer(row, ids, top_k) for row, ids in zip(rows, encoded, strict=True)]

    def logits(self, texts: Sequence[str], *, batch: int = BATCH) -> NDArray[np.float32]:
        """The raw logits, [utterances, intents], in the order of ``texts``.

        Args:
            texts: Utterances; text beyond ``max_length`` tokens is cut off.
            batch: Utterances that go through the model at once; 1 is what the device does.

        Raises:
            InputError: As for :meth:`predict`.
        """
        return self._run_all(self._encode_all(texts), batch)

    def _encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._encode(text, position) for position, text in enumerate(texts)]

    def _run_all(self, ids: list[list[int]], batch: int) -> NDArray[np.float32]:
        rows = np.empty((len(ids), len(self._rule.intents)), dtype=np.float32)
        for chosen in _batches_of_like_length(ids, batch):
            rows[chosen] = self._run([ids[row] for row in chosen])
        return rows

    def _encode(self, text: object, position: int) -> list[int]:
        if not isinstance(text, str):
            raise InputError(f"Utterance {position} is {type(text).__name__}, not text.")
        text = text[: self._characters]
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"Utterance {position} is not valid Unicode: it holds half a surrogate pair."
            ) from None
        text = clean(text)
        if not text:
            raise InputError(f"Utterance {position} is blank: nothing can be understood from it.")
        return self._tokenizer.encode(text).ids

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        shape = (len(rows), max(map(len, rows)))
        ids = np.zeros(shape, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

    def _answer(self, logits: NDArray[np.float32], ids: list[int], top_k: int) -> Prediction:
        values = logits.astype(np.float64)
        peak = float(values.max())
        energy = peak + math.log(float(np.exp(values - peak).sum()))
        weights = np.exp((values - peak) / self._rule.temperature)
        shares = weights / weights.sum()
        best = np.argsort(-shares, kind="stable")[:top_k]
        top = tuple(Candidate(self._rule.intents[i], float(shares[i])) for i in best)
        rejected = energy < self._rule.energy_threshold
        return Prediction(
            intent=OUT_OF_SCOPE if rejected else top[0].intent,
            confidence=top[0].confidence,
            out_of_scope=rejected,
            energy=energy,
            top=top,
            model_version=self.model_version,
            tokens=len(ids),
            unknown_tokens=ids.count(self._unknown),
        )

    def _try_once(self, folder: Path) -> None:
        """Run the longest input of the last token: it warms up, and no later input asks more."""
        last = self._tokenizer.get_vocab_size() - 1
        try:
            logits = self._run([[last] * self._rule.max_length])
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no other base
            raise InconsistentModelError(
                f"In {folder} {MODEL} does not take what {TOKENIZER} and {RULE} promise: "
                f"{first_line(error)}"
            ) from None
        expected = (1, len(self._rule.intents))
        if logits.shape != expected:
            raise InconsistentModelError(
                f"In {folder} {MODEL} answers with shape {list(logits.shape)} "
                f"but {RULE} has {len(self._rule.intents)} intents."
            )
        if not np.isfinite(logits).all():
            raise InconsistentModelError(
                f"In {folder} {MODEL} answers with infinite or missing values."
            )


def _batches_of_like_length(ids: list[list[int]], batch: int) -> Iterator[list[int]]:
    if batch < 1:
        raise InputError(f"batch must be 1 or more, not {batch}.")
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
