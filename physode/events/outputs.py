"""What a solve with events gives: the rows that are read in each round, then outputs, clocks, interpolants."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from physode.events.conditions import Conditions
from physode.events.detection import Detector
from physode.events.jumps import Carried
from physode.gradients.outputs import Outcome, StepTable, Table
from physode.problem.problem import Problem
from physode.rhs_state import Statistics
from physode.solvers.clock import Grid, Number, as_float, expand
from physode.solvers.method import Method
from physode.solvers.online_output import Receiver
from physode.solvers.runge_kutta import Rhs
from physode.solvers.trace import SavePolicy, Trace

__all__ = ["JoinedTrace", "RoundDetector", "Rows", "StreamedRows"]


@dataclass(frozen=True)
class SaveOutputsAndEvents(SavePolicy):
    """Outputs, and the events found as the solve goes on, of a shared clock."""

    detector: Detector | None = None

    def inside(self, start: Number, end: Number) -> bool:
        """Whether an output or an event lies strictly inside the step."""
        return super().inside(start, end) or self._event(start, end, strictly=True)

    def forgets(self, start: Number, end: Number) -> bool:
        """Whether the state between two steps is of no use any more."""
        return super().forgets(start, end) and not self._event(start, end, strictly=False)

    def _event(self, start: Number, end: Number, *, strictly: bool) -> bool:
        start, end = as_float(start), as_float(end)
        low, high = sorted((start, end))
        firings = [] if self.detector is None else reversed(self.detector.firings)
        times = (float(firing.t) for firing in firings)
        for time in times:  # the last ones first; earlier ones lie behind the step
            if low < time < high or (not strictly and low <= time <= high):
                return True
            if (time < low) if end >= start else (time > high):
                return False
        return False


class RoundDetector(Detector):
    """The detector of one round, whose times are the start, outputs (those outside of the round at its ends), the end.

    When the steps have been taken, the stops found become the ends, events are added, and rows are sorted.

    Attributes
    ----------
    stops_at
        The sorted times, ``(rows, *groups)``, with their graph.
    rows
        Where each row went: of the start, the outputs, ``events``, and the end.
    events
        The rows of each event's firings, by their number in this round.
    """

    def __init__(
        self,
        conditions: Conditions,
        counts: Tensor,
        going: Tensor,
        sides: Tensor,
        statistics: Statistics,
        *,
        carried: Carried,
        careful: bool,
    ) -> None:
        super().__init__(conditions, counts, going, sides, statistics)
        self._base, self._carried, self._careful = counts, carried, careful
        self.events: list[tuple[int, Tensor]] = []
        self.stops_at = self.rows = counts.new_empty(0)

    def begin(self, problem: Problem, *, defers: bool) -> None:
        """Look at the start; see :class:`~physode.solvers.callbacks.EventDetector`."""
        assert problem.k0 is not None
        t = problem.t
        self.look_at_start(t[0], problem.y0, problem.k0, self._carried, (t[-1] - t[0]).detach())
        self.defers = defers and not self._careful

    def policy(self, wanted: SavePolicy, problem: Problem, dense: bool) -> SavePolicy:
        """Return what is to be kept for outputs and events."""
        if dense:
            return wanted
        if not problem.per_sample:
            return SaveOutputsAndEvents(wanted.times, wanted.direction, wanted.nodes, self)
        recorded = any(event.jump is None and event.limit != 1 for event in self.conditions.events)
        inner = ((problem.t[1:-1] != problem.t[0]) & (problem.t[1:-1] != problem.t[-1])).any()
        return SavePolicy(None if recorded or bool(inner) else [])

    def end(self, rhs: Rhs, tableau: Method, trace: Trace, times: Tensor) -> Tensor:
        """Look into the steps that wait, and return the times of the rows."""
        self.settle(rhs, tableau)
        if self.fired:  # put what reading events needs into a record whose steps were looked into later
            rows = {float(start): row for row, start in enumerate(trace.starts)}
            for start, (y, dense, y_end) in self.fired.items():
                row = rows[start]
                trace.nodes[row], trace.nodes[row + 1], trace.dense[row] = y, y_end, dense
        with torch.enable_grad():  # of the times, whoever asks
            self._order(times)
        return self.stops_at

    def _order(self, t: Tensor) -> None:
        """Set the ends to the stops found, add the events, and sort."""
        groups = t.shape[1:]
        stop = self.stop.reshape(groups)
        direction = torch.sign(t[-1] - t[0]).detach()
        end = torch.where(torch.isnan(stop), t[-1], stop)
        self.events = [(index, times.reshape(-1, *groups)) for index, times in self._fired()]
        event_times = [torch.where(torch.isnan(times), end.detach(), times) for _, times in self.events]
        outputs = t[1:-1]
        inside = direction * (end - outputs).detach() >= 0
        times = torch.cat([t[:1], torch.where(inside, outputs, end.detach()), *event_times, end[None]])
        _, order = torch.sort((times * direction).detach(), dim=0, stable=True)
        self.stops_at, self.rows = times.gather(0, order), torch.argsort(order, dim=0)

    def _fired(self) -> list[tuple[int, Tensor]]:
        """Return each event's times of firing, ``(most, groups)``, NaN where a group has fewer."""
        by_event = []
        for index in sorted({firing.event for firing in self.firings}):
            own = [firing for firing in self.firings if firing.event == index]
            groups, t, nth = (torch.cat(parts) for parts in zip(*(firing[1:] for firing in own), strict=True))
            nth = nth - self._base[index, groups]
            shape = (int(nth.max()) + 1, self._base.shape[1])
            times = torch.full(shape, torch.nan, dtype=torch.float64, device=t.device)
            times[nth, groups] = t
            by_event.append((index, times))
        return by_event

    def in_order(self, outputs: Tensor) -> Tensor:
        """Bring what was read at ``stops_at`` into the order of ``rows``."""
        if self.rows.ndim == 1:
            return outputs.index_select(0, self.rows)
        return outputs[self.rows, torch.arange(self.rows.shape[1], device=self.rows.device)]


