"""Tables of numbers as tensors, made once: a small state's step costs operations, not arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.numbers import Number
from physode.transforms import to_keep

__all__ = ["Row", "column", "identity", "stage_times"]

Row = tuple[float, ...]


@lru_cache(maxsize=256)
def column(values: Row, ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as ``(n, 1, ..., 1)``, with ``ndim`` axes behind the first."""
    with to_keep():
        return expand(torch.tensor(values, dtype=dtype, device=device), ndim + 1)


@lru_cache(maxsize=64)
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix."""
    with to_keep():
        return torch.eye(size, dtype=dtype, device=device)


def stage_times(nodes: Row, t: Number, h: Number) -> Sequence[Number]:
    """Return the times ``t + c_i h``."""
    if torch.compiler.is_compiling() or not isinstance(t, Tensor):  # a compiler has numbers inlined
        return [node * h + t for node in nodes]
    times: Tensor = column(nodes, t.ndim, torch.float64, t.device) * h + t
    return times.unbind(0)
