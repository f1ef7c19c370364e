"""The processes that train together: who am I, and how do we add and share tensors.

Started by torchrun (launch.py), which sets RANK, LOCAL_RANK and WORLD_SIZE; alone, every
operation here is free. gloo connects processes on CPUs, NCCL those on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from steps.contract import StepError
from steps.train.launch import LOST

_Value = TypeVar("_Value")

_TIMEOUT = timedelta(minutes=30)  # the first collective waits for the slowest host's download


@dataclass(frozen=True)
class Group:
    """This process among its equals."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes anything."""
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace ``tensor`` in every process by the sum over all processes."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def share_(self, tensors: Iterable[Tensor]) -> None:
        """Replace ``tensors`` in every process by those of the leading one."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def share_object(self, value: _Value) -> _Value:
        """The leading process's ``value``, in every process."""
        if self.world == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def joined() -> Iterator[Group]:
    """Join the group that torchrun started this process in, or be alone."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if world == 1:
        yield Group(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=_TIMEOUT)
        yield Group(rank, world, device)
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            raise StepError(f"{LOST}: process {rank} of {world} cannot go on alone.") from None
        raise
    # only after success: a failing process must report before the others notice and are reported
    torch.distributed.destroy_process_group()
