"""The group of processes that train together, and its collective operations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as distributed

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""Long enough for one rank to read a large checkpoint from a slow disk."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among its peers; every method is collective and returns the same on all of them."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        return self.sum([float(flag)])[0] > 0

    def sum(self, values: list[float]) -> list[float]:
        """Element-wise sum over all ranks, in double precision."""
        if self.world_size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def from_main(self, value: T) -> T:
        """The value of rank 0; those of the other ranks are ignored."""
        if self.world_size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, device=self.device)
        return box[0]

    def wait(self) -> None:
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """Join the process group described by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    The backend is NCCL on CUDA, gloo elsewhere. Without these variables the process is alone. Sets NODE_RANK, which
    Composer requires and no launcher sets.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world_size = int(os.environ.setdefault("LOCAL_WORLD_SIZE", str(world_size)))
    os.environ.setdefault("NODE_RANK", str(rank // local_world_size))
    on_cuda = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(device)
    if world_size == 1:
        yield Ranks(0, 1, device)
        return
    distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=TIMEOUT)
    try:
        yield Ranks(rank, world_size, device)
    finally:
        distributed.destroy_process_group()
