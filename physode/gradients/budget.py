"""Memory that graphs may take: what is free, and what an evaluation saves for its gradient."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["Saved", "free_bytes", "saved_bytes"]

_CGROUP = Path("/sys/fs/cgroup")


class Saved:
    """Counts the storages that autograd saves, each once; leaves that ask for gradients, and views of them, do not."""

    def __init__(self) -> None:
        self._storages: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        """The sum so far."""
        return sum(self._storages.values())

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor about to be saved, and pass it on."""
        origin = tensor if tensor._base is None else tensor._base
        if not (origin.is_leaf and origin.requires_grad):
            storage = tensor.untyped_storage()
            self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def saved_bytes() -> Iterator[Saved]:
    """Count what the operations inside save for their gradients."""
    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        yield saved


def free_bytes(device: torch.device) -> int:
    """Return how much memory the device can still give; for the CPU, as the machine and the control group have it."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return min(_free_on_machine(), _free_in_group())


def _free_on_machine() -> int:
    with suppress(OSError, KeyError):
        return _table(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**19
    return pages * 4096 // 2


def _free_in_group() -> int:
    """Return what is left of the control group's limit; caches of files count as free."""
    with suppress(OSError, ValueError, KeyError):
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        return max(0, limit - used + _table(_CGROUP / "memory.stat")["inactive_file"])
    return 2**62


def _table(file: Path) -> dict[str, int]:
    rows = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {row[0]: int(row[1]) for row in rows}