class Rows:
    """The outputs of a solve, filled in round by round; NaN until then."""

    def __init__(self, t: Tensor, y0: Tensor) -> None:
        self._t = t.detach()
        blank = torch.full_like(y0.detach(), torch.nan)
        self._rows = [y0, *[blank] * (len(t) - 1)]

    def put(
        self, states: Tensor, shown: list[int], start: Tensor, end: Tensor, going: Tensor, direction: Tensor
    ) -> None:
        """Fill in those of the rows ``shown`` that lie behind a group's start and not behind its end."""
        for state, row in zip(states, shown, strict=False):
            time = self._t[row]
            here = going & (direction * (time - start) > 0) & (direction * (end - time) >= 0)
            if bool(here.all()):
                self._rows[row] = state
            else:
                self._rows[row] = torch.where(expand(here, state.ndim), state, self._rows[row])

    def outputs(self) -> Tensor:
        """Return all rows."""
        return torch.stack(self._rows)


class StreamedRows(Rows):
    """The outputs of a solve, handed on as its rounds end: they are in memory as long as their round lasts."""

    def __init__(self, t: Tensor, y0: Tensor, receiver: Receiver) -> None:
        self._t, self._y0, self._receiver = t.detach(), y0.detach(), receiver
        everyone = torch.ones_like(self._t[:1], dtype=torch.bool)
        self._hand_on(self._y0[None], [0], everyone)

    def put(
        self, states: Tensor, shown: list[int], start: Tensor, end: Tensor, going: Tensor, direction: Tensor
    ) -> None:
        """Hand on those of the rows ``shown`` that lie behind a group's start and not behind its end."""
        times = self._t[shown]
        here = going & (direction * (times - start) > 0) & (direction * (end - times) >= 0)
        if bool(here.any()):
            self._hand_on(states[: len(shown)].detach(), shown, here)

    def _hand_on(self, states: Tensor, shown: list[int], here: Tensor) -> None:
        if here.ndim == 1:  # those of one clock follow one another
            first = int(here.nonzero()[0])
            self._receiver.take(shown[first], states[here])
            return
        groups, index = here.T.nonzero().unbind(1)
        rows = torch.tensor(shown, device=here.device)
        self._receiver.take_some(rows[index], groups, states[index, groups])

    def outputs(self) -> Tensor:
        """Return that none is kept."""
        return self._y0.new_empty(0)


