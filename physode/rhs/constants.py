"""How a system declares its constants, and what may be given for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

if TYPE_CHECKING:
    from physode.rhs.base import System

__all__ = ["Constant", "ConstantLike", "Domain", "Names", "as_constant", "as_flag", "chosen"]

ConstantLike: TypeAlias = Tensor | ArrayLike
"""A number or array. A tensor that requires gradients is kept as it is, so that they reach it."""

Names: TypeAlias = bool | Sequence[str]
"""All (True), none (False), or some constants by name."""

Domain: TypeAlias = Literal["real", "nonzero", "nonnegative", "positive"]
"""Values that a constant has a meaning for."""


class Constant:
    """Declares a physical constant of a :class:`System`, all that there is to know of it, and reads its physical value.

    The system's arguments and their checks, its documentation, ``config()``, parameters of simulated files and options
    of ``physode simulate`` follow from it.

    Parameters
    ----------
    default
        The value where none is given; None for a constant that has to be given.
    meaning
        What it is, in a few words.
    unit
        Its unit; "" for a pure number.
    domain
        Values that it has a meaning for. ``"nonzero"`` and ``"nonnegative"`` are checked where a system is made.
        ``"positive"`` is asked for on the command line only: a fit may pass through other values.
    ndim
        Axes of one value: 0 for a number, 1 for a vector such as the masses. A stored value may have one more, leading
        axis: one value per sample of a batch.
    """

    def __init__(
        self,
        default: float | None = None,
        meaning: str = "",
        *,
        unit: str = "",
        domain: Domain = "real",
        ndim: int = 0,
    ) -> None:
        self.default, self.meaning, self.unit, self.domain, self.ndim = default, meaning, unit, domain, ndim
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Constant: ...
    @overload
    def __get__(self, instance: System, owner: type) -> Tensor: ...
    def __get__(self, instance: System | None, owner: type) -> Constant | Tensor:
        return self if instance is None else instance.constant(self.name)

    def parameter(self) -> Parameter:
        """Return it as an argument of its system."""
        default = Parameter.empty if self.default is None else self.default
        return Parameter(self.name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation="ConstantLike")

    def described(self) -> str:
        """Return its entry in the system's documentation."""
        of = f" in {self.unit}" if self.unit else ""
        shape = "a number, or (batch,)" if self.ndim == 0 else "shape (n,), or (batch, n)"
        default = "" if self.default is None else f"; {self.default:.9g} by default"
        return f"{self.name}\n    {self.meaning}{of}: {shape}{default}."

    def check(self, value: Tensor) -> None:
        """Raise ``ValueError`` if a system cannot be made with a physical value."""
        if self.domain == "nonzero" and bool((value == 0).any()):
            raise ValueError(f"`{self.name}` must not be 0, got {value.tolist()}")
        if self.domain == "nonnegative" and bool((value < 0).any()):
            raise ValueError(f"`{self.name}` must not be negative, got {value.tolist()}")


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
