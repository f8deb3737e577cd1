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
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from physode.autograd import under_func
from physode.solvers.clock import Number, Verdict, detached, root_mean_square, sized
from physode.solvers.implicit.banded import Band, BandFactors
from physode.solvers.implicit.jacobian import derivatives, structure_for
from physode.solvers.implicit.jacobian_structure import Blocks, blocks_of
from physode.solvers.implicit.linear import Factors, coupled_factors
from physode.solvers.implicit.newton import newton
from physode.solvers.runge_kutta import Rhs

__all__ = ["StageSolver", "Stages", "differentiated", "differentiating"]


class Stages(NamedTuple):
    """Coupled stages: their times ``t_i``, known parts ``z_i``, and weights ``a_ij``."""

    rhs: Rhs
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
        parts, states = self.parts(w), []
        for z, row in zip(self.known, self.a, strict=True):
            for weight, part in zip(row, parts, strict=True):
                z = torch.add(z, part, alpha=weight) if weight else z
            states.append(z)
        return states

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
    once = root - factors.solve(residual - residual.detach())
    if not getattr(stages.rhs, "any_order", False):
        return _Derivatives.apply(once, 1)  # type: ignore[no-untyped-call, no-any-return]
    residual = stages.residual(once)  # whose first derivative is 0: Newton's method doubles what is right
    twice = _Second.apply(factors.solve(residual - residual.detach()))  # type: ignore[no-untyped-call]
    return _Derivatives.apply(once - twice, 2)  # type: ignore[no-untyped-call, no-any-return]


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

    rhs: Rhs
    t: Number
    h: Number
    blocks: Blocks
    jacobian: Tensor | Band | None
    slope: Tensor | None
    scale: Tensor
    kappa: float
    lone: bool
    failed: Verdict = False
    factors: Factors | BandFactors | None = None
    rate: Number = 1.0

    @classmethod
    def of(
        cls,
        rhs: Rhs,
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
            at_start = derivatives(rhs, t, y.detach(), blocks)
            return cls(rhs, t, h, blocks, at_start.by_state, at_start.value, scale, kappa, lone)

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
                solved = newton(
                    lambda w: plain.exact_factors(w).solve(plain.residual(w)),
                    start, scale, kappa=self.kappa, limit=_NEWTONS, patient=True, lone=self.lone,
                    rounding=_rounding(scale.dtype),
                )  # fmt: skip
            else:
                if self.factors is None:
                    self.factors = plain.factors([self.jacobian])
                factors = self.factors
                solved = newton(
                    lambda w: factors.solve(plain.residual(w)),
                    start, scale, kappa=self.kappa, limit=_CHORDS, patient=False, lone=self.lone, rate=self.rate,
                )  # fmt: skip
                self.rate = solved.rate
            self.failed = solved.failed | self.failed
        root = solved.root
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

    def where(self, verdict: Verdict, yes: Tensor, no: Tensor) -> Tensor:
        """Choose between two states, block by block."""
        if not isinstance(verdict, Tensor):
            return yes if verdict else no
        return self.blocks.join(torch.where(verdict[:, None], self.blocks.split(yes), self.blocks.split(no)))


def _rounding(dtype: torch.dtype) -> float:
    """Return the share of a root that counts as rounding."""
    return min(_ROUNDING * torch.finfo(dtype).eps, _MOST)


_MESSAGE = {
    1: "second derivatives through implicit Runge-Kutta methods need gradient=ACA(memory='graph') or 'naive'",
    2: "third derivatives through implicit Runge-Kutta methods are not computed; method='rodas5p' has them",
}


class _Derivatives(torch.autograd.Function):
    """The identity, which may be differentiated ``order`` times."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, order: int) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        value, ctx.order = inputs
        ctx.save_for_backward(value)
        ctx.save_for_forward(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return _Left.apply(cotangents[0], *ctx.saved_tensors, ctx.order - 1, ctx.order), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Any:
        return _Left.apply(tangents[0], *ctx.saved_tensors, ctx.order - 1, ctx.order)  # type: ignore[no-untyped-call]


class _Left(torch.autograd.Function):
    """The identity; its derivative, in the cotangent or in what it belongs to, raises where none is left."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cotangent: Tensor, value: Tensor, left: int, order: int) -> Tensor:
        return cotangent.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, value, ctx.left, ctx.order = inputs
        ctx.save_for_backward(value)
        ctx.save_for_forward(value)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        if not ctx.left:
            raise RuntimeError(_MESSAGE[ctx.order])
        (value,) = ctx.saved_tensors
        parts = (cotangents[0], torch.zeros_like(value))
        return *(_Left.apply(part, value, ctx.left - 1, ctx.order) for part in parts), None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        if not ctx.left:
            raise RuntimeError(_MESSAGE[ctx.order])
        return _Left.apply(tangents[0], *ctx.saved_tensors, ctx.left - 1, ctx.order)  # type: ignore[no-untyped-call]


class _Second(torch.autograd.Function):
    """Zero, whose first derivative is rounding: it is left out where no second one is asked for."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return cotangents[0] if torch.is_grad_enabled() else None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return _Second.apply(tangents[0])  # type: ignore[no-untyped-call]
