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
from typing import Any

import torch
from torch import Tensor

from physode.solvers.implicit.blocks import Blocks, blocks_of, sized
from physode.solvers.implicit.jacobian import Derivatives, derivatives, structure_for
from physode.solvers.implicit.linear import Factors, factor
from physode.solvers.method import StepMethod
from physode.solvers.numbers import Number
from physode.solvers.stepper import Step

__all__ = ["Rosenbrock", "combined"]

Row = tuple[float, ...]


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
        us: list[Tensor] = []
        for i in range(self.stages):
            if i or k1 is None:
                k1 = rhs(t + self.c[i] * h, y + combined(self.a[i], us) if i else y)
            us.append(self._stage(i, k1, us, found, factors, blocks, h))
        return Step(y + combined(self.m, us), tuple(us))

    def _stage(
        self,
        i: int,
        slope: Tensor,
        us: Sequence[Tensor],
        found: Derivatives,
        factors: Factors,
        blocks: Blocks,
        h: Number,
    ) -> Tensor:
        total = self.gamma * sized(h, slope) * slope
        if i:
            total = total + combined(tuple(self.gamma * value for value in self.big_c[i]), us)
        right = blocks.split(total)
        if self.d[i] != 0.0:
            assert found.by_time is not None
            size = blocks.size(h, right)
            right = right + (self.gamma * self.d[i]) * size * size * found.by_time
        return blocks.join(factors.solve(right))

    def local_errors(self, h: Number, ks: Sequence[Tensor]) -> list[Tensor]:
        """Return the local error's estimate."""
        del h
        return [combined(self.error, ks)]

    def coefficients(self, y: Tensor, step: Step) -> list[Tensor]:
        """Return the method's own interpolant."""
        return [step.y - y, *(combined(row, step.ks) for row in self.dense)]


def shifted(matrix: Tensor, h: Number, gamma: float) -> Tensor:
    """Return ``I - h gamma J`` for matrices ``(blocks, D, D)``."""
    size = h.to(matrix.dtype).reshape(-1, 1, 1) if isinstance(h, Tensor) else h
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return identity - (gamma * size) * matrix


def combined(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    """Return a weighted sum, as a chain of elementwise operations: no sample's result depends on its company."""
    total: Tensor | None = None
    for weight, part in zip(weights, parts, strict=False):
        if weight == 0.0:
            continue
        scaled = part if weight == 1.0 or total is not None else weight * part
        total = scaled if total is None else torch.add(total, part, alpha=weight)
    return torch.zeros_like(parts[0]) if total is None else total
