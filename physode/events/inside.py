"""The inside of a step: its interpolant at one place a group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.numbers import Number
from physode.transforms import to_keep

__all__ = ["Inside"]


@lru_cache(maxsize=64)
def _bases(thetas: tuple[float, ...], count: int, dtype: torch.dtype, device: torch.device) -> Sequence[Tensor]:
    """Return the interpolant's basis functions at some places."""
    with to_keep():
        left = torch.tensor(thetas, dtype=dtype, device=device)
        found = [left]
        for p in range(count - 1):
            found.append(found[-1] * ((1.0 - left) if p % 2 == 0 else left))
        return found


class Inside:
    """A step's interpolant at one place a group."""

    @classmethod
    def on(cls, clock: Sequence[Number], y: Tensor, dense: Tensor, end: Tensor) -> Inside:
        """Return that of a step whose start, size and end are numbers of any kind."""
        t, h, t_next = (torch.as_tensor(v, dtype=torch.float64, device=y.device).detach() for v in clock)
        return cls(t, h, t_next, y, dense, end)

    def __init__(self, t: Tensor, h: Tensor, t_next: Tensor, y: Tensor, dense: Tensor, end: Tensor) -> None:
        self.t, self.h, self.t_next = t, h, t_next
        self._y, self._dense, self.end = y, dense.unbind(0), end

    def place(self, t: Tensor) -> Tensor:
        """Return where in the step times lie, 0 for groups that stand still or whose time lies outside."""
        theta = (t - self.t) / torch.where(self.h == 0, 1.0, self.h)
        return torch.where((theta >= 0.0) & (theta <= 1.0), theta, 0.0)

    def time(self, theta: Tensor) -> Tensor:
        """Return the time at ``theta``."""
        return torch.where(theta == 1.0, self.t_next, self.t + theta * self.h)

    def points(self, thetas: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return the times and the states at some places, the same in all groups: ``(places, ...)`` each."""
        y, groups = self._y, self.t.ndim
        real = y.real.dtype if y.is_complex() else y.dtype
        left, *bases = _bases(tuple(thetas), len(self._dense), real, y.device)
        state = y.expand(len(thetas), *y.shape)
        for basis, coefficient in zip((left, *bases), self._dense, strict=True):
            state = torch.addcmul(state, expand(basis, 1 + y.ndim).to(y.dtype), coefficient)
        return self.t + expand(left.double(), 1 + groups) * self.h, state

    def at(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the time and the state at ``theta``; see :mod:`physode.solvers.interpolation`."""
        left = expand(theta, self._y.ndim).to(self._y.real.dtype if self._y.is_complex() else self._y.dtype)
        state, basis = self._y, left
        for p, coefficient in enumerate(self._dense):
            state = torch.addcmul(state, basis.to(state.dtype), coefficient)
            basis = basis * ((1.0 - left) if p % 2 == 0 else left)
        return self.time(theta), torch.where(left == 1.0, self.end, state)
