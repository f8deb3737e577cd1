r"""Directional derivatives of a scalar by central differences, extrapolated once.

.. math:: D(h) = \frac{L(x + h v) - L(x - h v)}{2 h}, \qquad \frac{4 D(h/2) - D(h)}{3} = v^\top \nabla L + O(h^4) .
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Differences", "differences", "directions"]

_NOTHING = 1e-6  # of L over the size of x: derivatives below it are not told from 0
_STEP = 1e-3  # relative: in double precision h**4 and rounding over h are both some 1e-12


class Differences(NamedTuple):
    """Directional derivatives, ``(directions,)``.

    ``unrest``: how far those by one step and by half of it are apart, relative to their ``size``; that is the norm of
    all, or what is left of rounding where they vanish.
    """

    values: Tensor
    unrest: float
    size: float


def directions(size: int, most: int, generator: torch.Generator) -> Tensor:
    """Return the axes of a space of ``size`` dimensions if they are no more than ``most``, else random unit vectors."""
    if size <= most:
        return torch.eye(size, dtype=torch.float64)
    drawn = torch.randn(most, size, dtype=torch.float64, generator=generator)
    lengths: Tensor = drawn.norm(dim=1, keepdim=True)
    return drawn / lengths


def differences(
    scalar: Callable[[], Tensor], tensors: Sequence[Tensor], along: Tensor, *, careful: float | None = None
) -> Differences:
    """Differentiate ``scalar()`` along directions in the joint space of ``tensors``.

    Parameters
    ----------
    scalar
        Computes L from the tensors' present values, which are changed in place and set back.
    tensors
        Float64 leaves.
    along
        ``(directions, elements of all tensors)``.
    careful
        A step relative to the elements along a direction, where they are not 0: one that changes no sign. By default
        steps are relative to the root mean square of all, which tells more of a small element.
    """
    before = [tensor.detach().clone() for tensor in tensors]
    flat = torch.cat([tensor.reshape(-1) for tensor in before])
    scale = max(1.0, float(flat.norm()) / max(1, len(flat)) ** 0.5)
    steps = [scale * _STEP if careful is None else careful * _along(v.abs(), flat.abs(), scale) for v in along]

    def at(shift: Tensor) -> float:
        parts = torch.split(shift.to(flat.device), [tensor.numel() for tensor in tensors])
        for tensor, old, part in zip(tensors, before, parts, strict=True):
            tensor.data.copy_(old + part.reshape(old.shape))
        return float(scalar())

    whole: list[float] = []
    halves: list[float] = []
    try:
        with torch.no_grad():
            present = abs(float(scalar()))
            for v, step in zip(along, steps, strict=True):
                for h, found in ((step, whole), (step / 2, halves)):
                    found.append((at(h * v) - at(-h * v)) / (2 * h))
    finally:
        for tensor, old in zip(tensors, before, strict=True):
            tensor.data.copy_(old)
    coarse, fine = torch.tensor(whole, dtype=torch.float64), torch.tensor(halves, dtype=torch.float64)
    size = max(float(fine.norm()), _NOTHING * present / scale, torch.finfo(torch.float64).tiny)
    return Differences((4 * fine - coarse) / 3, float((fine - coarse).norm()) / size, size)


def _along(v: Tensor, size: Tensor, scale: float) -> float:
    """Return the size of the elements that a direction leads along."""
    there = float((v.to(size) * size).sum())
    return min(there, scale) if there > 0.0 else scale
