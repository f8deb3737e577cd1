r"""Rosenbrock methods: one linear system a stage, no iteration (Hairer & Wanner, Solving ODEs II, Sect. IV.7).

With :math:`J = \partial f / \partial y` and :math:`f_t = \partial f / \partial t` at the step's start,

.. math::
    (I - h \gamma J) \, u_i = h \gamma f\Big(t + c_i h, \; y + \sum_{j<i} a_{ij} u_j\Big)
        + \gamma \sum_{j<i} C_{ij} u_j + h^2 \gamma d_i f_t , \qquad y_{+} = y + \sum_i m_i u_i .

That is Eq. (IV.7.25) times :math:`h \gamma`, so that a step of size 0 is the identity. The step is differentiated as it
stands, J included: the derivatives are those of the numerical solution, of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from physode.solvers.clock import Number, sized
from physode.solvers.implicit.blocks import blocks_of
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.linear import factor, shifted
from physode.solvers.implicit.running import Running, columns_of
from physode.solvers.implicit.structure import to_solve
from physode.solvers.method import StepMethod
from physode.solvers.runge_kutta import Row, Step, added, stage_times

__all__ = ["Rosenbrock", "added", "combined"]


@dataclass(frozen=True, kw_only=True)
class Rosenbrock(StepMethod):
    r"""A Rosenbrock method with an embedded error estimate and an interpolant.

    Attributes
    ----------
    gamma, a, big_c, c, d, m
        The coefficients above; ``a`` and ``big_c`` strictly lower triangular, row i with i entries.
    error
        Weights of the :math:`u_i` that give the local error.
    dense
        Rows of weights of the interpolant's coefficients from the second on (the first is the step's change).
    """

    name: str
    order: int
    error_order: int
    gamma: float
    a: tuple[Row, ...]
    big_c: tuple[Row, ...]
    c: Row
    d: Row
    m: Row
    error: Row
    dense: tuple[Row, ...]
    interpolant_order: int = 4
    reference: str = ""
    adaptive: bool = True

    @property
    def stages(self) -> int:  # type: ignore[override]
        """The number of stages."""
        return len(self.m)

    def take(self, rhs: Any, t: Number, y: Tensor, h: Number, k1: Tensor | None) -> Step:
        """Take one step; what stands for slopes are the :math:`u_i`."""
        blocks = blocks_of(y, h, structure_for(rhs))
        found = derivatives(rhs, t, y, blocks, with_time=True)
        factors = factor(shifted(found.by_state, h, self.gamma))
        dtype, y = y.dtype, to_solve(y)  # weights of more than a hundred magnify what half precision rounds
        length = self.gamma * sized(h, y)
        drift = None if found.by_time is None else length * sized(h, y) * blocks.join(to_solve(found.by_time))
        sums, us = Running(self._columns), []
        for i, time in enumerate(stage_times(self.c, t, h)):
            if i == 0:
                k1 = found.value if k1 is None else k1
                right = length * to_solve(rhs(time, y.to(dtype)) if k1 is None else k1)
            else:
                change, right = sums.take(2)
                right = added(right, length, to_solve(rhs(time, (y + change).to(dtype))))
            if drift is not None and self.d[i] != 0.0:
                right = torch.add(right, drift, alpha=self.d[i])
            us.append(blocks.join(factors.solve(blocks.split(right))))
            sums.add(us[i])
        (change,) = sums.take(1)
        return Step((y + change).to(dtype), tuple(us))

    @cached_property
    def _columns(self) -> tuple[Row, ...]:
        r"""What each :math:`u_j` counts for later: :math:`a_{ij}` and :math:`\gamma C_{ij}`, and :math:`m_j`."""
        rows = [row for a, c in zip(self.a, self.big_c, strict=True) for row in (a, tuple(self.gamma * v for v in c))]
        return columns_of([*rows, self.m])

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [combined(self.error, ks)]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the method's own interpolant."""
        return [step.y - y, *(combined(row, step.ks).to(y.dtype) for row in self.dense)]


def combined(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    """Return a weighted sum, as a chain of elementwise operations: no sample's result depends on its company."""
    total: Tensor | None = None
    for weight, part in zip(weights, parts, strict=False):
        if weight == 0.0:
            continue
        scaled = part if weight == 1.0 or total is not None else weight * part
        total = scaled if total is None else torch.add(total, part, alpha=weight)
    return torch.zeros_like(parts[0]) if total is None else total
