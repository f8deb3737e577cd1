"""Outputs read while a solve goes on: each as soon as a step reaches it, so that no step need be kept for it."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol, cast

import torch
from torch import Tensor

from physode.solvers.clock import Number
from physode.solvers.interpolation import Location, interpolate

__all__ = ["InMemory", "OnlineOutput", "Receiver"]

_ELEMENTS = 2**15  # of the outputs of one step that are read at a time


class Receiver(Protocol):
    """Takes outputs as they are reached."""

    def take(self, first: int, values: Tensor) -> None:
        """Take outputs of a shared clock, ``(outputs, *state)``, from the one numbered ``first`` on."""

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Take outputs ``(n, *state of a sample)``: their numbers and samples, ``(n,)`` each, by sample."""


class InMemory:
    """Outputs in one tensor, ``(outputs, *state)``; NaN where none was reached."""

    def __init__(self, count: int, y0: Tensor) -> None:
        self.values = y0.new_full((count, *y0.shape), torch.nan)

    def take(self, first: int, values: Tensor) -> None:
        """Put outputs in their places."""
        self.values[first : first + len(values)] = values

    def take_some(self, outputs: Tensor, groups: Tensor, values: Tensor) -> None:
        """Put samples' outputs in their places."""
        self.values[outputs, groups] = values


class OnlineOutput:
    """Reads the outputs that lie in each step, once, and hands them on.

    Parameters
    ----------
    times
        Output times, float64, ``(outputs, *groups)``, strictly rising or falling; the first is the initial time.
    y0
        The initial state: the first output.
    receiver
        What takes them.
    """

    def __init__(self, times: Tensor, y0: Tensor, receiver: Receiver) -> None:
        times = times.detach()
        self._receiver = receiver
        self._shared = times.ndim == 1
        if self._shared:
            self._times = times
            self._direction = 1.0 if bool(times[-1] >= times[0]) else -1.0
            self._sorted = (times * self._direction).tolist()
            self._next = 1
            receiver.take(0, y0.detach()[None])
            return
        self._signs = torch.sign(times[-1] - times[0])
        self._rows = times.T.contiguous()
        self._rising = self._rows * self._signs[:, None]
        self._done = torch.ones(len(self._rows), dtype=torch.int64, device=times.device)
        groups = torch.arange(len(self._rows), device=times.device)
        receiver.take_some(torch.zeros_like(groups), groups, y0.detach())

    def step(self, start: Number, size: Number, end: Number, y: Tensor, y_end: Tensor, dense: Tensor | None) -> None:
        """Read the outputs behind the last step's end, up to and with this one's.

        Parameters
        ----------
        start, size, end
            The step's, one value a group; a group whose size is 0 stands still.
        y, y_end
            The states at its ends.
        dense
            The interpolant's coefficients, ``(m, *state)``; None if no output lies inside.
        """
        if self._shared:
            self._step_shared(start, size, end, y, y_end, dense)
        else:
            clock = cast("tuple[Tensor, Tensor, Tensor]", (start, size, end))
            self._step_per_sample(*clock, y, y_end, dense)

    def _step_shared(
        self, start: Number, size: Number, end: Number, y: Tensor, y_end: Tensor, dense: Tensor | None
    ) -> None:
        stop = bisect_right(self._sorted, self._direction * float(end), lo=self._next)
        most = max(1, _ELEMENTS // max(1, y.numel()))
        coefficients = None if dense is None else dense[None]
        while self._next < stop:
            upto = min(stop, self._next + most)
            times = self._times[self._next : upto]
            theta = torch.where(times == end, 1.0, (times - start) / size)
            index = torch.zeros(len(times), dtype=torch.int64, device=times.device)
            values = interpolate(Location(index, theta), y[None], coefficients, y_end[None])
            self._receiver.take(self._next, values)
            self._next = upto

    def _step_per_sample(
        self, start: Tensor, size: Tensor, end: Tensor, y: Tensor, y_end: Tensor, dense: Tensor | None
    ) -> None:
        reached = torch.searchsorted(self._rising, (end * self._signs)[:, None], right=True)[:, 0]
        counts = (reached - self._done).clamp(min=0)
        total = int(counts.sum())
        if total == 0:
            return
        groups = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        offsets = torch.cumsum(counts, 0) - counts
        outputs = torch.arange(total, device=counts.device) - offsets[groups] + self._done[groups]
        self._done = self._done + counts
        times = self._rows[groups, outputs]
        theta = torch.where(times == end[groups], 1.0, (times - start[groups]) / size[groups])
        coefficients = None if dense is None else dense.movedim(1, 0)
        most = max(1, _ELEMENTS // max(1, y[0].numel()))
        for low in range(0, total, most):
            part = slice(low, low + most)
            values = interpolate(Location(groups[part], theta[part]), y, coefficients, y_end)
            self._receiver.take_some(outputs[part], groups[part], values)
