"""Work that a test kills in the middle, run in real processes of their own.

Processes come from Python's fork server, which imports torch and transformers once: a killed
process costs milliseconds to replace instead of seconds.
"""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path


@cache
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.steps.train.preload"])
    return context


def write_checkpoints_for_ever(folder: Path, said: Path) -> None:
    """Write checkpoint after checkpoint, saying each number once it is safe."""
    import torch

    from steps.train.checkpoint import Checkpoint, CheckpointFolder

    checkpoints = CheckpointFolder(folder, {"job": 1}, print)
    found = checkpoints.latest()
    steps = found.steps if found else 0
    with said.open("a", buffering=1) as file:
        while True:
            steps += 1
            tensors = {"weights": torch.full((20_000,), float(steps))}
            checkpoints.save(Checkpoint(steps, tensors, {"steps": steps}))
            file.write(f"{steps}\n")


def train_to_the_end(arguments: dict, prepared: Path, model: Path, checkpoints: Path) -> None:
    import torch

    from steps.train.config import TrainingConfig
    from steps.train.train import TrainingFolders, train

    torch.set_num_threads(1)
    folders = TrainingFolders(prepared=prepared, model=model, checkpoints=checkpoints)
    train(TrainingConfig(**arguments), folders)
