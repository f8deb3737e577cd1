"""How many bytes of tensors a piece of work holds at its peak."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_bytes"]


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations give, each once, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors made by ``work`` held at a time.

    On a GPU its allocator is asked. On a CPU the results of operations are counted, each memory once, until it goes;
    not what an operation holds for itself only. What existed before does not count.
    """
    if device.type == "cuda":
        before: int = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        most: int = torch.cuda.max_memory_allocated(device)
        return most - before
    with _Tally() as tally:
        work()
    peak: int = tally.peak
    return peak
