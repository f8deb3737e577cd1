r"""Leapfrog and its compositions, for separable systems.

With positions :math:`q`, momenta or velocities :math:`p`, and :math:`\dot q = v(t, p)`, :math:`\dot p = F(t, q)`, a
leapfrog step of size :math:`h` is a kick, a drift and a kick,

.. math::
    p_{1/2} = p_0 + \tfrac{h}{2} F(t, q_0), \qquad
    q_1 = q_0 + h \, v(t + \tfrac{h}{2}, p_{1/2}), \qquad
    p_1 = p_{1/2} + \tfrac{h}{2} F(t + h, q_1) .

It is symmetric in time, symplectic and of order 2 (Hairer, Lubich & Wanner, *Geometric Numerical Integration*,
Sect. I.1.4). A composition takes leapfrog steps of sizes :math:`w_1 h, \dots, w_s h`; their last and first kicks merge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from physode.solvers.clock import Number, sized
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.symplectic.separable import check_halves, force_of, parts_of, velocity_of

if TYPE_CHECKING:
    from physode.problem.problem import Problem

__all__ = ["LEAPFROG", "SUZUKI4", "YOSHIDA4", "Splitting"]


@dataclass(frozen=True, eq=False)
class Splitting(StepMethod):
    """A symmetric composition of leapfrog steps, whose sizes are ``weights`` times the step's.

    The state is a pair of tensors (q, p), or a tensor with positions in the first half of its last axis and momenta or
    velocities in the second, if the right-hand side says so (:mod:`physode.solvers.symplectic.separable`). The force at
    the step's end is that at the next one's start: of a right-hand side that has its force and velocity as functions
    of their own, a step evaluates one force a leapfrog.
    """

    name: str
    order: int
    weights: tuple[float, ...]
    reference: str = ""

    symmetric = True
    backward = "dopri5"

    @property
    def stages(self) -> int:  # type: ignore[override]
        """Evaluations of the right-hand side in a step, about."""
        return 1 + 2 * len(self.weights)

    def posed(self, problem: Problem) -> Problem:
        """Check that halves are known and that forces depend on positions alone, velocities on momenta alone."""
        check_halves(self.name, problem.dynamics, problem.t[0].detach(), problem.y0.detach(), problem.statistics)
        return problem

    def take(self, rhs: Rhs, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step: kicks and drifts in turn."""
        start = rhs(t, y) if k1 is None else k1
        half = y.shape[-1] // 2
        (q, p), force = torch.split(y, half, -1), start[..., half:]
        done, before = 0.0, 0.0
        for weight in self.weights:
            p = p + sized(0.5 * (before + weight) * h, y) * force
            q = q + sized(weight * h, y) * velocity_of(rhs, t + (done + 0.5 * weight) * h, q, p)
            done, before = done + weight, weight
            force = force_of(rhs, t + done * h, q, p)
        p = p + sized(0.5 * before * h, y) * force
        separable = parts_of(rhs) is not None
        end = torch.cat((velocity_of(rhs, t + h, q, p), force), -1) if separable else None
        return Step(torch.cat((q, p), -1), (start,), end)


LEAPFROG = Splitting("leapfrog", 2, (1.0,), "Verlet, Phys. Rev. 159 (1967) 98; Hairer, Lubich & Wanner, Sect. I.1.4")
"""Velocity Verlet."""

_OUTER = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))

YOSHIDA4 = Splitting(
    "yoshida4", 4, (_OUTER, 1.0 - 2.0 * _OUTER, _OUTER), "Yoshida, Phys. Lett. A 150 (1990) 262, Eq. 2.11"
)
"""Three leapfrog steps, the second backwards; two of the times between lie outside the step.

Time is held inside the span: forces that depend on time have the first and the last step's times changed, and order 2.
So have forces that jump at an event, which are held at its surface where a step's inner places lie beyond it.
"""

_PART = 1.0 / (4.0 - 4.0 ** (1.0 / 3.0))

SUZUKI4 = Splitting(
    "suzuki4", 4, (_PART, _PART, 1.0 - 4.0 * _PART, _PART, _PART), "Suzuki, Phys. Lett. A 146 (1990) 319, Eq. 15"
)
"""Five leapfrog steps, the third backwards, with all times inside the step and a smaller error."""
