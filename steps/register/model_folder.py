"""What *register* accepts as a model, and the checks before it enters the registry.

Three shapes, each packed as ``model.tar.gz`` or not:

1. the folder that *train* writes (steps/intent_model.py);
2. the same without ``training.json``, from a training script of one's own;
3. a Hugging Face folder, as ``save_pretrained`` or sentence-transformers leave it
   (``config.json``, ``*.safetensors``, ``tokenizer.json``), to which ``head.safetensors``
   (``weight`` [intents, hidden] and ``bias`` [intents]) was added, with the intents in
   ``intents.json`` or as ``id2label`` in ``config.json``. The head must stand on the pooled,
   normalised embedding, because that is what the device computes.

The second and third become the first. Refused: a classifier that transformers put on its own
pooler, whose figures would not survive compilation, and anything that must be unpickled.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.archive import MODEL_ARCHIVE, pack, unpack
from steps.contract import StepError, read_json, write_json
from steps.registry import sha256_of

_PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt"}
_OURS = ("encoder", "tokenizer", "head.safetensors", "intents.json")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class CheckedModel:
    """A model that may enter the registry."""

    archive: Path
    sha256: str
    intents: list[str]
    training: dict[str, Any]
    """``training.json``: what is known of how the model came to be."""
    training_file: Path


def check_model(folder: Path, scratch: Path, pooling: str = "") -> CheckedModel:
    """Bring a model into the shape of *train*'s folder, packed, and check that it hangs together.

    Args:
        folder: Any of the shapes above.
        scratch: A folder to unpack and pack in.
        pooling: ``mean`` or ``last`` for a model whose folder does not say it.

    Raises:
        StepError: There is no model, it is damaged or unsafe, or its files contradict each other.
    """
    packed = folder / MODEL_ARCHIVE
    given = unpack(packed, scratch / "given") if packed.is_file() else folder
    _refuse_pickles(given)
    model = _in_our_shape(given, scratch / "model", pooling)
    archive = packed
    if not (packed.is_file() and model == given):
        archive = pack(model, scratch / "packed" / MODEL_ARCHIVE)
    intents = _intents(model / "intents.json")
    _check_head(model / "head.safetensors", intents)
    record = model / "training.json"
    training = read_json(record, "The training record of the model")
    if not isinstance(training, dict):
        raise StepError(f"{record} is not a training record as train writes it: train again.")
    return CheckedModel(archive, sha256_of(archive), intents, training, record)


def _refuse_pickles(folder: Path) -> None:
    if not folder.is_dir():
        raise StepError(f"No model in {folder}: there is no such folder; give a model folder.")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise StepError(
                f"{path} is a link, which a registry cannot keep: replace it by the file itself."
            )
        if path.suffix.lower() in _PICKLED:
            raise StepError(
                f"{path} may run code when it is loaded: save the model as safetensors, "
                "then register it."
            )


def _in_our_shape(given: Path, destination: Path, pooling: str) -> Path:
    if (given / "training.json").is_file():
        _check_parts(given)
        return given
    if (given / "encoder").is_dir():
        _check_parts(given)
        training = {"pooling": _pooling(given, pooling)}
        shutil.copytree(given, destination)
    elif (given / "config.json").is_file():
        training = _split_hugging_face(given, destination, pooling)
        _check_parts(destination)
    else:
        raise StepError(
            f"No model in {given}: expected {MODEL_ARCHIVE}, a folder that train wrote, or a "
            "Hugging Face folder with head.safetensors."
        )
    write_json(destination / "training.json", {**training, "trained": "elsewhere"})
    return destination


def _split_hugging_face(given: Path, destination: Path, pooling: str) -> dict[str, Any]:
    """Copy a flat Hugging Face folder into *train*'s shape; returns its training record."""
    configuration = read_json(given / "config.json", "The configuration of the model")
    if not (given / "head.safetensors").is_file():
        names = ", ".join(configuration.get("architectures") or ["this model"])
        raise StepError(
            f"{given} has no head.safetensors: {names} has no linear head on the pooled embedding, "
            f"which is what the device computes; run the pipeline with BaseModel={given} instead."
        )
    training = {
        "pooling": _pooling(given, pooling),
        "base_model": configuration.get("_name_or_path") or given.name,
    }
    for folder in ("encoder", "tokenizer"):
        (destination / folder).mkdir(parents=True)
    for path in sorted(given.iterdir()):
        if path.name == "head.safetensors":
            shutil.copy2(path, destination)
        elif path.name == "config.json" or path.name.startswith("model"):
            shutil.copy2(path, destination / "encoder")
        elif path.name in _TOKENIZER:
            shutil.copy2(path, destination / "tokenizer")
    write_json(destination / "intents.json", _decision_rule(given, configuration))
    return training


def _decision_rule(given: Path, configuration: dict[str, Any]) -> dict[str, Any]:
    """``intents.json``: the model's own, or its ``id2label`` and a rule that rejects nothing."""
    if (given / "intents.json").is_file():
        return read_json(given / "intents.json", "The list of intents")
    labels = configuration.get("id2label") or {}
    intents = [labels[key] for key in sorted(labels, key=int)]
    if not intents or intents == [f"LABEL_{index}" for index in range(len(intents))]:
        raise StepError(
            f"{given} does not name its intents: add intents.json, or id2label in config.json."
        )
    return {"intents": intents, "temperature": 1.0, "energy_threshold": None, "max_length": 64}


def _pooling(given: Path, told: str) -> str:
    if told:
        return told
    described = given / "1_Pooling" / "config.json"  # as sentence-transformers writes it
    if described.is_file():
        value = read_json(described, "The pooling of the model")
        for name, key in (("mean", "pooling_mode_mean_tokens"), ("last", "pooling_mode_lasttoken")):
            if value.get(key):
                return name
    raise StepError(
        f"{given} does not say how its head pools the tokens: add --pooling mean or --pooling last."
    )


def _check_parts(folder: Path) -> None:
    for name in _OURS:
        if not (folder / name).exists():
            raise StepError(f"The model in {folder} is incomplete: {name} is missing; train again.")
    for pattern in ("encoder/config.json", "encoder/*.safetensors", "tokenizer/tokenizer.json"):
        if not any(folder.glob(pattern)):
            raise StepError(
                f"The model in {folder} is incomplete: {pattern} is missing; train again."
            )


def _intents(path: Path) -> list[str]:
    value = read_json(path, "The list of intents")
    intents = value.get("intents") if isinstance(value, dict) else None
    if (
        not isinstance(intents, list)
        or not all(isinstance(intent, str) and intent for intent in intents)
        or len(set(intents)) != len(intents)
        or len(intents) < 2
    ):
        raise StepError(f"{path} does not list two or more different intents: train again.")
    return intents


def _check_head(path: Path, intents: list[str]) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in ("weight", "bias")}
    except (SafetensorError, OSError) as error:
        raise StepError(f"{path} is not a readable head ({error}): train again.") from None
    if len(shapes["weight"]) != 2 or shapes["bias"] != [shapes["weight"][0]]:
        raise StepError(
            f"{path} holds weight {shapes['weight']} and bias {shapes['bias']}, which are no "
            "linear head: weight is [intents, hidden] and bias [intents]."
        )
    if shapes["weight"][0] != len(intents):
        raise StepError(
            f"{path} has {shapes['weight'][0]} rows but intents.json lists {len(intents)} "
            "intents: the files are of different models, train again."
        )
