"""One piece of a solve with events: to each group's next stop, then its times are put in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.events.detection import Detector
from physode.events.jumps import Carried
from physode.events.march import march_watched
from physode.events.overseen import PieceWatch
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.solvers.attempt import PLAIN, Taker
from physode.solvers.callbacks import Watch
from physode.solvers.clock import Number, as_float
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["SaveOutputsAndEvents", "Segment"]


@dataclass(frozen=True)
class SaveOutputsAndEvents(SavePolicy):
    """Outputs, and the events found as the solve goes on, of a shared clock."""

    search: Detector | None = None

    def inside(self, start: Number, end: Number) -> bool:
        """Whether an output or an event lies strictly inside the step."""
        return super().inside(start, end) or self._event(start, end, strictly=True)

    def forgets(self, start: Number, end: Number) -> bool:
        """Whether the state between two steps is of no use any more."""
        return super().forgets(start, end) and not self._event(start, end, strictly=False)

    def _event(self, start: Number, end: Number, *, strictly: bool) -> bool:
        start, end = as_float(start), as_float(end)
        low, high = sorted((start, end))
        firings = [] if self.search is None else reversed(self.search.firings)
        times = (float(firing.t) for firing in firings)
        for time in times:  # the last ones first; earlier ones lie behind the step
            if low < time < high or (not strictly and low <= time <= high):
                return True
            if (time < low) if end >= start else (time > high):
                return False
        return False


@dataclass
class Segment(Problem):
    """A problem from each group's start to its next stop.

    ``t`` holds the start, the outputs on the way (those outside of it at its ends), the end. When the steps have been
    taken, the stops found become the ends, events are added, and rows are sorted; ``rows`` tells where each row went.

    Attributes
    ----------
    search
        The search for events.
    carried
        What is known of the conditions from before the jumps that the segment starts with.
    watch
        What the loop asks after each attempt.
    careful
        Whether every step is looked into before the next one is taken.
    rows
        ``(rows, *groups)``: of the start, the outputs, ``events``, and the end.
    events
        The rows of each event's firings, by their number in this segment.
    """

    search: Detector = field(kw_only=True)
    carried: Carried = field(kw_only=True)
    watch: PieceWatch | None = field(kw_only=True, default=None)
    careful: bool = field(kw_only=True, default=False)
    rows: Tensor = field(init=False)
    events: list[tuple[int, Tensor]] = field(init=False, default_factory=list)

    def integrate(
        self,
        dynamics: Dynamics | None = None,
        taker: Taker = PLAIN,
        keep: Callable[..., Trace] = Trace,
    ) -> Trace:
        """Run the forward loop and set the times that are read."""
        assert self.k0 is not None
        base = self.search.counts
        self.search.begin(self.t[0], self.y0, self.k0, self.carried, (self.t[-1] - self.t[0]).detach())
        self.detector = self.search
        rhs = self.dynamics if dynamics is None else dynamics
        self.search.defers = not (self.careful or self.per_sample or torch.is_grad_enabled())
        self.search.defers &= taker is PLAIN and keep is Trace
        if self.grid is None:
            record = super().integrate(dynamics, taker, keep)
        else:
            record, self.grid = march_watched(
                rhs, self.tableau, self.grid, self.y0, self.k0, self.search, wanted=self._wanted(), taker=taker,
                observer=self.observer, watch=self.watch, keep=keep,
            )  # fmt: skip
        self.search.settle(rhs, self.tableau)
        self._restore(record)
        with torch.enable_grad():  # of the times, whoever asks
            self._order(base)
        return record

    def _restore(self, record: Trace) -> None:
        """Put what reading events needs into a record whose steps were looked into later."""
        if not self.search.fired:
            return
        rows = {float(start): row for row, start in enumerate(record.starts)}
        for start, (y, dense, y_end) in self.search.fired.items():
            row = rows[start]
            record.nodes[row], record.nodes[row + 1], record.dense[row] = y, y_end, dense

    def _watch(self) -> Watch | None:
        return self.watch

    def _wanted(self) -> SavePolicy:
        """Say which interpolants are kept."""
        if self.keep_dense:
            return SavePolicy(None)
        if not self.per_sample:
            direction = 1.0 if self.t[-1] >= self.t[0] else -1.0
            times = (self.t.detach() * direction).tolist()
            return SaveOutputsAndEvents(times, direction, self.keep_nodes, self.search)
        recorded = any(event.jump is None and event.limit != 1 for event in self.search.conditions.events)
        inner = ((self.t[1:-1] != self.t[0]) & (self.t[1:-1] != self.t[-1])).any()
        return SavePolicy(None if recorded or bool(inner) else [])

    def _order(self, base: Tensor) -> None:
        """Set the ends to the stops found, add the events, and sort."""
        groups = self.t.shape[1:]
        stop = self.search.stop.reshape(groups)
        direction = torch.sign(self.t[-1] - self.t[0]).detach()
        end = torch.where(torch.isnan(stop), self.t[-1], stop)
        self.events = [(index, times.reshape(-1, *groups)) for index, times in self._fired(base)]
        found = [torch.where(torch.isnan(times), end.detach(), times) for _, times in self.events]
        outputs = self.t[1:-1]
        inside = direction * (end - outputs).detach() >= 0
        times = torch.cat([self.t[:1], torch.where(inside, outputs, end.detach()), *found, end[None]])
        _, order = torch.sort((times * direction).detach(), dim=0, stable=True)
        self.t, self.rows = times.gather(0, order), torch.argsort(order, dim=0)

    def _fired(self, base: Tensor) -> list[tuple[int, Tensor]]:
        """Return each event's times of firing, ``(most, groups)``, NaN where a group has fewer."""
        found = []
        for index in sorted({firing.event for firing in self.search.firings}):
            own = [firing for firing in self.search.firings if firing.event == index]
            groups, t, nth = (torch.cat(parts) for parts in zip(*(firing[1:] for firing in own), strict=True))
            nth = nth - base[index, groups]
            times = torch.full((int(nth.max()) + 1, base.shape[1]), torch.nan, dtype=torch.float64, device=t.device)
            times[nth, groups] = t
            found.append((index, times))
        return found
