"""Checkpoints that survive a kill -9 at any moment and hold nothing that needs unpickling.

Layout, below the folder that SageMaker keeps in step with S3 and restores after a spot
interruption::

    step-00000200/state.safetensors   trained weights, optimizer state, best weights so far
    step-00000200/state.json          where training stood, its history, whose checkpoint it is
    step-00000200/sums.json           SHA-256 of the two
    .step-00000300.partial/           being written, or left by a kill; never read

A checkpoint is written beside, synced to the disk and renamed; the last two are kept. One whose
sums do not match is passed over for the one before. What it leaves out: random number state,
because the loop derives its random numbers from seed and step (loop.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from steps.contract import StepError

KEPT = 2
_TENSORS, _STATE, _SUMS = "state.safetensors", "state.json", "sums.json"


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training: after ``steps`` optimizer steps."""

    steps: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    """Plain JSON values; floats come back bit for bit."""


class CheckpointFolder:
    """The checkpoints of one job.

    Args:
        folder: Where they lie; made when the first one is written.
        owner: What the job's result depends on (hyperparameters, data, base model). A checkpoint
            with another owner is refused rather than continued.
        log: Takes a sentence for the log.
    """

    def __init__(self, folder: Path, owner: dict[str, Any], log: Callable[[str], None]) -> None:
        self._folder, self._log = folder, log
        self._owner: dict[str, Any] = json.loads(json.dumps(owner))

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and drop all but the last two.

        Raises:
            OSError: The disk is full, say; earlier checkpoints are untouched.
        """
        from safetensors.torch import save

        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"step-{checkpoint.steps:08d}"
        partial = self._folder / f".{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        state = {"steps": checkpoint.steps, "owner": self._owner, "state": checkpoint.state}
        contents = {
            # bytes and a plain write, because safetensors' own writer hides a full disk's errno
            _TENSORS: save(
                {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
            ),
            _STATE: json.dumps(state, indent=1).encode(),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        try:
            partial.mkdir()
            for name, content in (contents | {_SUMS: json.dumps(sums).encode()}).items():
                _write_through(partial / name, content)
            _sync(partial)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one of the same step
            partial.replace(target)
            _sync(self._folder)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._prune()
        return target

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None when there is none at all.

        Raises:
            StepError: All are damaged, or the newest whole one is another job's.
        """
        found = self._complete()
        for folder in reversed(found):
            try:
                checkpoint, owner = _read(folder)
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._log(f"The checkpoint {folder} is damaged ({error}); trying the one before.")
                continue
            self._refuse_other(folder, owner)
            return checkpoint
        if found:
            raise StepError(
                f"Every checkpoint in {self._folder} is damaged: delete that folder to train "
                "from the start, or restore it from a copy."
            )
        return None

    def _complete(self) -> list[Path]:
        return sorted(p for p in self._folder.glob("step-*") if p.is_dir())

    def _prune(self) -> None:
        for old in self._complete()[:-KEPT]:
            # renamed first, so that a kill in the middle leaves no half checkpoint behind
            doomed = old.with_name(f".{old.name}.partial")
            shutil.rmtree(doomed, ignore_errors=True)
            old.replace(doomed)
        for partial in self._folder.glob(".step-*.partial"):
            shutil.rmtree(partial, ignore_errors=True)

    def _refuse_other(self, folder: Path, owner: dict[str, Any]) -> None:
        for key in sorted(owner.keys() | self._owner.keys()):
            theirs, ours = owner.get(key), self._owner.get(key)
            if theirs != ours:
                raise StepError(
                    f"The checkpoint {folder} is of another training job ({key} was {theirs!r} "
                    f"and is {ours!r} now): delete {self._folder}, or give this job a checkpoint "
                    "folder of its own."
                )


def _read(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    sums = json.loads((folder / _SUMS).read_bytes())
    contents: dict[str, bytes] = {}
    for name in (_TENSORS, _STATE):
        contents[name] = (folder / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != sums[name]:
            raise ValueError(f"{name} does not match its SHA-256")
    value = json.loads(contents[_STATE])
    try:
        tensors = load(contents[_TENSORS])
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return Checkpoint(int(value["steps"]), tensors, value["state"]), value["owner"]


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename in ``folder`` last; Windows neither can nor needs to."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
