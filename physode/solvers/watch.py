"""Watching a solve from outside: how far it is, and limits that end it before its end time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.solvers.numbers import Number, smallest
from physode.solvers.trajectory import Trajectory
from physode.status import Status
from physode.typing import Progress

__all__ = ["Moment", "Monitor", "Watch", "checked_seconds"]


@dataclass(frozen=True)
class Moment:
    """How far a solve is. With per-sample steps: of the sample that is furthest from its end, failed ones left out.

    Attributes
    ----------
    fraction
        The finished fraction of the span, from 0 to 1.
    t
        The time.
    step
        The signed size of the step accepted last (0 where the sample that is furthest behind rejected it, or waits for
        the others at an event of its own).
    accepted, rejected
        Steps and rejected attempts so far, of all samples together.
    seconds
        Wall-clock time since the solve's first step was tried.
    """

    fraction: float
    t: float
    step: float
    accepted: int
    rejected: int
    seconds: float


Monitor = Callable[[Moment], object]
"""Told after each accepted step; True ends the solve there."""


@dataclass
class Watch:
    """What a loop asks after each attempt.

    Attributes
    ----------
    progress
        Told the finished fraction after each accepted step.
    monitor
        Told more.
    max_seconds
        The wall-clock time after which no further attempt is made.
    """

    progress: Progress | None = None
    monitor: Monitor | None = None
    max_seconds: float = math.inf
    began: float = field(default_factory=time.monotonic)

    def after(self, record: Trajectory, t: Number, h: Number, done: Number, accepted: bool) -> int:
        """Take note of an attempt; return 0, or the status with which the groups under way end here.

        Parameters
        ----------
        record
            With the counts up to here.
        t, h, done
            Time, signed size of the last step, and finished fraction, one value a group.
        accepted
            Whether any group accepted the attempt.
        """
        if accepted:
            if self.progress is not None:
                self.progress(smallest(done))
            if self.monitor is not None and self._asks_to_stop(self.monitor, record, t, h, done):
                return int(Status.STOPPED)
        return int(Status.OUT_OF_TIME) if self.seconds > self.max_seconds else 0

    def _asks_to_stop(self, monitor: Monitor, record: Trajectory, t: Number, h: Number, done: Number) -> bool:
        """Tell the monitor of an accepted step; return whether it ends the solve."""
        return _is_true(monitor(self._moment(record, t, h, done)))

    def _moment(self, record: Trajectory, t: Number, h: Number, done: Number) -> Moment:
        if isinstance(done, Tensor) and done.ndim:  # one that failed is not on its way
            done = torch.where(record.status == Status.SUCCESS, done.detach(), 1.0)
        fraction = smallest(done)
        if isinstance(done, Tensor):
            last = int(done.detach().argmin())
            t, h = (float(part.detach().reshape(-1)[last]) for part in (t, h))
        accepted, rejected = (int(torch.as_tensor(n).sum()) for n in (record.accepted, record.rejected))
        accepted = max(accepted, len(record))  # steps of a grid are counted at its end only
        return Moment(fraction, t, h, accepted, rejected, self.seconds)

    @property
    def seconds(self) -> float:
        """The wall-clock time since the beginning."""
        return time.monotonic() - self.began


def _is_true(verdict: object) -> bool:
    """Whether a monitor returned True, its own or a tensor's or array's; what else it returns means nothing."""
    return verdict is True or (str(getattr(verdict, "dtype", "")) in ("torch.bool", "bool") and bool(verdict))


def checked_seconds(max_seconds: float | None) -> float:
    """Return a limit of wall-clock time, positive; infinite for None."""
    if max_seconds is None:
        return math.inf
    if not (isinstance(max_seconds, int | float) and max_seconds > 0.0):
        raise ValueError(f"`max_seconds` must be a positive number, got {max_seconds!r}; leave it out for no limit")
    return max_seconds
