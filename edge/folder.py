"""Reads a *compiled* folder: what the model is made of, checked file by file.

What it leaves out: whether the files answer sensibly together. The classifier tries that once.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edge.errors import DamagedFileError, InconsistentModelError

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
RULE = "intents.json"
RECORD = "compilation.json"
UNKNOWN_VERSION = "unknown"
SLOWER_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""What onnxruntime would fuse at load, into operators that loop value by value: 22 microseconds
for each of MiniLM's twelve sums and normalisations, where an addition and a normalisation apart
take 4. Without them a prediction takes three quarters of the time."""

PROCESSOR = Path("/proc/cpuinfo")
"""Where Linux lists what the processor can do."""


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` that is used; it carries no types itself."""

    def run(
        self, output_names: list[str] | None, input_feed: dict[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]: ...

    def get_inputs(self) -> list[Any]: ...


@dataclass(frozen=True)
class Rule:
    """What turns logits into an answer: ``intents.json``."""

    intents: tuple[str, ...]
    temperature: float
    energy_threshold: float
    """-inf when the model rejects nothing."""
    max_length: int
    """In tokens, special tokens included."""


def check_record(folder: Path) -> str:
    """The model's version, after the files were found to be those that were compiled.

    A folder without a record is one that *compile* is still scoring.
    """
    path = folder / RECORD
    if not path.is_file():
        return UNKNOWN_VERSION
    record = _read_object(path)
    files = record.get("files", {})
    if not isinstance(files, dict):
        raise DamagedFileError(f"{path} is not a compilation record: files is not an object.")
    for name, expected in cast("dict[str, Any]", files).items():
        if name not in (MODEL, TOKENIZER, RULE):
            continue
        digest = expected.get("sha256") if isinstance(expected, dict) else None  # pyright: ignore
        if _sha256(folder / name) != digest:
            raise DamagedFileError(
                f"{folder / name} is not the file that {RECORD} records: its SHA-256 differs."
            )
    return str(record.get("model_version", UNKNOWN_VERSION))


def needs_precision(folder: Path, processor: Path = PROCESSOR) -> bool:
    """Whether this processor would saturate where the model multiplies 8-bit weights.

    Only x86 processors without VNNI do, and only where *compile* recorded that the model can.
    """
    path = folder / RECORD
    int8 = _read_object(path).get("int8") if path.is_file() else None
    if not isinstance(int8, dict) or not cast("dict[str, Any]", int8).get("saturates_without_vnni"):
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in processor.read_text(encoding="ascii", errors="replace")
    except OSError:
        return True  # slower where it was not needed, never wrong


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} cannot be read: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path} is not a JSON object.")
    return cast("dict[str, Any]", value)


def read_rule(path: Path) -> Rule:
    """Read ``intents.json``."""
    value = _read_object(path)
    try:
        intents = tuple(value["intents"])
        threshold = value["energy_threshold"]
        rule = Rule(
            intents=intents,
            temperature=float(value["temperature"]),
            energy_threshold=-math.inf if threshold is None else float(threshold),
            max_length=int(value["max_length"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} is not a list of intents: {error!r}.") from None
    problem = None
    if len(intents) < 2 or not all(isinstance(name, str) and name for name in intents):
        problem = "intents must be two or more names"
    elif len(set(intents)) != len(intents):
        problem = "an intent is named twice"
    elif not (math.isfinite(rule.temperature) and rule.temperature > 0):
        problem = f"temperature must be positive, not {rule.temperature}"
    elif math.isnan(rule.energy_threshold):
        problem = "energy_threshold is not a number"
    elif rule.max_length < 3:
        problem = f"max_length must be 3 or more, not {rule.max_length}"
    if problem:
        raise DamagedFileError(f"{path} is not a list of intents: {problem}.")
    return rule


def read_tokenizer(path: Path, max_length: int) -> Tokenizer:
    """Read ``tokenizer.json``, set to cut at ``max_length`` tokens and to pad nothing."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise DamagedFileError(f"{path} is not a tokenizer: {first_line(error)}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def unknown_token(tokenizer: Tokenizer) -> int:
    """The id of what the tokenizer writes for what it does not know; -1 if it has none.

    One of bytes (GPT-2, Llama) knows everything.
    """
    names = (getattr(cast("Any", tokenizer).model, "unk_token", None), "[UNK]", "<unk>")
    found = (tokenizer.token_to_id(name) for name in names if name)
    return next((number for number in found if number is not None), -1)


def open_session(path: Path, threads: int, precise: bool, arena: bool) -> Session:
    """Open ``model.onnx`` on the processor; see ``IntentClassifier.load`` for the arguments."""
    runtime = cast("Any", onnxruntime)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    # "all" adds memory layouts for convolutions: nothing for this model but time to load
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4  # what goes wrong is raised, in one sentence
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = cast(
            "Session",
            runtime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=SLOWER_FUSIONS,
            ),
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no other base
        raise DamagedFileError(f"{path} is not a model: {first_line(error)}") from None
    names = {node.name for node in session.get_inputs()}
    if names != {"input_ids", "attention_mask"}:
        raise InconsistentModelError(
            f"{path} takes {', '.join(sorted(names)) or 'nothing'}, "
            "not input_ids and attention_mask."
        )
    return session


def first_line(error: BaseException) -> str:
    """An error of a library as part of a sentence: its first line, cut to a readable length."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
