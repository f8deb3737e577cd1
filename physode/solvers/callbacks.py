"""Watching a solve from outside its loop: observers, events, monitors, and whatever ends a solve early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from physode.solvers.clock import Number, Verdict, smallest
from physode.solvers.method import Method
from physode.solvers.runge_kutta import Rhs, Step
from physode.solvers.trace import SavePolicy, Trace
from physode.status import Status
from physode.typing import Progress

if TYPE_CHECKING:
    from physode.problem.problem import Problem

__all__ = [
    "EventDetector",
    "Moment",
    "Monitor",
    "Observer",
    "Watch",
    "checked_seconds",
    "progress_bar",
]


class Observer(Protocol):
    """Told of every attempt of a loop, in order. It changes nothing but may end the solve."""

    def before(self, t: Number, y: Tensor, h: Number) -> None:
        """Take note of an attempt, about to be made, from time ``t`` and state ``y`` with the signed size ``h``."""

    def after(self, record: Trace, accepted: bool) -> bool:
        """Take note of the attempt's verdict; where accepted (by any group), it is the last step of ``record``.

        Returns
        -------
        bool
            Whether the solve shall end here; it counts as successful.
        """


class EventDetector(Protocol):
    """Looks into every accepted attempt before it counts, and may give its group an earlier end.

    Attributes
    ----------
    stop
        When each group is stopped, NaN where not, ``(groups,)``.
    defers
        Whether steps may wait to be looked into many at a time.
    """

    stop: Tensor
    defers: bool

    @property
    def target(self) -> Tensor:
        """Where groups are to end earlier than they would, NaN where not."""

    def begin(self, problem: Problem, *, defers: bool) -> None:
        """Look at the start; ``defers``: whether steps may wait to be looked into."""

    def policy(self, wanted: SavePolicy, problem: Problem, dense: bool) -> SavePolicy:
        """Return what is to be kept for outputs and events."""

    def end(self, rhs: Rhs, tableau: Method, trace: Trace, times: Tensor) -> Tensor:
        """Look into the steps that wait, and return the times that are to be read instead of ``times``."""

    def look(
        self,
        rhs: Rhs,
        tableau: Method,
        t: Number,
        y: Tensor,
        h: Number,
        t_next: Number,
        step: Step,
        k_end: Tensor | None,
        accepted: Verdict,
        t1: Number,
    ) -> tuple[Verdict, Number]:
        """Look into an attempt from ``(t, y)`` to ``(t_next, step.y)``.

        Returns
        -------
        accepted, t1
            Which groups keep their accepted attempt; the others make another one towards their new end, which lies
            inside it. The ends of all groups.
        """


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

    def after(self, record: Trace, t: Number, h: Number, done: Number, accepted: bool) -> int:
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

    def _asks_to_stop(self, monitor: Monitor, record: Trace, t: Number, h: Number, done: Number) -> bool:
        """Tell the monitor of an accepted step; return whether it ends the solve."""
        return _is_true(monitor(self._moment(record, t, h, done)))

    def _moment(self, record: Trace, t: Number, h: Number, done: Number) -> Moment:
        if isinstance(done, Tensor) and done.ndim:  # one that failed is not on its way
            done = torch.where(record.status == Status.SUCCESS, done.detach(), 1.0)
        fraction = smallest(done)
        last = int(done.detach().argmin()) if isinstance(done, Tensor) else 0
        at, step = (float(part.detach().reshape(-1)[last]) if isinstance(part, Tensor) else part for part in (t, h))
        accepted, rejected = (int(n.sum()) for n in (record.accepted, record.rejected))
        accepted = max(accepted, len(record))  # steps of a grid are counted at its end only
        return Moment(fraction, at, step, accepted, rejected, self.seconds)

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


@contextmanager
def progress_bar(description: str = "solving") -> Iterator[Monitor]:
    """Show a bar while the block runs, and give the ``monitor`` of :func:`physode.solve` that moves it.

    It shows the finished fraction, the time left, and where the solve is: time, step size, steps and rejected attempts.
    Where stderr is neither a terminal nor a notebook, long work says in a line a minute how far it is.

    Parameters
    ----------
    description
        What stands before the bar.

    Examples
    --------
    >>> import torch, physode as po
    >>> with po.progress_bar("decay") as monitor:
    ...     sol = po.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], monitor=monitor)
    >>> sol.success
    True
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from physode.progress import Words, is_watched

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[where]}"),
    )
    if not is_watched():
        with Words(description) as words:
            yield lambda moment: words.tell(moment.fraction, _where(moment))
        return
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=1.0, where="")
        yield lambda moment: bar.update(task, completed=moment.fraction, where=_where(moment))


def _where(moment: Moment) -> str:
    return f"t {moment.t:.6g}, step {moment.step:.3g}, {moment.accepted} steps, {moment.rejected} rejected"
