r"""Newton's method for stages, block by block (Hairer & Wanner, Solving ODEs II, Sect. IV.8).

With :math:`\Delta^m` the m-th increment, measured in tolerances, and :math:`\Theta = |\Delta^m| / |\Delta^{m-1}|`, the
iteration has arrived when :math:`\Theta / (1 - \Theta) \, |\Delta^m| \le \kappa`, and is given up where
:math:`\Theta \ge 1` or the iterations left would not do. The first increment has no :math:`\Theta` of its own: where an
earlier stage of the same step had one, its root is taken, which is larger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from physode.autograd import plain
from physode.solvers.clock import Number, Verdict, anywhere, clamp, isfinite, logical_not, root_mean_square, where

__all__ = ["Found", "newton", "seen", "size_of"]


class Found(NamedTuple):
    """The roots ``(blocks, n)``, 0 in the blocks whose iterations have ``failed``, and the last ``rate``."""

    root: Tensor
    failed: Verdict
    rate: Number


def newton(
    improve: Callable[[Tensor], Tensor],
    start: Tensor,
    scale: Tensor,
    *,
    kappa: float,
    limit: int,
    patient: bool,
    lone: bool,
    rate: Number = 1.0,
    rounding: float = 0.0,
) -> Found:
    r"""Iterate; a block that has arrived or failed stays as it is, whatever the others do.

    Parameters
    ----------
    improve
        From a guess ``(blocks, n)`` to what is to be taken away from it.
    start
        The first guess.
    scale
        The tolerated error of each unknown, ``(blocks, n)``.
    kappa
        The error, in tolerances, at which the iteration has arrived.
    limit
        The number of iterations.
    patient
        Whether increments may grow on the way: the derivative is renewed in every iteration, and there is no smaller
        step to fall back on.
    lone
        Whether there is one block, and its numbers may be looked at: verdicts are then bools, at a tenth of the cost.
    rate
        Where an iteration with the same derivative came before, its :math:`\Theta`; 1 if not.
    rounding
        How much of the root's own size is tolerated as well: from a state of 0 there is no other scale.
    """
    root = start
    moving: Verdict = True if lone else start.new_ones(len(start), dtype=torch.bool)
    arrived = logical_not(moving)
    before: Number | None = None
    for turn in range(limit):
        change = improve(root)
        moved = root - change
        tolerated = torch.maximum(scale, rounding * root_mean_square(moved, 1)[:, None]) if rounding else scale
        size = size_of(change / tolerated, lone)
        fine = isfinite(size)
        root = _chosen(moved, root, moving & fine)
        there = size <= (kappa if patient and before is None else 1e-2 * kappa)
        lost = logical_not(fine)
        if before is None:
            if not patient:
                there = there | (_left(rate**0.5, size) <= kappa)
        else:
            rate = where(moving, size / clamp(before, 1e-300), rate)  # a block that rests has the rate it rests with
            left = _left(rate, size)
            there = there | (left <= kappa)
            if not patient:
                ahead = left * clamp(rate, high=2.0) ** (limit - 1 - turn)
                lost = lost | logical_not(rate < 1.0) | (ahead > kappa)
        arrived = arrived | (moving & there)
        moving = moving & logical_not(there | lost)
        before = size
        if not seen(moving):
            break
    if isinstance(arrived, Tensor):
        return Found(torch.where(arrived[:, None], root, 0.0), ~arrived, rate)
    return Found(root if arrived else torch.zeros_like(root), not arrived, rate)


def size_of(x: Tensor, lone: bool) -> Number:
    """Return the root mean square of each row, in double precision; of a lone one as a float."""
    return float(root_mean_square(x)) if lone else root_mean_square(x, 1).double()


def _chosen(moved: Tensor, root: Tensor, moves: Verdict) -> Tensor:
    if isinstance(moves, Tensor):
        return torch.where(moves[:, None], moved, root)
    return moved if moves else root


def _left(rate: Number, size: Number) -> Number:
    """Return the error that is left after an increment; huge where the increments do not shrink."""
    return rate * size / clamp(1.0 - rate, 1e-300)


def seen(verdict: Verdict) -> bool:
    """Whether a verdict holds for any block, of all that are mapped over."""
    return anywhere(plain(verdict) if isinstance(verdict, Tensor) else verdict)