@dataclass
class JoinedTrace:
    """The record of all rounds.

    ``attempts``: how many each group has made.
    """

    direction: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor
    status: Tensor
    _rounds: list[tuple[Grid, Tensor, Table | None]] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem) -> JoinedTrace:
        """Return the record of no round."""
        t = problem.t.detach()
        none = torch.zeros_like(t[0], dtype=torch.int64)
        return cls(torch.sign(t[-1] - t[0]), t[-1].clone(), none, none, none.to(torch.int8))

    @property
    def attempts(self) -> Tensor:
        """Accepted and rejected steps together."""
        return self.accepted + self.rejected

    def add(self, outcome: Outcome, going: Tensor) -> None:
        """Add a round, in which some groups were on their way."""
        record = outcome.record
        self.accepted = self.accepted + record.accepted * going
        self.rejected = self.rejected + record.rejected * going
        self._rounds.append((record.clock(), going, outcome.table))

    def discard(self, outcome: Outcome, going: Tensor) -> None:
        """Count the steps of a round that is to be solved anew as rejected attempts."""
        record = outcome.record
        self.rejected = self.rejected + (record.accepted + record.rejected) * going

    def clock(self) -> Grid:
        """Return the steps of all rounds; groups that had arrived stand still."""
        return _concatenated([self._standing(grid, going) for grid, going, _ in self._rounds])

    def __len__(self) -> int:
        return sum(len(grid.starts) for grid, _, _ in self._rounds)

    def _standing(self, grid: Grid, going: Tensor) -> Grid:
        if bool(going.all()):
            return grid
        starts, ends = (torch.where(going, part, self.ended) for part in (grid.starts, grid.ends))
        return Grid(starts, torch.where(going, grid.sizes, 0.0), ends)

    def outcome(self, outputs: Tensor, status: Tensor, ended: Tensor) -> Outcome:
        """Return what the solve as a whole gives."""
        self.status, self.ended = status, ended
        rounds = [(table, going) for _, going, table in self._rounds if table is not None]
        tables = [(table, going) for table, going in rounds if isinstance(table, StepTable)]
        if len(tables) < len(rounds):
            return Outcome(outputs, self, JoinedTable(self, [*self._rounds]))
        if not tables:
            return Outcome(outputs, self, None)
        grid = _concatenated([self._standing(table.grid, going) for table, going in tables])
        return Outcome(outputs, self, StepTable(self.direction, grid, *_joined_states([table for table, _ in tables])))


@dataclass(frozen=True)
class JoinedTable:
    """The rounds of a solve as one function of time, where their steps are not kept."""

    record: JoinedTrace
    rounds: list[tuple[Grid, Tensor, Table | None]]

    def read(self, times: Tensor) -> Tensor:
        """Evaluate the solution at times; at a jump's time before it."""
        outputs: Tensor | None = None
        for grid, going, table in reversed(self.rounds):
            if table is None:
                continue
            start, end = grid.starts[0].detach(), grid.ends[-1].detach()
            after, before = ((self.record.direction * part).detach() >= 0 for part in (times - start, end - times))
            inside = going & after & before
            if outputs is not None and not bool(inside.any()):
                continue
            values = table.read(torch.where(inside, times, end))
            blank = torch.full_like(values, torch.nan) if outputs is None else outputs
            outputs = torch.where(expand(inside, values.ndim), values, blank)
        assert outputs is not None
        return outputs

    def kept(self) -> StepTable:
        """Return the same as a table, without gradients."""
        tables = [(table.kept(), going) for _, going, table in self.rounds if table is not None]
        grid = _concatenated([self.record._standing(table.grid, going) for table, going in tables])
        return StepTable(self.record.direction, grid, *_joined_states([table for table, _ in tables]))


def _joined_states(tables: list[StepTable]) -> tuple[Tensor, Tensor, Tensor]:
    start, dense, end = (
        torch.cat([getattr(table, name) for table in tables]) for name in ("y_start", "dense", "y_end")
    )
    return start, dense, end


def _concatenated(grids: list[Grid]) -> Grid:
    return Grid(*(torch.cat(parts) for parts in zip(*grids, strict=True)))
