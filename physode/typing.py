"""Types that several parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

__all__ = ["Norm", "Progress", "RightHandSide", "State"]

State = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""A state: one tensor, or a tuple, list or dict of tensors."""

Norm = Callable[[Any], Tensor]
"""Maps an error divided by its tolerance, shaped like the state, to a size that is accepted up to 1:
0-dimensional for shared steps, ``(batch,)`` for per-sample steps."""

Progress = Callable[[float], object]
"""Told the finished fraction of the time span, from 0 to 1."""


class RightHandSide(Protocol):
    """The right-hand side ``f`` of ``dy/dt = f(t, y, *args)``."""

    def __call__(self, t: Tensor, y: Any, *args: Any) -> Any:
        """Return dy/dt, shaped and typed like ``y``."""
