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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.pairing import Paired, paired
from physode.solvers.clock import Number, expand
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Step

__all__ = ["ALF"]


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

    def posed(self, problem: Any) -> Any:
        """Return the problem of the pair."""
        return paired(problem)

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step of the pair."""
        packing = getattr(rhs, "packing", None)
        if not isinstance(packing, Paired):
            raise ValueError("`method` 'alf' carries a velocity beside the state: it goes through physode.solve only")
        z, v = y.unbind(packing.axis)
        size = expand(h.to(z.dtype), z.ndim) if isinstance(h, Tensor) else h
        middle = z + 0.5 * size * v
        slope = rhs(t + 0.5 * h, torch.stack((middle, v), packing.axis)).select(packing.axis, 0)
        after = 2.0 * slope - v
        if isinstance(h, Tensor):  # the step of size 0 is to be the identity
            after = torch.where(expand(h != 0, z.ndim), after, v)
        still = torch.zeros_like(v)  # an interpolant of the velocity is never read
        slopes = (torch.stack((part, still), packing.axis) for part in (v, slope - v, after))
        start, change, end = slopes
        return Step(torch.stack((middle + 0.5 * size * after, after), packing.axis), (start, change), end)

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the difference from Euler's step."""
        return [(expand(h.to(ks[1].dtype), ks[1].ndim) if isinstance(h, Tensor) else h) * ks[1]]
