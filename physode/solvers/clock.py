"""Arithmetic of clocks and step sizes, the same for a Python float and for a tensor with one value a group.

The clock of a solve with shared steps and without a graph is a float: it costs a hundredth of what tensors of one
element do, and the only number fetched from the device in an attempt is its error. Clocks that are differentiated, or
that each sample has for itself, are tensors. Rules for steps are written once, with these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar, overload

import torch
from torch import Tensor

__all__ = [
    "N",
    "Number",
    "Verdict",
    "absolute",
    "anywhere",
    "as_float",
    "clamp",
    "detached",
    "expand",
    "finite_or",
    "is_shared",
    "isfinite",
    "logical_not",
    "maximum",
    "minimum",
    "sign",
    "sized",
    "smallest",
    "stacked",
    "where",
]


Number: TypeAlias = Tensor | float
"""A float, or a tensor of one value a group."""

Verdict: TypeAlias = Tensor | bool
"""A bool, or a tensor of one a group."""

N = TypeVar("N", Tensor, float, Number)
"""A number of the kind that another one has."""

_V = TypeVar("_V", Tensor, bool, Verdict)


@overload
def where(condition: Tensor, yes: Number, no: Number) -> Tensor: ...
@overload
def where(condition: Verdict, yes: Number, no: Number) -> Number: ...
def where(condition: Verdict, yes: Number, no: Number) -> Number:
    """Choose between two numbers."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes, no)
    return yes if condition else no


def minimum(a: N, b: N) -> N:
    """Return the smaller of two numbers of one kind; NaN where either is."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.minimum(a, b)
    return a if a <= b or math.isnan(a) else b


def maximum(a: N, b: N) -> N:
    """Return the larger of two numbers of one kind; NaN where either is."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    return a if a >= b or math.isnan(a) else b


def clamp(x: N, low: float | None = None, high: float | None = None) -> N:
    """Hold a number within bounds; NaN stays."""
    if isinstance(x, Tensor):
        return x.clamp(low, high)
    if low is not None and x < low:
        return low
    return high if high is not None and x > high else x


def sign(x: N) -> N:
    """Return -1, 0 or 1."""
    if isinstance(x, Tensor):
        return torch.sign(x)
    return float((x > 0) - (x < 0))


def absolute(x: N) -> N:
    """Return a number without its sign."""
    return x.abs() if isinstance(x, Tensor) else abs(x)


def isfinite(x: Number) -> Verdict:
    """Whether a number is neither NaN nor infinite."""
    return torch.isfinite(x) if isinstance(x, Tensor) else math.isfinite(x)


def finite_or(x: N, otherwise: float) -> N:
    """Return a positive number, or ``otherwise`` where it is NaN or infinite."""
    if isinstance(x, Tensor):
        return torch.nan_to_num(x, nan=otherwise, posinf=otherwise)
    return x if math.isfinite(x) else otherwise


def logical_not(x: _V) -> _V:
    """Return the opposite of a verdict."""
    return ~x if isinstance(x, Tensor) else not x


def anywhere(x: Verdict) -> bool:
    """Whether a verdict holds for any group."""
    return bool(x.any()) if isinstance(x, Tensor) else x


def is_shared(x: Number) -> bool:
    """Whether a number is that of a shared clock."""
    return not isinstance(x, Tensor) or x.ndim == 0


def detached(x: N) -> N:
    """Return a number without its graph."""
    return x.detach() if isinstance(x, Tensor) else x


def as_float(x: Number) -> float:
    """Return a shared clock's number as a float."""
    return float(x.detach()) if isinstance(x, Tensor) else x


def smallest(x: Number) -> float:
    """Return the smallest number of all groups."""
    return float(x.detach().min()) if isinstance(x, Tensor) else x


def stacked(values: Sequence[Number], device: torch.device) -> Tensor:
    """Return numbers of one kind as one float64 tensor, in rows."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    return torch.stack(tensors) if tensors else torch.tensor(values, dtype=torch.float64, device=device)


def expand(values: Tensor, ndim: int) -> Tensor:
    """Shape one value a group, ``()`` or ``(batch,)``, so that it broadcasts against a state of ``ndim`` axes."""
    if values.ndim == 0:
        return values
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def sized(h: N, y: Tensor) -> N:
    """Return step sizes so that they multiply states: a float, or a tensor in the state's dtype."""
    return expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h
