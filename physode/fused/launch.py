"""A kernel that has been compiled, ready to be called on tensors."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from physode.fused.arguments import Arguments

__all__ = ["Entries", "Library", "blank", "threads_for"]

_WORK = 64  # samples from which on another thread pays
_PAGE = 2**21  # bytes of a large page
_LARGE_PAGES = 14  # Linux's MADV_HUGEPAGE


class Entries(Protocol):
    """What a kernel can do, on any device: each a launch with one structure of arguments."""

    @property
    def group_bytes(self) -> int:
        """Bytes of scratch memory that a group of samples takes where all share one clock; 0 else."""

    @property
    def shares_gradients(self) -> bool:
        """Whether chunks of samples share the gradients of matrices; else each sample has its own."""

    def launch(self, entry: str, values: Mapping[str, Any]) -> None:
        """Call an entry, ``"begin"``, ``"walk"``, ``"pull"``, ``"total"``, with numbers and tensors by name."""


@dataclass(frozen=True)
class Library:
    """A shared library on a CPU."""

    handle: ctypes.CDLL
    group_bytes: int
    shares_gradients: bool = True

    @classmethod
    def load(cls, path: Path) -> Library:
        """Load a library that :mod:`physode.fused.compilers` has made."""
        handle = ctypes.CDLL(os.fspath(path))
        size = getattr(handle, "fused_group_bytes", None)
        if size is not None:
            size.restype = ctypes.c_int64
        return cls(handle, 0 if size is None else size())

    def launch(self, entry: str, values: Mapping[str, Any]) -> None:
        """Call an entry; Python's lock is released meanwhile."""
        fields = {name: value.data_ptr() if isinstance(value, Tensor) else value for name, value in values.items()}
        self.handle[f"fused_{entry}"](ctypes.byref(Arguments(**fields)))


def threads_for(samples: int) -> int:
    """Return how many threads samples are handed to."""
    return max(1, min(torch.get_num_threads(), samples // _WORK))


def blank(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return memory that has not been filled; much of it in large pages, which take a fifth of the time to come by."""
    memory = torch.empty(shape, dtype=dtype, device=device)
    if memory.nbytes >= 2 * _PAGE and memory.device.type == "cpu" and (advise := _advise()) is not None:
        first = -(-memory.data_ptr() // _PAGE) * _PAGE
        size = (memory.data_ptr() + memory.nbytes - first) // _PAGE * _PAGE
        advise(first, size, _LARGE_PAGES)
    return memory


@cache
def _advise() -> Any:
    """Return the C library's ``madvise``; None where there is none."""
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return advise
