"""Where pieces of a solve begin and end: its span, its outputs, and known discontinuities."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.problem.problem import Problem

__all__ = ["Stops", "checked_jump_times"]


class Stops:
    """The times of one problem.

    Attributes
    ----------
    direction, span
        The sign and the signed length of each group's span.
    """

    def __init__(self, problem: Problem, jump_times: Tensor | None) -> None:
        self._t, self._dtype = problem.t, problem.dynamics.dtype
        self._jumps = self._t.new_empty(0) if jump_times is None else jump_times
        self.span = (self._t[-1] - self._t[0]).detach()
        self.direction = torch.sign(self.span)

    def after(self, t: Tensor) -> Tensor:
        """Return each group's next discontinuity behind ``t``, or its end, with its graph."""
        end = self._t[-1]
        if not len(self._jumps):
            return end
        jumps = self._jumps.reshape(-1, *[1] * t.ndim)
        ahead, before = self.direction * (jumps - t).detach(), self.direction * (end - jumps).detach()
        distance = torch.where((ahead > 0) & (before > 0), ahead, torch.inf)
        nearest = distance.argmin(0)
        return torch.where(torch.isfinite(distance.amin(0)), self._jumps[nearest], end)

    def inside(self, times: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Whether times lie behind ``start`` and before ``end``, or at it."""
        times, start, end = times.detach(), start.detach(), end.detach()
        return (self.direction * (times - start) > 0) & (self.direction * (end - times) >= 0)

    def between(self, start: Tensor, end: Tensor, groups: Tensor) -> list[int]:
        """Return which outputs lie in the piece of some group."""
        some = (self.inside(self._t, start, end) & groups).reshape(len(self._t), -1).any(1)
        found: list[int] = some.nonzero().flatten().tolist()
        return found

    def share(self, t: Tensor) -> Tensor:
        """Return which part of the span lies before ``t``."""
        return (t - self._t[0]).detach() / self.span

    def bounds(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of the times that the right-hand side sees: at a discontinuity, just inside the piece."""
        start, end = start.detach(), end.detach()
        first = self._inwards(start, self.direction)
        last = self._inwards(end, -self.direction)
        return torch.minimum(first, last), torch.maximum(first, last)

    def _inwards(self, t: Tensor, direction: Tensor) -> Tensor:
        at_jump = (self._jumps.detach().reshape(-1, *[1] * t.ndim) == t).any(0)
        if not bool(at_jump.any()):
            return t
        typed = t.to(self._dtype)
        beside = torch.nextafter(typed, (direction * torch.inf).to(self._dtype))
        return torch.where(at_jump, beside.double(), t)


def checked_jump_times(jump_t: object, device: torch.device) -> Tensor:
    """Return the discontinuities in float64 and rising order.

    Raises
    ------
    ValueError
        If they are not finite times, ``(n,)``.
    """
    try:
        times = jump_t if isinstance(jump_t, Tensor) else torch.as_tensor(jump_t, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"`jump_t` must be a tensor or a sequence of times, got {type(jump_t).__name__}") from None
    if times.is_complex() or times.dtype == torch.bool:
        raise ValueError(f"`jump_t` must be real times, got {times.dtype}; give seconds or whatever `t` counts")
    times = times.to(device=device, dtype=torch.float64)
    if times.ndim != 1 or not bool(torch.isfinite(times.detach()).all()):
        raise ValueError(f"`jump_t` must be finite times of shape (n,), got shape {tuple(times.shape)}")
    return times.sort().values
