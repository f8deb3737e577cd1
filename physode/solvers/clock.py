"""Arithmetic of clocks and step sizes, the same for a Python float and for a tensor with one value a group.

The clock of a solve with shared steps and without a graph is a float: it costs a hundredth of what tensors of one
element do, and the only number fetched from the device in an attempt is its error. Clocks that are differentiated, or
that each sample has for itself, are tensors. Rules for steps are written once, with these functions.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "Number",
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
    "where",
]


Number: TypeAlias = Any
"""A float (or, for a verdict, a bool), or a tensor of one value a group."""


def where(condition: Number, yes: Number, no: Number) -> Number:
    """Choose between two numbers."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes, no)
    return yes if condition else no


def minimum(a: Number, b: Number) -> Number:
    """Return the smaller number; NaN where either is."""
    if isinstance(a, Tensor):
        return torch.minimum(a, b)
    return a if a <= b or math.isnan(a) else b


def maximum(a: Number, b: Number) -> Number:
    """Return the larger number; NaN where either is."""
    if isinstance(a, Tensor):
        return torch.maximum(a, b)
    return a if a >= b or math.isnan(a) else b


def clamp(x: Number, low: float | None = None, high: float | None = None) -> Number:
    """Hold a number within bounds; NaN stays."""
    if isinstance(x, Tensor):
        return x.clamp(low, high)
    if low is not None and x < low:
        return low
    return high if high is not None and x > high else x


def sign(x: Number) -> Number:
    """Return -1, 0 or 1."""
    if isinstance(x, Tensor):
        return torch.sign(x)
    return float((x > 0) - (x < 0))


def isfinite(x: Number) -> Number:
    """Whether a number is neither NaN nor infinite."""
    return torch.isfinite(x) if isinstance(x, Tensor) else math.isfinite(x)


def finite_or(x: Number, otherwise: float) -> Number:
    """Return a positive number, or ``otherwise`` where it is NaN or infinite."""
    if isinstance(x, Tensor):
        return torch.nan_to_num(x, nan=otherwise, posinf=otherwise)
    return x if math.isfinite(x) else otherwise


def logical_not(x: Number) -> Number:
    """Return the opposite of a verdict."""
    return ~x if isinstance(x, Tensor) else not x


def anywhere(x: Number) -> bool:
    """Whether a verdict holds for any group."""
    return bool(x.any()) if isinstance(x, Tensor) else x


def is_shared(x: Number) -> bool:
    """Whether a number is that of a shared clock."""
    return not isinstance(x, Tensor) or x.ndim == 0


def detached(x: Number) -> Number:
    """Return a number without its graph."""
    return x.detach() if isinstance(x, Tensor) else x


def as_float(x: Number) -> float:
    """Return a shared clock's number as a float."""
    return float(x.detach()) if isinstance(x, Tensor) else x


def smallest(x: Number) -> float:
    """Return the smallest number of all groups."""
    return float(x.detach().min()) if isinstance(x, Tensor) else x


def expand(values: Tensor, ndim: int) -> Tensor:
    """Shape one value a group, ``()`` or ``(batch,)``, so that it broadcasts against a state of ``ndim`` axes."""
    if values.ndim == 0:
        return values
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def sized(h: Number, y: Tensor) -> Number:
    """Return step sizes so that they multiply states: a float, or a tensor in the state's dtype."""
    return expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h
