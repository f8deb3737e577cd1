"""One process of several, as torchrun starts them; alone without it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from physode.errors import ConfigError
from physode.orphans import end_with_torchrun
from physode.training.devices import usable

__all__ = ["Place", "joined"]

_PATIENCE = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Which of the processes this is.

    Attributes
    ----------
    rank, size
        Number of this process from 0, and how many there are.
    device
        Where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process writes files: one of all does."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return this process's part of a batch.

        Raises
        ------
        ConfigError
            If the batch cannot be divided evenly.
        """
        if count % self.size:
            raise ConfigError(f"`batch` {count} must be a multiple of the number of processes, {self.size}")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """Join the processes that torchrun started, by NCCL on GPUs and gloo elsewhere; leave them at the end.

    They end with torchrun, whatever ends it.

    Raises
    ------
    ConfigError
        If the environment that torchrun sets is incomplete.
    """
    end_with_torchrun()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Place(0, 1, usable(device))
        return
    try:
        rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    except KeyError as error:
        raise ConfigError(f"WORLD_SIZE is {size}, but {error} is not set; start with torchrun") from error
    own = usable(torch.device("cuda", local) if device == "cuda" else device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Place(rank, size, own)
    finally:
        distributed.destroy_process_group()
