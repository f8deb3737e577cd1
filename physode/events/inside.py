"""The inside of a step: its interpolant at one place a group."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.solvers.groups import expand

__all__ = ["Inside"]


class Inside:
    """A step's interpolant at one place a group."""

    def __init__(self, t: Tensor, h: Tensor, t_next: Tensor, y: Tensor, dense: Tensor, end: Tensor) -> None:
        self.t, self.h, self._t_next = t, h, t_next
        self._y, self._dense, self._end = y, dense.unbind(0), end

    def time(self, theta: Tensor) -> Tensor:
        """Return the time at ``theta``."""
        return torch.where(theta == 1.0, self._t_next, self.t + theta * self.h)

    def at(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time and the state at ``theta``; see :mod:`physode.solvers.interpolation`."""
        left = expand(theta, self._y.ndim).to(self._y.real.dtype if self._y.is_complex() else self._y.dtype)
        state, basis = self._y, left
        for p, coefficient in enumerate(self._dense):
            state = torch.addcmul(state, basis.to(state.dtype), coefficient)
            basis = basis * ((1.0 - left) if p % 2 == 0 else left)
        return self.time(theta), torch.where(left == 1.0, self._end, state)
