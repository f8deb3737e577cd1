"""States that the engine carries along with a velocity, which users do not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from physode.problem.packing import Packing

__all__ = ["Paired", "paired", "restarted"]


@dataclass(frozen=True)
class Paired(Packing):
    """How a state and its velocity lie in one tensor: beside one another on an axis of their own.

    The axis is the first, or with per-sample steps the second, after the batch. Unpacking leaves the velocity out;
    packing puts zeros there.
    """

    @property
    def axis(self) -> int:
        """The axis, of length 2, on which state and velocity lie."""
        return int(self.per_sample)

    def pack(self, state: Any) -> Tensor:
        """Join the parts of a state, with no velocity."""
        half = super().pack(state)
        return torch.stack((half, torch.zeros_like(half)), self.axis)

    def unpack(self, packed: Tensor, leading: int = 0) -> Any:
        """Split a packed state, its velocity left out."""
        return super().unpack(packed.select(leading + self.axis, 0), leading)

    def components(self, packed: Tensor) -> list[Tensor]:
        """Split a packed state into its parts."""
        return [self.unpack(packed)] if self.keys is None else super().components(packed)


def paired(problem: Any) -> Any:
    """Return a :class:`~physode.problem.problem.Problem` of the state and its velocity, which starts as the derivative.

    Gradients in what the first velocity depends on are ordinary ones of this one evaluation. Errors are judged by the
    state alone.
    """
    plain = problem.dynamics.packing
    packing = Paired(plain.keys, plain.kind, plain.shapes, plain.per_sample)
    dynamics = replace(problem.dynamics, packing=packing)
    still = torch.stack((problem.y0, torch.zeros_like(problem.y0)), packing.axis)
    with problem.statistics.preserved():
        velocity = dynamics.first(problem.t[0], still).select(packing.axis, 0)
    steps = problem.steps
    if steps is not None:
        widened = (_widened(tolerance, problem.y0, packing) for tolerance in (steps.rtol, steps.atol))
        steps = replace(steps, norm=_OfState(steps.norm, packing.axis)).with_tolerances(*widened)
    y0 = torch.stack((problem.y0, velocity), packing.axis)
    return replace(problem, dynamics=dynamics, y0=y0, steps=steps)


def restarted(dynamics: Any, t: Tensor, y: Tensor) -> Tensor:
    """Return pairs whose velocity starts anew as the derivative; states without a velocity are left alone."""
    packing = dynamics.packing
    if not isinstance(packing, Paired):
        return y
    velocity = dynamics(t, y).select(packing.axis, 0)
    return torch.stack((y.select(packing.axis, 0), velocity), packing.axis)


def _widened(tolerance: Tensor | float, state: Tensor, packing: Paired) -> Tensor | float:
    """Return a tolerance that broadcasts against pairs as it did against states."""
    if not isinstance(tolerance, Tensor) or tolerance.ndim < state.ndim:
        return tolerance
    return tolerance.unsqueeze(packing.axis)


@dataclass(frozen=True)
class _OfState:
    """A norm of the state, the velocity left out."""

    norm: Callable[[Tensor], Tensor]
    axis: int

    def __call__(self, x: Tensor) -> Tensor:
        return self.norm(x.select(self.axis, 0))
