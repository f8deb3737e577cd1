"""Tables of numbers as tensors, made once: a small state's step costs operations, not arithmetic."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.numbers import Number
from physode.transforms import unwrapped

__all__ = ["Row", "column", "identity", "stage_times"]

Row = tuple[float, ...]


@lru_cache(maxsize=256)
def column(values: Row, ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as ``(n, 1, ..., 1)``, with ``ndim`` axes behind the first."""
    with torch.inference_mode(False):  # what is remembered must serve later gradients, too
        return unwrapped(expand(torch.tensor(values, dtype=dtype, device=device), ndim + 1))


@lru_cache(maxsize=64)
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix."""
    with torch.inference_mode(False):
        return unwrapped(torch.eye(size, dtype=dtype, device=device))


def stage_times(nodes: Row, t: Number, h: Number) -> list[Number]:
    """Return the times ``t + c_i h``."""
    if not isinstance(t, Tensor):
        return [node * h + t for node in nodes]
    return list((column(nodes, t.ndim, torch.float64, t.device) * h + t).unbind(0))
