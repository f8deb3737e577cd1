"""Solves with events, jumps and discontinuities: pieces between stops, each solved by the gradient method asked for.

All samples go through a piece together, each to its own next stop: an event that ends it or makes its state jump, a
known discontinuity, or the end. Samples that have arrived take part in later pieces with a short solve from their
start, which nothing is read of: what a right-hand side or a condition knows of each sample stays in place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.conditions import Conditions
from physode.events.event import Event
from physode.events.found import Firings, Found, gather
from physode.events.implicit import differentiable, of_fired
from physode.events.joined import Joined, Rows
from physode.events.overseen import PieceRecorder, PieceWatch
from physode.events.search import Carried, Search
from physode.events.segment import Segment
from physode.events.stops import Stops
from physode.events.written import Written
from physode.gradients import GradientMethod
from physode.gradients.steps import Outcome
from physode.pairing import restarted
from physode.problem import Problem
from physode.recording import Recorder
from physode.solvers.grid import Grid, grid_of_step_size, grid_of_times
from physode.solvers.groups import expand
from physode.solvers.reached import Receiver
from physode.status import Status
from physode.typing import Progress

__all__ = ["solve_with_events"]

_SPARE = 1e-6  # of the span: what samples that have arrived solve meanwhile
_RESOLUTION = 16 * torch.finfo(torch.float64).eps


@dataclass
class _State:
    """Where each group is, ``(*groups)``; ``counts`` has events and groups as axes."""

    t: Tensor
    y: Tensor
    going: Tensor
    status: Tensor
    ended: Tensor
    counts: Tensor
    carried: Carried


def solve_with_events(
    problem: Problem,
    way: GradientMethod,
    events: Sequence[Event],
    jump_times: Tensor | None,
    receiver: Receiver | None = None,
) -> Found:
    """Solve a problem with events.

    Parameters
    ----------
    events
        What to look for.
    jump_times
        Known discontinuities of the right-hand side, ``(n,)``: steps end there.
    receiver
        What takes the outputs as pieces end, instead of the outcome.

    Returns
    -------
    Found
        The outcome with its outputs, NaN behind a group's end, and the events found, with gradients.

    Raises
    ------
    SolveError
        If a gradient method cannot do with a piece that ended early; it carries what was found.
    """
    rows = Rows(problem.t, problem.y0) if receiver is None else Written(problem.t, problem.y0, receiver)
    run = _Run(problem, way, tuple(events), Stops(problem, jump_times), rows)
    while bool(run.state.going.any()):
        with torch.set_grad_enabled(torch.is_grad_enabled() and run.error is None):
            run.advance()
    if run.error is not None:
        run.error.solution = run.found()
        raise run.error
    return run.found()


class _Run:
    """The pieces of one solve.

    ``error``: why there will be no gradients, if the gradient method says so.
    """

    def __init__(
        self, problem: Problem, way: GradientMethod, events: tuple[Event, ...], stops: Stops, rows: Rows | Written
    ) -> None:
        self.problem, self.way, self.events, self.stops = problem, way, events, stops
        self.firings: list[list[Firings]] = [[] for _ in events]
        self.rows = rows
        self.joined = Joined.of(problem)
        self._told = 0.0
        self._began = time.monotonic()
        self._recorder = PieceRecorder(problem.observer) if isinstance(problem.observer, Recorder) else None
        self._jumped = False
        self.error: SolveError | None = None
        t = problem.t[0]
        zeros = torch.zeros((len(events), t.numel()), dtype=torch.int64, device=t.device)
        good = torch.isfinite(problem.y0.detach())
        self._finite = good.reshape(len(good), -1).all(1) if t.ndim else good.all()
        self.state = _State(
            t, problem.y0, torch.ones_like(t, dtype=torch.bool), torch.zeros_like(t, dtype=torch.int8),
            problem.t[-1].detach().clone(), zeros, Carried.nothing(zeros),
        )  # fmt: skip

    def advance(self) -> None:
        """Solve one piece and deal with what stopped each group."""
        steps, state = self.problem.steps, self.state
        left = 1 if steps is None else steps.max_steps - int(self.joined.attempts.max())
        if left < 1:
            self._end(state.going, Status.MAX_STEPS, state.t.detach())
            return
        segment, shown = self._segment(left)
        outcome = self._solved(segment)
        self.problem.dynamics.calls += segment.dynamics.calls
        record, under_way = outcome.record, state.going
        fails = under_way & (record.status != Status.SUCCESS)
        self._end(fails, record.status, record.ended)
        self.joined.add(outcome, under_way)
        outputs = _rows(outcome.outputs, segment.rows)
        self.rows.put(outputs[1:], shown, state.t.detach(), segment.t[-1].detach(), under_way, self.stops.direction)
        self._record(segment, outputs, under_way, record.ended)
        self._pass_stops(segment, outputs[-1], under_way & ~fails)
        if segment.watch is not None and segment.watch.reason:
            self._end(self.state.going, segment.watch.reason, self.state.t.detach())

    def _solved(self, segment: Segment) -> Outcome:
        """Solve a piece; where there can be no gradients because it ended early, keep the reason."""
        try:
            return self.way.solve(segment)
        except SolveError as error:
            if not isinstance(error.solution, Outcome):
                raise
            self.error = error
            return error.solution

    def _segment(self, left: int) -> tuple[Segment, list[int]]:
        """Make the next piece, and tell which outputs are among its rows."""
        problem, state = self.problem, self.state
        start, y = self._with_spares()
        end = torch.where(state.going, self.stops.after(state.t), start.detach() + _SPARE * self.stops.span)
        shown = self.stops.between(start, end, state.going)
        outputs = problem.t[shown]
        inside = self.stops.inside(outputs, start, end) & state.going
        t = torch.cat([start[None], torch.where(inside, outputs, end.detach()), end[None]])
        low, high = self.stops.bounds(start, end)
        dynamics = replace(problem.dynamics, calls=0, low=low, high=high)
        if len(self.joined):  # behind a jump, or a discontinuity
            with problem.statistics.preserved():
                y = restarted(dynamics, start, y)
        conditions = Conditions(self.events, dynamics)
        search = Search(conditions, state.counts, state.going)
        if self._recorder is not None:
            self._recorder.begin(state.going, jumped=self._jumped)
        segment = Segment(
            dynamics, problem.tableau, y, t, None if problem.steps is None else replace(problem.steps, max_steps=left),
            self._grid(start, end), problem.keep_dense, problem.statistics, step_size=problem.step_size,
            backward=problem.backward, search=search, carried=state.carried, observer=self._recorder,
            watch=self._watch(start, end, search),
        )  # fmt: skip
        return segment, shown

    def _with_spares(self) -> tuple[Tensor, Tensor]:
        """Return times and states to start with: of groups that have arrived, their first ones, or a good sample's."""
        state, problem = self.state, self.problem
        if bool(state.going.all()):
            return state.t, state.y
        good = int(state.going.nonzero()[0])
        own = self._finite & ((state.status == Status.SUCCESS) | (state.status == Status.EVENT))
        first = torch.where(expand(own, problem.y0.ndim), problem.y0, problem.y0[good : good + 1]).detach()
        y = torch.where(expand(state.going, problem.y0.ndim), state.y, first)
        return torch.where(state.going, state.t, problem.t[0].detach()), y

    def _grid(self, start: Tensor, end: Tensor) -> Grid | None:
        """Return the part of the grid between the piece's ends."""
        problem = self.problem
        if problem.grid is None:
            return None
        if problem.step_size is not None:
            return grid_of_step_size(start, end, float(problem.step_size), 10**9)
        nodes = torch.cat([problem.grid.starts[:1], problem.grid.ends])
        inside = self.stops.inside(nodes, start, end)
        kept = inside.reshape(len(nodes), -1).any(1)
        before = self.stops.direction * (nodes - start).detach() <= 0
        inner = torch.where(inside, nodes, torch.where(before, start, end))[kept]
        return grid_of_times(torch.cat([start[None], inner, end[None]]))

    def _watch(self, start: Tensor, end: Tensor, search: Search) -> PieceWatch | None:
        problem, before = self.problem, self.joined
        if problem.progress is None and problem.monitor is None and problem.max_seconds is None:
            return None
        limit = math.inf if problem.max_seconds is None else problem.max_seconds
        return PieceWatch(
            self._progress(start, end), problem.monitor, limit, self._began, stops=self.stops, search=search,
            going=self.state.going, accepted=int(before.accepted.sum()), rejected=int(before.rejected.sum()),
        )  # fmt: skip

    def _progress(self, start: Tensor, end: Tensor) -> Progress | None:
        told, going = self.problem.progress, self.state.going
        if told is None:
            return None
        done, until = (float(self.stops.share(time)[going].min()) for time in (start, end))

        def tell(fraction: float) -> None:
            self._told = max(self._told, done + fraction * (until - done))
            told(self._told)

        return tell

    def _record(self, segment: Segment, outputs: Tensor, under_way: Tensor, ended: Tensor) -> None:
        """Note the events that stopped nothing, with their gradients; of groups that failed, those up to their end."""
        row = len(segment.t) - 1 - sum(len(times) for _, times in segment.events)
        for index, times in segment.events:
            for t in times:
                fired = under_way & (self.stops.direction * (ended - t) >= 0)
                at = torch.where(fired, t, segment.t[-1].detach())
                if bool(fired.any()):
                    found = differentiable(segment.search.conditions, index, at, outputs[row], fired)
                    self._note(index, *found, fired)
                row += 1

    def _note(self, index: int, t: Tensor, y: Tensor, fired: Tensor) -> None:
        self.firings[index].append(Firings(t[None], y[None], fired[None]))

    def _pass_stops(self, segment: Segment, y: Tensor, going: Tensor) -> None:
        """Let the events that stopped groups have their say, and start the next piece."""
        state, search, groups = self.state, segment.search, self.state.t.shape
        conditions, end = search.conditions, segment.t[-1]
        stopped = going & ~torch.isnan(search.stop).reshape(groups)
        t_next, y_next, t_stop = end, y, end.detach()
        for index in search.stopping.any(1).nonzero().flatten().tolist():
            fired = stopped & search.stopping[index].reshape(groups)
            if not bool(fired.any()):
                continue
            t_event, y_event = differentiable(conditions, index, t_stop, y, fired)
            self._note(index, t_event, y_event, fired)
            first = fired & (search.first == index).reshape(groups)
            t_next = torch.where(first, t_event, t_next)
            y_next = torch.where(expand(first, y.ndim), y_event, y_next)
        ends, jumps = stopped & search.last.reshape(groups), torch.zeros_like(stopped)
        for index, event in enumerate(self.events):
            if event.jump is not None:
                jumps |= stopped & ~ends & search.stopping[index].reshape(groups)
        self._jumped = bool(jumps.any())
        carried = search.carry(t_stop, y) if self._jumped else Carried.nothing(state.counts)
        for index, event in enumerate(self.events):
            fired = jumps & search.stopping[index].reshape(groups)
            if event.jump is not None and bool(fired.any()):
                y_next = _jumped(conditions, index, t_next, y_next, fired)
        crowded = jumps & ((t_stop - state.t.detach()).abs() <= _RESOLUTION * t_stop.abs())
        arrived = going & ~stopped & (t_stop == self.problem.t[-1].detach())
        self.state = replace(state, t=t_next, y=y_next, counts=search.counts, carried=carried)
        self._end(ends & stopped, Status.EVENT, t_stop)
        self._end(crowded, Status.ACCUMULATION, t_stop)
        self._end(arrived, Status.SUCCESS, t_stop)

    def _end(self, groups: Tensor, status: Tensor | int, t: Tensor) -> None:
        """Let some groups end."""
        state = self.state
        codes = torch.as_tensor(status, device=groups.device).to(torch.int8)
        groups = groups & state.going
        state.status = torch.where(groups, codes, state.status)
        state.ended = torch.where(groups, t, state.ended)
        state.going = state.going & ~groups

    def found(self) -> Found:
        """Put the pieces together."""
        outcome = self.joined.outcome(self.rows.outputs(), self.state.status, self.state.ended)
        packing, direction = self.problem.dynamics.packing, self.stops.direction
        return Found(outcome, gather(self.events, self.firings, packing, self.problem.y0, direction))


def _jumped(conditions: Conditions, index: int, t: Tensor, y: Tensor, fired: Tensor) -> Tensor:
    """Return the states behind a jump; groups that do not jump get no gradient of it."""
    wide = expand(fired, y.ndim)
    states = of_fired(fired, torch.where(wide, y, y.detach()))
    after = conditions.jumped(index, torch.where(fired, t, t.detach()), states)
    return torch.where(wide, after, y)


def _rows(outputs: Tensor, rows: Tensor) -> Tensor:
    """Bring rows back into the order they were asked for."""
    if rows.ndim == 1:
        return outputs.index_select(0, rows)
    return outputs[rows, torch.arange(rows.shape[1], device=rows.device)]
