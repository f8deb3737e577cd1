"""How a system declares its constants, and what may be given for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

if TYPE_CHECKING:
    from physode.rhs.base import System

__all__ = ["Constant", "ConstantLike", "Names", "as_constant", "as_flag", "chosen"]

ConstantLike: TypeAlias = Tensor | ArrayLike
"""A number or array. A tensor that requires gradients is kept as it is, so that they reach it."""

Names: TypeAlias = bool | Sequence[str]
"""All (True), none (False), or some constants by name."""


class Constant:
    """Declares a physical constant of a :class:`System` and reads its physical value.

    Parameters
    ----------
    ndim
        Axes of one value: 0 for a number, 1 for a vector such as the masses. A stored value may have one more, leading
        axis: one value per sample of a batch.
    """

    def __init__(self, *, ndim: int = 0) -> None:
        self.ndim = ndim
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Constant: ...
    @overload
    def __get__(self, instance: System, owner: type) -> Tensor: ...
    def __get__(self, instance: System | None, owner: type) -> Constant | Tensor:
        return self if instance is None else instance.constant(self.name)


def as_constant(name: str, value: ConstantLike, ndim: int) -> Tensor:
    """Return a constant's value as a floating tensor, checked: finite, and of `ndim` axes or one more."""
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, dtype=np.float64))
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"`{name}` must be finite, got {tensor.tolist()}")
    if tensor.ndim not in (ndim, ndim + 1):
        one = "a number" if ndim == 0 else "a vector"
        raise ValueError(f"`{name}` must be {one}, or one per sample of a batch, got shape {tuple(tensor.shape)}")
    return tensor if tensor.requires_grad else tensor.clone()


def chosen(flag: Names, declared: Mapping[str, Constant], argument: str) -> frozenset[str]:
    """Return the constants that `flag` means: all, none, or those it names."""
    if isinstance(flag, bool):
        return frozenset(declared) if flag else frozenset()
    names = (flag,) if isinstance(flag, str) else tuple(flag)
    unknown = [name for name in names if name not in declared]
    if unknown:
        raise ValueError(f"`{argument}` names unknown constants {unknown}; choose from {sorted(declared)}")
    return frozenset(names)


def as_flag(names: frozenset[str], declared: Mapping[str, Constant]) -> bool | list[str]:
    """Return what :func:`chosen` would turn into `names`, in a form that JSON holds."""
    if names and names != frozenset(declared):
        return sorted(names)
    return bool(names)
