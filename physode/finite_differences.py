r"""Directional derivatives of a scalar by central differences, extrapolated once.

.. math:: D(h) = \frac{L(x + h v) - L(x - h v)}{2 h}, \qquad \frac{4 D(h/2) - D(h)}{3} = v^\top \nabla L + O(h^4) .
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Differences", "differences", "directions"]

_STEP = 1e-3  # relative: in double precision h**4 and rounding over h are both some 1e-12


class Differences(NamedTuple):
    """Directional derivatives, ``(directions,)``, and how far those by one step and by half of it are apart, relative."""

    values: Tensor
    unrest: float


def directions(size: int, most: int, generator: torch.Generator) -> Tensor:
    """Return the axes of a space of ``size`` dimensions if they are no more than ``most``, else random unit vectors."""
    if size <= most:
        return torch.eye(size, dtype=torch.float64)
    drawn = torch.randn(most, size, dtype=torch.float64, generator=generator)
    return drawn / drawn.norm(dim=1, keepdim=True)


def differences(scalar: Callable[[], Tensor], tensors: Sequence[Tensor], along: Tensor) -> Differences:
    """Differentiate ``scalar()`` along directions in the joint space of ``tensors``.

    Parameters
    ----------
    scalar
        Computes L from the tensors' present values, which are changed in place and set back.
    tensors
        Float64 leaves.
    along
        ``(directions, elements of all tensors)``.
    """
    before = [tensor.detach().clone() for tensor in tensors]
    flat = torch.cat([tensor.reshape(-1) for tensor in before])
    step = _STEP * max(1.0, float(flat.norm()) / max(1, len(flat)) ** 0.5)

    def at(shift: Tensor) -> float:
        parts = torch.split(shift.to(flat.device), [tensor.numel() for tensor in tensors])
        for tensor, value, part in zip(tensors, before, parts, strict=True):
            tensor.data.copy_(value + part.reshape(value.shape))
        return float(scalar())

    whole, halves = [], []
    try:
        with torch.no_grad():
            for v in along:
                for h, found in ((step, whole), (step / 2, halves)):
                    found.append((at(h * v) - at(-h * v)) / (2 * h))
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.data.copy_(value)
    coarse, fine = torch.tensor(whole, dtype=torch.float64), torch.tensor(halves, dtype=torch.float64)
    size = float(fine.norm())
    return Differences((4 * fine - coarse) / 3, float((fine - coarse).norm()) / size if size else 0.0)
