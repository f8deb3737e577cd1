"""Newton's method in one step of an implicit Runge-Kutta method: what its stages share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.solvers.clock import Number, sized
from physode.solvers.implicit.band import Band
from physode.solvers.implicit.banded import BandFactors
from physode.solvers.implicit.blocks import Blocks, blocks_of
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.linear import Factors
from physode.solvers.implicit.newton import newton
from physode.solvers.implicit.stages import Stages, differentiated, differentiating
from physode.solvers.norms import root_mean_square
from physode.transforms import under_func

__all__ = ["StageSolver"]

_CHORDS, _NEWTONS = 15, 20  # iterations with one derivative, with a new one each
_ROUNDING, _MOST = 100, 0.02  # units of rounding that an iteration may leave, and what they may amount to
_FAR = 1e10  # tolerances: an error that no step size accepts


@dataclass
class StageSolver:
    """Finds the stages of one step.

    Attributes
    ----------
    rhs, t, h, blocks
        The right-hand side, the step's start and size, the state's blocks.
    jacobian, slope
        At the step's start, without a graph, where steps are adapted: Newton's method keeps them for the step.
    scale
        The error that Newton's method may leave is ``kappa`` of it.
    lone
        Whether there is one block whose numbers may be looked at.
    failed
        The blocks where it did not converge. Their stages are finite, and with error control their error is huge but
        finite, too: the naive method's gradients pass through rejected attempts, and would meet a NaN.
    """

    rhs: Any
    t: Number
    h: Number
    blocks: Blocks
    jacobian: Tensor | Band | None
    slope: Tensor | None
    scale: Tensor
    kappa: float
    lone: bool
    failed: Number = False
    factors: Factors | BandFactors | None = None
    rate: Number = 1.0

    @classmethod
    def of(
        cls,
        rhs: Any,
        t: Number,
        y: Tensor,
        h: Number,
        rtol: Tensor | float | None,
        atol: Tensor | float | None,
        kappa: float,
    ) -> StageSolver:
        """Make ready for a step."""
        blocks = blocks_of(y, h, structure_for(rhs))
        lone = blocks.number == 1 and not (isinstance(h, Tensor) and h.ndim) and not under_func()
        with torch.no_grad():
            if rtol is None or atol is None:
                rows = blocks.split(y.detach())
                rounding = _rounding(y.dtype)
                size = root_mean_square(rows, 1)[:, None].clamp(min=torch.finfo(y.dtype).tiny / rounding)
                scale = rounding * torch.maximum(rows.abs(), size)
                return cls(rhs, t, h, blocks, None, None, scale, 1.0, lone)
            tolerated = (atol + rtol * y.detach().abs()).clamp(min=torch.finfo(y.dtype).tiny).expand_as(y)
            scale = blocks.split(torch.complex(tolerated, tolerated) if blocks.complex else tolerated)
            found = derivatives(rhs, t, y.detach(), blocks)
            return cls(rhs, t, h, blocks, found.by_state, found.value, scale, kappa, lone)

    def explicit(self, time: Number, state: Tensor, slope: Tensor | None) -> Tensor:
        """Return the increment ``h f`` of a stage that is known."""
        slope = self.rhs(time, state) if slope is None else slope
        increment: Tensor = sized(self.h, slope) * slope
        return increment

    def at_start(self, y: Tensor, k1: Tensor | None) -> Tensor:
        """Return the derivative at the step's start, which may be known."""
        if k1 is not None:
            return k1
        return self.rhs(self.t, y) if self.slope is None or differentiating() else self.slope

    def find(
        self, times: Sequence[Number], known: Sequence[Tensor], a: Sequence[Sequence[float]], guess: Tensor | None
    ) -> list[Tensor]:
        """Return the increments of coupled stages, differentiable."""
        stages = Stages(self.rhs, times, known, a, self.h, self.blocks)
        with torch.no_grad():
            plain = stages.detached()
            scale = self.scale if len(a) == 1 else self.scale.repeat(1, len(a))
            start = torch.zeros_like(scale) if guess is None else self.blocks.split(guess)
            if self.jacobian is None:
                found = newton(
                    lambda w: plain.exact_factors(w).solve(plain.residual(w)),
                    start, scale, kappa=self.kappa, limit=_NEWTONS, patient=True, lone=self.lone,
                    rounding=_rounding(scale.dtype),
                )  # fmt: skip
            else:
                if self.factors is None:
                    self.factors = plain.factors([self.jacobian])
                factors = self.factors
                found = newton(
                    lambda w: factors.solve(plain.residual(w)),
                    start, scale, kappa=self.kappa, limit=_CHORDS, patient=False, lone=self.lone, rate=self.rate,
                )  # fmt: skip
                self.rate = found.rate
            self.failed = found.failed | self.failed
        root = found.root
        if differentiating():
            root = differentiated(stages, root)
        return stages.parts(root)

    def blanked(self, state: Tensor) -> Tensor:
        """Return a state, NaN in the blocks where a stage was not found."""
        return state if self.failed is False else self.where(self.failed, torch.full_like(state, torch.nan), state)

    def rejected(self, error: Tensor) -> Tensor:
        """Return an error, far beyond the tolerance in the blocks where a stage was not found."""
        if self.failed is False:
            return error
        most = torch.finfo(self.scale.dtype).max
        return self.where(self.failed, self.blocks.join((_FAR * self.scale).clamp(max=most)), error)

    def filtered(self, error: Tensor) -> Tensor:
        """Return the error's estimate times the inverse of the stages' matrix, which is a constant in derivatives."""
        return error if self.factors is None else self.blocks.join(self.factors.solve(self.blocks.split(error)))

    def where(self, verdict: Number, yes: Tensor, no: Tensor) -> Tensor:
        """Choose between two states, block by block."""
        if not isinstance(verdict, Tensor):
            return yes if verdict else no
        return self.blocks.join(torch.where(verdict[:, None], self.blocks.split(yes), self.blocks.split(no)))


def _rounding(dtype: torch.dtype) -> float:
    """Return the share of a root that counts as rounding."""
    return min(_ROUNDING * torch.finfo(dtype).eps, _MOST)
