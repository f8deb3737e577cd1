r"""Asynchronous leapfrog (Mutze 2013; Zhuang et al. 2021, Algorithm 2), for any right-hand side.

The state :math:`z` is carried along with a velocity :math:`v` that follows :math:`f`, first
:math:`v_0 = f(t_0, z_0)`. A step of size :math:`h` is

.. math::
    z_{1/2} = z_0 + \tfrac{h}{2} v_0, \qquad v_1 = 2 f(t + \tfrac{h}{2}, z_{1/2}) - v_0, \qquad
    z_1 = z_{1/2} + \tfrac{h}{2} v_1 :

order 2 with one evaluation. A step of size :math:`-h` from :math:`(z_1, v_1)` leads back to :math:`(z_0, v_0)`, so that
a solve can be run backwards from its end alone (:class:`physode.MALI`). The error estimate is the difference from
Euler's step along :math:`v_0`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from physode.problem.packing import Packing
from physode.solvers.clock import Number, expand, sized
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Step

if TYPE_CHECKING:
    from physode.problem.dynamics import Dynamics
    from physode.problem.problem import Problem

__all__ = ["ALF", "Paired", "paired", "restarted"]


@dataclass(frozen=True, eq=False)
class ALF(StepMethod):
    """Asynchronous leapfrog, with fixed or adaptive steps. The engine's state is the pair (z, v); users see z."""

    name = "alf"
    order = 2
    error_order = 1
    interpolant_order = 2
    adaptive = True
    symmetric = True
    backward = "dopri5"
    reference = "Mutze, arXiv:1311.6602 (2013); Zhuang, Dvornek, Tatikonda & Duncan, ICLR 2021, Algorithm 2"

    def posed(self, problem: Problem) -> Problem:
        """Return the problem of the pair."""
        return paired(problem)

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step of the pair."""
        packing = getattr(rhs, "packing", None)
        if not isinstance(packing, Paired):
            raise ValueError("`method` 'alf' carries a velocity beside the state: it goes through physode.solve only")
        z, v = y.unbind(packing.axis)
        size = sized(h, z)
        middle = z + 0.5 * size * v
        slope = rhs(t + 0.5 * h, torch.stack((middle, v), packing.axis)).select(packing.axis, 0)
        after = 2.0 * slope - v
        if isinstance(h, Tensor):  # the step of size 0 is to be the identity
            after = torch.where(expand(h != 0, z.ndim), after, v)
        still = torch.zeros_like(v)  # an interpolant of the velocity is never read
        start, change, end = (torch.stack((part, still), packing.axis) for part in (v, slope - v, after))
        return Step(torch.stack((middle + 0.5 * size * after, after), packing.axis), (start, change), end)

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the difference from Euler's step."""
        return [sized(h, ks[1]) * ks[1]]


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


def paired(problem: Problem) -> Problem:
    """Return the problem of the state and its velocity, which starts as the derivative.

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


def restarted(dynamics: Dynamics, t: Tensor, y: Tensor) -> Tensor:
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
