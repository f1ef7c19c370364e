"""Writes the model folder: the model, its adapter, its tokenizer and the record of its training.

The folder is written beside and moved into place as a whole, ``training.json`` last where it
cannot be renamed, so that no reader takes a half-written model for a whole one.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from steps.contract import write_json
from steps.intent_model import DecisionRule, IntentModel, save
from steps.train.model import Adapter

COMMIT_VARIABLE = "SLM_COMMIT"
_PACKAGES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True)
class TrainedModel:
    """Everything that goes into the model folder."""

    model: IntentModel
    adapter: Adapter | None
    tokenizer: Any
    rule: DecisionRule
    record: dict[str, Any]
    """``training.json``, but for versions and commit, which are added here."""


def write_model(trained: TrainedModel, folder: Path) -> None:
    """Write ``trained`` to ``folder``, replacing what an earlier run left there.

    Raises:
        OSError: The disk is full; ``folder`` is then as it was.
    """
    from safetensors import SafetensorError

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save(trained.model, trained.tokenizer, trained.rule, partial)
        if trained.adapter is not None:
            _write_adapter(trained.adapter, trained.record["base_model"], partial / "adapter")
        write_json(partial / "training.json", trained.record | _provenance())
        _put_in_place(partial, folder)
    except SafetensorError as error:  # says "(os error 28)" where Python has an errno
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number.group(1))
        raise OSError(code, os.strerror(code), str(partial)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_adapter(adapter: Adapter, base_model: str, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    adapter.config.base_model_name_or_path = base_model  # a name, not this machine's path
    adapter.config.inference_mode = True
    adapter.config.save_pretrained(folder)
    save_file(adapter.tensors, str(folder / "adapter_model.safetensors"))


def _provenance() -> dict[str, Any]:
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "commit": os.environ.get(COMMIT_VARIABLE, "unknown")}


def _put_in_place(partial: Path, folder: Path) -> None:
    if folder.exists():
        for old in [folder / "training.json", *folder.iterdir()]:
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
    try:
        partial.replace(folder)  # onto an empty folder or onto nothing
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM):
            raise
        # SageMaker may mount the model folder: it cannot be renamed over
        for part in sorted(partial.iterdir(), key=lambda path: path.name == "training.json"):
            shutil.move(part, folder / part.name)
