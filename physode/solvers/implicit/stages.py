r"""The equations of coupled stages: :math:`w_i = h f(t_i, \; Y_i)`, :math:`Y_i = z_i + \sum_j a_{ij} w_j`.

The unknowns :math:`w_i` are increments, not slopes, so that a step of size 0 has the solution 0. What is known of the
state, :math:`z_i`, holds the step's start and earlier stages.

The solution is differentiated by the implicit function theorem. With :math:`r(w; y, \theta)` the residual and
:math:`M = \partial r / \partial w` at the solution,

.. math:: dw = - M^{-1} \Big(\frac{\partial r}{\partial y} dy + \frac{\partial r}{\partial \theta} d\theta\Big) ,

whatever iteration has found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from physode.solvers.clock import Number, detached
from physode.solvers.implicit.band import Band
from physode.solvers.implicit.banded import BandFactors
from physode.solvers.implicit.blocks import Blocks
from physode.solvers.implicit.jacobian import derivatives
from physode.solvers.implicit.linear import Factors, coupled_factors
from physode.solvers.implicit.once import first_derivative_only

__all__ = ["Stages", "differentiated", "differentiating"]


class Stages(NamedTuple):
    """Coupled stages: their times ``t_i``, known parts ``z_i``, and weights ``a_ij``."""

    rhs: Any
    times: Sequence[Number]
    known: Sequence[Tensor]
    a: Sequence[Sequence[float]]
    h: Number
    blocks: Blocks

    def detached(self) -> Stages:
        """Return the same equations without a graph."""
        times, known = [detached(t) for t in self.times], [z.detach() for z in self.known]
        return self._replace(times=times, known=known, h=detached(self.h))

    def parts(self, w: Tensor) -> list[Tensor]:
        """Return the unknowns of each stage, in the state's shape."""
        return [self.blocks.join(part) for part in (w.chunk(len(self.a), 1) if len(self.a) > 1 else [w])]

    def states(self, w: Tensor) -> list[Tensor]:
        """Return the stages' states."""
        if len(self.a) == 1:
            return [torch.add(self.known[0], self.blocks.join(w), alpha=self.a[0][0])]
        parts, found = self.parts(w), []
        for z, row in zip(self.known, self.a, strict=True):
            for weight, part in zip(row, parts, strict=True):
                z = torch.add(z, part, alpha=weight) if weight else z
            found.append(z)
        return found

    def residual(self, w: Tensor) -> Tensor:
        """Return ``w - h f``, ``(blocks, stages * D)``."""
        slopes = [self.blocks.split(self.rhs(t, state)) for t, state in zip(self.times, self.states(w), strict=True)]
        slope = slopes[0] if len(slopes) == 1 else torch.cat(slopes, 1)
        if isinstance(self.h, Tensor):
            return torch.addcmul(w, self.blocks.size(self.h, slope), slope, value=-1)
        return torch.sub(w, slope, alpha=self.h)

    def factors(self, jacobians: Sequence[Tensor | Band]) -> Factors | BandFactors:
        """Return the factors of ``dr/dw`` from df/dy at each stage, or one for all."""
        return coupled_factors(jacobians, self.a, self.h)

    def exact_factors(self, w: Tensor) -> Factors | BandFactors:
        """Return the factors of ``dr/dw`` at ``w`` itself."""
        pairs = zip(self.times, self.states(w), strict=True)
        return self.factors([derivatives(self.rhs, t, state, self.blocks).by_state for t, state in pairs])


def differentiating() -> bool:
    """Whether derivatives may be asked for: backwards, or forwards by ``torch.func.jvp``."""
    return torch.is_grad_enabled() or forward_ad._current_level >= 0


def differentiated(stages: Stages, root: Tensor) -> Tensor:
    """Return the solution ``root`` with its derivative; its value stays."""
    residual = stages.residual(root)
    with torch.no_grad():
        factors = stages.detached().exact_factors(root)
    return first_derivative_only(root - factors.solve(residual - residual.detach()))
