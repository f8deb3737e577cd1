"""Solves with events, jumps and discontinuities: pieces between stops, each solved by the gradient method asked for.

All samples go through a piece together, each to its own next stop: an event that ends it or makes its state jump, a
known discontinuity, or the end. Samples that have arrived take part in later pieces with a short solve from their
start, which nothing is read of: what a right-hand side or a condition knows of each sample stays in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.breakpoints import Stops
from physode.events.event import Event
from physode.events.implicit_gradient import differentiable
from physode.events.joined import Joined, Rows
from physode.events.jumps import passed
from physode.events.pieces import Pieces
from physode.events.result import Firings, Found, gather
from physode.events.segment import Segment
from physode.events.state import State
from physode.events.waiting import AnewError
from physode.events.written import Written
from physode.gradients import GradientMethod
from physode.gradients.outputs import Outcome
from physode.problem.problem import Problem
from physode.solvers.online_output import Receiver
from physode.status import Status

__all__ = ["solve_with_events"]


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
    if problem.per_sample and not len(problem.y0):
        nothing = gather(events, [[] for _ in events], problem.dynamics.packing, problem.y0, problem.t[-1].detach())
        return Found(way.solve(problem), nothing)
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
        self.state = State.at_start(problem, len(events))
        self.error: SolveError | None = None
        self._pieces, self._jumped = Pieces(problem, events, stops), False

    def advance(self) -> None:
        """Solve one piece and deal with what stopped each group."""
        steps, state = self.problem.steps, self.state
        self._pieces.settle(state)
        if not bool(state.going.any()):
            return
        left = 1 if steps is None else steps.max_steps - int(self.joined.attempts.max())
        if left < 1:
            self.state.end(state.going, Status.MAX_STEPS, state.t.detach())
            return
        segment, shown = self._pieces.next(state, self.joined, left, jumped=self._jumped)
        failed, before = self.error, self.problem.statistics.snapshot()
        try:
            outcome = self._solved(segment)
        except AnewError:
            outcome = None
        self.problem.dynamics.calls += segment.dynamics.calls
        watched = segment.watch is not None and segment.watch.reason
        if outcome is None or (bool(segment.search.discovered.any()) and not watched):
            self.error = failed
            self._anew(segment, outcome, before)
            return
        record, under_way = outcome.record, state.going
        fails = under_way & (record.status != Status.SUCCESS)
        self.state.end(fails, record.status, record.ended)
        self.joined.add(outcome, under_way)
        outputs = _rows(outcome.outputs, segment.rows)
        self.rows.put(outputs[1:], shown, state.t.detach(), segment.t[-1].detach(), under_way, self.stops.direction)
        self._record(segment, outputs, under_way, record.ended)
        self.state, self._jumped, stopped = passed(state, segment, outputs[-1], under_way & ~fails, self.problem.t[-1])
        for index, firings in stopped:
            self.firings[index].append(firings)
        if segment.watch is not None and segment.watch.reason:
            self.state.end(self.state.going, segment.watch.reason, self.state.t.detach())

    def _anew(self, segment: Segment, outcome: Outcome | None, before: list[Tensor]) -> None:
        """Have a piece solved anew.

        The right-hand side is discontinuous at events where it was not known to be; or a step that was looked into too
        late should have stopped the solve.
        """
        after, discovered = self.problem.statistics.snapshot(), segment.search.discovered
        if len(after) == len(before):  # else they do not change
            self.problem.statistics.restore(before)
        self._pieces.again(careful=not bool(discovered.any()))
        if outcome is not None:
            self.joined.discard(outcome, self.state.going)
        self.state.sides = torch.where(discovered, torch.nan, self.state.sides)

    def _solved(self, segment: Segment) -> Outcome:
        """Solve a piece; where there can be no gradients because it ended early, keep the reason."""
        try:
            return self.way.solve(segment)
        except SolveError as error:
            if not isinstance(error.solution, Outcome):
                raise
            self.error = error
            return error.solution

    def _record(self, segment: Segment, outputs: Tensor, under_way: Tensor, ended: Tensor) -> None:
        """Note the events that stopped nothing, with their gradients; of groups that failed, those up to their end."""
        row = len(segment.t) - 1 - sum(len(times) for _, times in segment.events)
        for index, times in segment.events:
            for t in times:
                fired = under_way & (self.stops.direction * (ended - t) >= 0)
                at = torch.where(fired, t, segment.t[-1].detach())
                if bool(fired.any()):
                    found = differentiable(segment.search.conditions, index, at, outputs[row], fired)
                    self.firings[index].append(Firings.of(*found, fired))
                row += 1

    def found(self) -> Found:
        """Put the pieces together."""
        outcome = self.joined.outcome(self.rows.outputs(), self.state.status, self.state.ended)
        packing, direction = self.problem.dynamics.packing, self.stops.direction
        return Found(outcome, gather(self.events, self.firings, packing, self.problem.y0, direction))


def _rows(outputs: Tensor, rows: Tensor) -> Tensor:
    """Bring rows back into the order they were asked for."""
    if rows.ndim == 1:
        return outputs.index_select(0, rows)
    return outputs[rows, torch.arange(rows.shape[1], device=rows.device)]
