"""One attempt of an adaptive solve: how long it is to be, what it gives, and when there is no going on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physode.rhs_state import Statistics
from physode.solvers.clock import Number, Verdict, absolute, clamp, detached, is_shared, maximum, sign, where
from physode.solvers.controllers import Control, Controller, initial_step
from physode.solvers.method import Method
from physode.solvers.norms import error_ratio, scale_of
from physode.solvers.runge_kutta import Rhs, Step, local_errors
from physode.solvers.trace import NodeStore
from physode.transforms import plain
from physode.typing import Norm

__all__ = [
    "Adaptive",
    "attempt",
    "first_size",
    "like_clock",
    "next_step",
    "tensor_beside",
    "underflow",
]


_STRETCH = 0.999  # a last step may be this much shorter than what remains: no sliver is left behind it
_RESOLUTION = 4 * torch.finfo(torch.float64).eps
_SMALLEST_SHARE = 1e-30  # of the span: ends a failing start at t = 0, where the clock resolves anything


@dataclass(frozen=True)
class Adaptive:
    """What decides the steps of an adaptive solve."""

    tableau: Method
    controller: Controller
    norm: Norm
    rtol: Tensor | float
    atol: Tensor | float
    first_step: float | None = None
    min_step: float = 0.0
    max_step: float | None = None
    max_steps: int = 100_000

    def with_tolerances(self, rtol: Tensor | float, atol: Tensor | float) -> Adaptive:
        """Return the same choices with other tolerances."""
        return replace(self, rtol=rtol, atol=atol)


def first_size(
    rhs: Rhs, steps: Adaptive, t0: Number, t1: Number, y0: Tensor, k0: Tensor, statistics: Statistics
) -> Number:
    """Return the size of the first attempt: what was asked for, or Hairer's choice, positive, one a group."""
    start, span = tensor_beside(t0, y0), tensor_beside(t1 - t0, y0)
    if steps.first_step is not None:
        return like_clock(t0, torch.full_like(span, steps.first_step).minimum(span.abs()))
    with statistics.preserved():
        size = initial_step(
            rhs,
            t=start,
            y=y0,
            k=k0,
            span=span,
            order=steps.tableau.error_order,
            rtol=steps.rtol,
            atol=steps.atol,
            norm=steps.norm,
        )
    return like_clock(t0, size)


def next_step(
    steps: Adaptive, control: Control, t: Number, t1: Number, active: Verdict
) -> tuple[Number, Number, Number]:
    """Return the attempt's size, signed size and end; the last step lands on the end time exactly."""
    direction = detached(sign(t1 - t))
    remaining = direction * (t1 - t)
    proposed = control.size
    if steps.min_step > 0.0 or steps.max_step is not None:
        proposed = clamp(proposed, steps.min_step, steps.max_step)
    is_last = proposed >= _STRETCH * remaining
    size = where(is_last, remaining, proposed)
    if not is_shared(active):
        size = where(active, size, 0.0)
    h = direction * size
    return size, h, where(is_last, t1, t + h)


def attempt(
    rhs: Rhs, steps: Adaptive, t: Number, y: Tensor, h: Number, k: Tensor, store: NodeStore
) -> tuple[Step, Tensor | None, Tensor]:
    """Return a step, the derivative at its end if the error estimate needs it, and the error ratio."""
    step, k_end = store.take(rhs, steps.tableau, t, y, h, k, with_end=steps.tableau.fsal)
    ks = step.ks if k_end is None else (*step.ks, k_end)
    scale = scale_of(y, step.y, steps.rtol, steps.atol)
    return step, k_end, error_ratio(local_errors(steps.tableau, h, ks), scale, steps.norm)


def underflow(
    steps: Adaptive, size: Number, rejected: Verdict, active: Verdict, t: Number, t0: Number, t1: Number
) -> tuple[Verdict, Number]:
    """Return which groups can go no further, and the smallest step size worth a try.

    That is ``min_step`` or the clock's resolution. A step as small is the last of a group if it was rejected; one
    within the resolution is, accepted or not: an approach to a pole by ever smaller steps ends.
    """
    finest = maximum(_RESOLUTION * absolute(detached(t)), _SMALLEST_SHARE * absolute(detached(t1 - t0)))
    floor = clamp(finest, low=steps.min_step)
    return active & (size <= where(rejected, floor, finest)), floor


def like_clock(t: Number, value: Tensor) -> Number:
    """Return one value a group as the clock's kind of number; for floats, the one look at the device in an attempt."""
    return value if isinstance(t, Tensor) else float(plain(value).max())


def tensor_beside(value: Number, y: Tensor) -> Tensor:
    """Return a clock's number as a tensor beside ``y``."""
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=torch.float64, device=y.device)
