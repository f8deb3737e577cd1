"""Grids of steps that are given beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Grid", "count_of_steps", "grid_of_step_size", "grid_of_times", "steps_of_size"]

_BLOCK = 1024


class Grid(NamedTuple):
    """Steps: starts, signed sizes and ends, ``(steps, *groups)``, float64."""

    starts: Tensor
    sizes: Tensor
    ends: Tensor

    def rows(self) -> Iterator[Grid]:
        """Give each step's start, size and end; a block of them at a time, as each is a tensor object."""
        for low in range(0, len(self.starts), _BLOCK):
            yield from map(Grid, *(part[low : low + _BLOCK] for part in self))


def grid_of_times(times: Tensor) -> Grid:
    """Return the steps from each time to the next."""
    return Grid(times[:-1], times.diff(dim=0), times[1:])


def grid_of_step_size(t0: Tensor, t1: Tensor, step_size: float, max_steps: int) -> Grid:
    """Return steps of one size from ``t0`` to ``t1``; the last may be shorter. Raises as :func:`count_of_steps`."""
    return steps_of_size(t0, t1, step_size, count_of_steps(t0, t1, step_size, max_steps))


def count_of_steps(t0: Tensor, t1: Tensor, step_size: float, max_steps: int) -> int:
    """Return how many steps of one size it takes from ``t0`` to ``t1``.

    Raises
    ------
    ValueError
        If the step size is not positive, or makes more than ``max_steps`` steps.
    """
    if not (step_size > 0.0 and math.isfinite(step_size)):
        raise ValueError(f"`step_size` must be positive and finite, got {step_size}")
    span = (t1 - t0).detach().abs()
    longest = float(span.max()) / step_size if span.numel() else 0.0
    if longest > max_steps:
        raise ValueError(
            f"`step_size` {step_size} makes {longest:.3g} steps, more than `max_steps` {max_steps}; raise one of them"
        )
    return max(1, math.ceil(longest * (1 - 1e-12)))


def steps_of_size(t0: Tensor, t1: Tensor, step_size: float, count: int) -> Grid:
    """Return so many steps of one size from ``t0``, those that would pass ``t1`` shortened to end there."""
    span = (t1 - t0).detach()
    counts = torch.arange(count + 1, dtype=torch.float64, device=t0.device)
    offsets = counts.reshape(-1, *[1] * t0.ndim) * step_size
    inner = torch.minimum(offsets, span.abs()) * torch.sign(span)
    arrived = offsets * (1 + 1e-12) >= span.abs()
    return grid_of_times(torch.where(arrived, t1, t0 + inner))
