"""Memory that graphs may take: what is free, and what an evaluation saves for its gradient."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["free_bytes", "room_for_graphs", "saved_bytes"]

_SHARE = 0.25
_CGROUP = Path("/sys/fs/cgroup")


def saved_bytes(value: Tensor, since: int) -> int:
    """Return what the graph of ``value`` holds, each storage once; leaves that ask for gradients do not count.

    Only operations made after ``since`` count, a :func:`~physode.leaves.graph_clock`. The graph is read, not
    watched while it is made: hooks on what autograd saves would not let a right-hand side use ``torch.func``.
    """
    storages: dict[int, int] = {}
    seen, stack = set(), [value.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen or node._sequence_nr() < since:
            continue
        seen.add(node)
        stack += [parent for parent, _ in node.next_functions]
        for tensor in _saved(node):
            origin = tensor if tensor._base is None else tensor._base
            if not (origin.is_leaf and origin.requires_grad):
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _saved(node: Any) -> Iterator[Tensor]:
    kind: Any = type(node)
    for name in _names(kind):
        with suppress(RuntimeError):  # changed in place since, which the backward pass has to judge
            saved = getattr(node, name)
            yield from (
                part for part in (saved if isinstance(saved, (list, tuple)) else [saved]) if isinstance(part, Tensor)
            )


@lru_cache(maxsize=256)
def _names(kind: type) -> tuple[str, ...]:
    """Return the attributes by which an operation of the graph shows what it saved."""
    return tuple(name for name in dir(kind) if name.startswith("_saved_") or name == "saved_tensors")


def room_for_graphs(device: torch.device) -> int:
    """Return the bytes that graphs may take where nobody says how many: a quarter of what is free."""
    return int(_SHARE * free_bytes(device))


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
