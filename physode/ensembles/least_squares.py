r"""Levenberg-Marquardt of many independent least squares problems at once.

Each member minimises a loss F of its own, with gradient :math:`g = \tfrac12 \partial F/\partial z` and Gauss-Newton
matrix M, both in squared standard errors, by steps

.. math:: \delta = -(M + \mu \operatorname{diag} M)^{-1} g

inside its bounds: what stands at a bound and is pushed against it is held, what a step would carry beyond is cut off
there. A step is taken where F falls; the damping follows the ratio of the fall to the one foretold,
:math:`-2 g^\top\delta - \delta^\top M \delta` (Nielsen 1999; Madsen, Nielsen & Tingleff, *Methods for Non-Linear Least
Squares Problems*, 2004). Where what is foretold is below the solver's own errors in F, a step counts as one if it
lowers the decrement :math:`g^\top M^{-1} g`, the squared distance to the minimum in standard errors.

Every member has a damping, a count and an end of its own; one evaluation serves all that go on. All arithmetic is that
of :mod:`physode.ensembles.normal_equations`: the same bits alone, in company and in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physode.ensembles.normal_equations import Cholesky, pairwise_sum

CONVERGED, EXHAUSTED, STUCK, UNSOLVED = range(4)
"""How a search ended: arrived; all evaluations used up; no step lowers the loss; no finite loss at the start."""

_DAMPING, _LEAST, _MOST = 1e-3, 1e-14, 1e12
_NOISE = 1e-8  # of values and loss: the solver's own errors in the loss
_SHORT = 1e-9  # of unknowns: a whole step that changes none of them by more is at its end


@dataclass(frozen=True)
class Normal:
    """Losses with gradients and Gauss-Newton matrices of S members: (S,), (S, P), (S, P, P)."""

    loss: Tensor
    gradient: Tensor
    matrix: Tensor

    def placed(self, rows: Tensor, other: Normal) -> Normal:
        """Return the same with some rows replaced."""
        return Normal(
            self.loss.index_copy(0, rows, other.loss),
            self.gradient.index_copy(0, rows, other.gradient),
            self.matrix.index_copy(0, rows, other.matrix),
        )

    def taken(self, rows: Tensor) -> Normal:
        """Return some rows."""
        return Normal(self.loss[rows], self.gradient[rows], self.matrix[rows])


Evaluate = Callable[[Tensor, Tensor], Normal]
"""From unknowns, (R, P), and the numbers of their members, (R,); an infinite loss where there is none."""


@dataclass(frozen=True)
class Box:
    """Between what unknowns stay, (S, P) each, and how far they move in a step, (P,)."""

    low: Tensor
    high: Tensor
    reach: Tensor

    def taken(self, rows: Tensor) -> Box:
        """Return some rows."""
        return Box(self.low[rows], self.high[rows], self.reach)

    def pushed(self, z: Tensor, gradient: Tensor) -> Tensor:
        """Return which unknowns are at a bound that the gradient pushes them against, (S, P)."""
        return ((z <= self.low) & (gradient > 0)) | ((z >= self.high) & (gradient < 0))

    def step(self, z: Tensor, step: Tensor) -> Tensor:
        """Return where a step leads, cut off at the reach and the bounds."""
        step = torch.minimum(torch.maximum(step, -self.reach), self.reach)
        return torch.minimum(torch.maximum(z + step, self.low), self.high)


@dataclass(frozen=True)
class Searched:
    """Where S searches ended.

    Attributes
    ----------
    z, normal
        The best point, (S, P), and what is there.
    evaluations
        (S,).
    ended
        How, (S,): one of the constants above.
    """

    z: Tensor
    normal: Normal
    evaluations: Tensor
    ended: Tensor


def minimise(
    evaluate: Evaluate,
    z: Tensor,
    box: Box,
    values: Tensor,
    *,
    arrived: float = 1e-12,
    evaluations: int = 200,
    progress: Callable[[float], object] | None = None,
) -> Searched:
    """Minimise the losses of S members.

    Parameters
    ----------
    evaluate
        Called with those members that still go on.
    z, box
        Where they begin, (S, P), and their bounds.
    values
        How many values each member has, (S,).
    arrived
        A search ends where its decrement is below: squared standard errors to the minimum.
    evaluations
        Most of each member.
    progress
        Told the share of members that have ended.
    """
    everyone = torch.arange(len(z))
    z = torch.minimum(torch.maximum(z, box.low), box.high)
    best = evaluate(z, everyone)
    spent = torch.ones(len(z), dtype=torch.int64)
    damping, growth = torch.full_like(best.loss, _DAMPING), torch.full_like(best.loss, 2.0)
    solved = torch.isfinite(best.loss)
    ended = torch.where(solved, EXHAUSTED, UNSOLVED)
    near, decrement = _at_rest(best, z, box, arrived)
    ended = torch.where(solved & near, CONVERGED, ended)
    going = solved & ~near
    for _ in range(1, evaluations):
        rows = going.nonzero().flatten()
        if not len(rows):
            break
        here, own, start = best.taken(rows), box.taken(rows), z[rows]
        there, foretold = _step(here, start, own, damping[rows])
        trial = evaluate(there, rows)
        spent[rows] += 1
        fall = here.loss - trial.loss
        noise = _NOISE * (values[rows] + here.loss.abs())
        arrives, lowered = _at_rest(trial, there, own, arrived)
        faint = foretold <= noise
        better = torch.isfinite(trial.loss) & ((fall > 0) | (faint & (fall >= -noise) & (lowered < decrement[rows])))
        ratio = torch.where(better & ~faint, fall / foretold, torch.where(better, 1.0, -1.0))
        shrink = (1.0 - _cube(2.0 * ratio.clamp(-1.0, 2.0) - 1.0)).clamp_min(1.0 / 3.0)
        damping[rows] = (damping[rows] * torch.where(better, shrink, growth[rows])).clamp(_LEAST, _MOST)
        growth[rows] = torch.where(better, 2.0, 2.0 * growth[rows])
        moved = rows[better]
        z, best = z.index_copy(0, moved, there[better]), best.placed(moved, trial.taken(better.nonzero().flatten()))
        decrement[moved] = lowered[better]
        done = torch.where(better, arrives, faint)
        stuck = ~better & ~done & (damping[rows] >= _MOST)
        ended[rows[done]], ended[rows[stuck]] = CONVERGED, STUCK
        going[rows[done | stuck]] = False
        if progress is not None:
            progress(1.0 - len(going.nonzero()) / len(z))
    return Searched(z, best, spent, ended)


def _at_rest(normal: Normal, z: Tensor, box: Box, arrived: float) -> tuple[Tensor, Tensor]:
    """Return which members are at their minima, (S,), and their decrements; False and infinite where there is no loss.

    At a minimum the decrement is next to nothing, or a whole step would move no unknown.
    """
    there = torch.isfinite(normal.loss)
    finite = there.unsqueeze(1) & torch.isfinite(normal.gradient)
    gradient = torch.where(finite, normal.gradient, 0.0)
    matrix = torch.where(finite.unsqueeze(1) & finite.unsqueeze(2), normal.matrix, 0.0)
    factor = Cholesky.of(matrix, box.pushed(z, gradient))
    decrement = torch.where(there, factor.decrement(gradient), torch.inf)
    step = factor.solve(gradient)
    still = (step.abs() <= _SHORT * z.abs()).all(1)
    return there & ((decrement <= arrived) | still), decrement


def _step(here: Normal, z: Tensor, box: Box, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Return where damped steps lead, and the falls that are foretold there."""
    held = box.pushed(z, here.gradient)
    factor = Cholesky.of(here.matrix, held, damping)
    there = box.step(z, torch.where(held, 0.0, -factor.solve(here.gradient)))
    step = there - z
    bent = pairwise_sum((here.matrix * step.unsqueeze(1)).movedim(2, 0))
    foretold = -pairwise_sum((step * (2.0 * here.gradient + bent)).T)
    return there, foretold.clamp_min(1e-300)


def _cube(x: Tensor) -> Tensor:
    return x * x * x
