r"""Newton's method for stages, block by block (Hairer & Wanner, Solving ODEs II, Sect. IV.8).

With :math:`\Delta^m` the m-th increment, measured in tolerances, and :math:`\Theta = |\Delta^m| / |\Delta^{m-1}|`, the
iteration has arrived when :math:`\Theta / (1 - \Theta) \, |\Delta^m| \le \kappa`, and is given up where
:math:`\Theta \ge 1` or the iterations left would not do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Found", "newton", "settled"]


class Found(NamedTuple):
    """The roots ``(blocks, n)``, finite everywhere, and which blocks' iterations have ``failed``."""

    root: Tensor
    failed: Tensor


def newton(
    improve: Callable[[Tensor], Tensor], start: Tensor, scale: Tensor, *, kappa: float, limit: int, patient: bool
) -> Found:
    """Iterate; a block that has arrived or failed stays as it is, whatever the others do.

    Parameters
    ----------
    improve
        From a guess ``(blocks, n)`` to the increment to be added.
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
    """
    root, moving = start, torch.ones_like(start[:, 0], dtype=torch.bool)
    arrived = torch.zeros_like(moving)
    before: Tensor | None = None
    for turn in range(limit):
        change = improve(root)
        size = (change / scale).square().mean(1).sqrt()
        fine = torch.isfinite(size)
        root = torch.where((moving & fine)[:, None], root + change, root)
        if before is None:
            there, lost = size <= (kappa if patient else 1e-2 * kappa), ~fine
        else:
            rate = size / before.clamp(min=1e-300)
            left = rate / (1 - rate) * size
            there = ((rate < 1) & (left <= kappa)) | (size <= 1e-2 * kappa)
            lost = ~fine if patient else ~(rate < 1) | (left * rate ** (limit - 1 - turn) > kappa)
        arrived = arrived | (moving & there)
        moving = moving & ~there & ~lost
        before = size
        if settled(moving):
            break
    return Found(torch.where(arrived[:, None], root, start), ~arrived)


def settled(moving: Tensor) -> bool:
    """Whether nothing moves any more; mapped over steps, where values cannot be looked at, it is never known."""
    try:
        return not bool(moving.any())
    except RuntimeError:
        return False
