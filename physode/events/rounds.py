"""Solves with events, jumps and discontinuities: rounds between stops, each solved by the gradient method asked for.

All samples go through a round together, each to its own next stop: an event that ends it or makes its state jump, a
known discontinuity, or the end. A round is a problem of its own, from where groups are; autograd joins the rounds, so
that gradient methods know nothing of events, and jumps are plain operations. Samples that have arrived take part in
later rounds with a short solve from their start, which nothing is read of: what a right-hand side or a condition knows
of each sample stays in place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.events.callbacks import RoundRecorder, RoundWatch
from physode.events.conditions import Conditions, differentiable
from physode.events.discontinuity import on_sides, sides_from
from physode.events.event import Event, Firings, Found, gather
from physode.events.jumps import Carried, Stops, passed
from physode.events.outputs import JoinedTrace, RoundDetector, Rows, StreamedRows
from physode.events.root_finding import AnewError
from physode.gradients import ACA, GradientMethod, Naive
from physode.gradients.outputs import Outcome
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.solvers.clock import Grid, expand
from physode.solvers.driver import Plan
from physode.solvers.grid import grid_of_step_size, grid_of_times
from physode.solvers.online_output import Receiver
from physode.solvers.recorder import Recorder
from physode.solvers.step_control import Adaptive
from physode.solvers.symplectic.alf import restarted
from physode.status import Status
from physode.typing import Progress

__all__ = ["State", "solve_with_events"]

_SPARE = 1e-6  # of the span: what samples that have arrived solve meanwhile


def solve_with_events(
    problem: Problem,
    plan: Plan,
    gradient_method: GradientMethod,
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
        What takes the outputs as rounds end, instead of the outcome.

    Returns
    -------
    Found
        The outcome with its outputs, NaN behind a group's end, and the events found, with gradients.

    Raises
    ------
    SolveError
        If a gradient method cannot do with a round that ended early; it carries what was found.
    """
    if problem.per_sample and not len(problem.y0):
        nothing = gather(events, [[] for _ in events], problem.dynamics.packing, problem.y0, problem.t[-1].detach())
        return Found(gradient_method.solve(problem, plan), nothing)
    rows = Rows(problem.t, problem.y0) if receiver is None else StreamedRows(problem.t, problem.y0, receiver)
    rounds = _Rounds(problem, plan, gradient_method, tuple(events), Stops(problem, jump_times), rows)
    while bool(rounds.state.going.any()):
        with torch.set_grad_enabled(torch.is_grad_enabled() and rounds.error is None):
            rounds.advance()
    if rounds.error is not None:
        rounds.error.solution = rounds.found()
        raise rounds.error
    return rounds.found()


@dataclass
class State:
    """Times, states and ends of groups, ``(*groups)``; ``counts`` has events and groups as axes.

    ``finite``: the groups that started with a state that is finite. ``sides``: on which side of each event's surface a
    group is, 1 or -1, where the right-hand side is discontinuous there, NaN where that is not known yet; else 0.
    """

    t: Tensor
    y: Tensor
    going: Tensor
    status: Tensor
    ended: Tensor
    counts: Tensor
    carried: Carried
    finite: Tensor
    sides: Tensor

    @classmethod
    def at_start(cls, problem: Problem, events: int) -> State:
        """Return where all groups are before the first round."""
        t = problem.t[0]
        counts = torch.zeros((events, t.numel()), dtype=torch.int64, device=t.device)
        good = torch.isfinite(problem.y0.detach())
        finite = good.reshape(len(good), -1).all(1) if t.ndim else good.all()
        return cls(
            t, problem.y0, torch.ones_like(t, dtype=torch.bool), torch.zeros_like(t, dtype=torch.int8),
            problem.t[-1].detach().clone(), counts, Carried.nothing(counts), finite,
            torch.zeros_like(counts, dtype=torch.float64),
        )  # fmt: skip

    @property
    def well(self) -> Tensor:
        """Which groups started with a finite state and have not failed."""
        return self.finite & ((self.status == Status.SUCCESS) | (self.status == Status.EVENT))

    def end(self, groups: Tensor, status: Tensor | int, t: Tensor) -> None:
        """Let some groups end."""
        codes = torch.as_tensor(status, device=groups.device).to(torch.int8)
        groups = groups & self.going
        self.status = torch.where(groups, codes, self.status)
        self.ended = torch.where(groups, t, self.ended)
        self.going = self.going & ~groups


class _Rounds:
    """The rounds of one solve.

    ``error``: why there will be no gradients, if the gradient method says so.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        gradient_method: GradientMethod,
        events: tuple[Event, ...],
        stops: Stops,
        rows: Rows,
    ) -> None:
        self.problem, self.plan, self.gradient_method, self.events = problem, plan, gradient_method, events
        self.stops, self.rows = stops, rows
        self.firings: list[list[Firings]] = [[] for _ in events]
        self.joined = JoinedTrace.of(problem)
        self.state = State.at_start(problem, len(events))
        self.error: SolveError | None = None
        self._any_order = isinstance(gradient_method, ACA | Naive) and gradient_method.any_order
        self._jumped = self._careful = False
        self._told, self._began = 0.0, time.monotonic()
        self._recorder = RoundRecorder(plan.recorder) if isinstance(plan.recorder, Recorder) else None

    def advance(self) -> None:
        """Solve one round and deal with what stopped each group."""
        steps, state = self.problem.steps, self.state
        self._choose_sides()
        if steps is not None:
            steps = _with_left(steps, self.joined.attempts, state.going)
            if steps.left is not None:
                self.state.end(steps.left < 1, Status.MAX_STEPS, state.t.detach())
        if not bool(state.going.any()):
            return
        problem, detector, shown = self._round(steps)
        watch = self._watch(problem, detector)
        plan = replace(self.plan, recorder=self._recorder or self.plan.recorder, detector=detector, round_watch=watch)
        failed, before = self.error, self.problem.statistics.snapshot()
        try:
            outcome = self._solved(problem, plan)
        except AnewError:
            outcome = None
        watched = watch is not None and watch.reason
        if outcome is None or (bool(detector.discovered.any()) and not watched):
            self.error = failed
            self._anew(detector, outcome, before)
            return
        record, under_way = outcome.record, state.going
        fails = under_way & (record.status != Status.SUCCESS)
        self.state.end(fails, record.status, record.ended)
        self.joined.add(outcome, under_way)
        outputs, end = detector.in_order(outcome.outputs), detector.stops_at[-1]
        self.rows.put(outputs[1:], shown, state.t.detach(), end.detach(), under_way, self.stops.direction)
        self._note(detector, outputs, under_way, record.ended)
        self.state, self._jumped, stopped = passed(
            state, detector, end, outputs[-1], under_way & ~fails, self.problem.t[-1], any_order=self._any_order
        )
        for index, firings in stopped:
            self.firings[index].append(firings)
        if watch is not None and watch.reason:
            self.state.end(self.state.going, watch.reason, self.state.t.detach())

    def found(self) -> Found:
        """Put the rounds together."""
        outcome = self.joined.outcome(self.rows.outputs(), self.state.status, self.state.ended)
        packing, direction = self.problem.dynamics.packing, self.stops.direction
        return Found(outcome, gather(self.events, self.firings, packing, self.problem.y0, direction))

    def _round(self, steps: Adaptive | None) -> tuple[Problem, RoundDetector, list[int]]:
        """Pose the next round, and tell which outputs are among its rows."""
        problem, state = self.problem, self.state
        start, y = _with_spares(problem, state)
        end = torch.where(state.going, self.stops.after(state.t), start.detach() + _SPARE * self.stops.span)
        shown = self.stops.between(start, end, state.going)
        outputs = problem.t[shown]
        inside = self.stops.inside(outputs, start, end) & state.going
        t = torch.cat([start[None], torch.where(inside, outputs, end.detach()), end[None]])
        dynamics = on_sides(self._dynamics(start, end), self.events, state.sides)
        if len(self.joined):  # behind a jump, or a discontinuity
            with problem.statistics.preserved():
                y = restarted(dynamics, start, y)
        detector = RoundDetector(
            Conditions(self.events, dynamics), state.counts, state.going, state.sides, problem.statistics,
            carried=state.carried, careful=self._careful,
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.begin(state.going, jumped=self._jumped)
        grid = self._grid(start, end)
        posed = replace(problem, dynamics=dynamics, y0=y, t=t, steps=steps, grid=grid, to_outputs=False)
        return posed, detector, shown

    def _choose_sides(self) -> None:
        """Find the sides that groups go on from; those that are led back to a surface from both of them end there."""
        state = self.state
        if not bool((state.sides != 0).any()):
            return
        with torch.no_grad(), self.problem.statistics.preserved():
            state.sides, slides = sides_from(
                self._dynamics(state.t, self.stops.after(state.t)),
                self.events,
                state.t.detach(),
                state.y.detach(),
                torch.where(state.going.reshape(-1), state.sides, 0.0),
                state.carried.residual,
                self.stops.direction,
            )
        state.end(slides.reshape(state.going.shape), Status.SLIDING, state.t.detach())

    def _anew(self, detector: RoundDetector, outcome: Outcome | None, before: list[tuple[Tensor, Tensor]]) -> None:
        """Have a round solved anew.

        The right-hand side is discontinuous at events where it was not known to be; or a step that was looked into too
        late should have stopped the solve.
        """
        after, discovered = self.problem.statistics.snapshot(), detector.discovered
        if len(after) == len(before):  # else they do not change
            self.problem.statistics.restore(before)
        self._careful |= not bool(discovered.any())
        if self._recorder is not None:
            self._recorder.rewind()
        if outcome is not None:
            self.joined.discard(outcome, self.state.going)
        self.state.sides = torch.where(discovered, torch.nan, self.state.sides)

    def _solved(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve a round; where there can be no gradients because it ended early, keep the reason."""
        try:
            return self.gradient_method.solve(problem, plan)
        except SolveError as error:
            if not isinstance(error.solution, Outcome):
                raise
            self.error = error
            return error.solution

    def _note(self, detector: RoundDetector, outputs: Tensor, under_way: Tensor, ended: Tensor) -> None:
        """Note the events that stopped nothing, with their gradients; of groups that failed, those up to their end."""
        t = detector.stops_at
        row = len(t) - 1 - sum(len(times) for _, times in detector.events)
        for index, times in detector.events:
            for time_of_firing in times:
                fired = under_way & (self.stops.direction * (ended - time_of_firing) >= 0)
                at = torch.where(fired, time_of_firing, t[-1].detach())
                if bool(fired.any()):
                    firing = differentiable(
                        detector.conditions, index, at, outputs[row], fired, any_order=self._any_order
                    )
                    self.firings[index].append(Firings.of(*firing, fired))
                row += 1

    def _dynamics(self, start: Tensor, end: Tensor) -> Dynamics:
        """Return the right-hand side with the bounds of its times in a round."""
        low, high = self.stops.bounds(start, end)
        return replace(self.problem.dynamics, low=low, high=high)

    def _grid(self, start: Tensor, end: Tensor) -> Grid | None:
        """Return the part of the grid between the round's ends."""
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

    def _watch(self, problem: Problem, detector: RoundDetector) -> RoundWatch | None:
        plan, going = self.plan, self.state.going
        if not plan.watched:
            return None
        return RoundWatch(
            self._progress(going, problem.t[0], problem.t[-1]), plan.monitor, plan.max_seconds, self._began,
            stops=self.stops, detector=detector, going=going, accepted=int(self.joined.accepted.sum()),
            rejected=int(self.joined.rejected.sum()),
        )  # fmt: skip

    def _progress(self, going: Tensor, start: Tensor, end: Tensor) -> Progress | None:
        told = self.plan.progress
        if told is None:
            return None
        done, until = (float(self.stops.share(t)[going].min()) for t in (start, end))

        def tell(fraction: float) -> None:
            self._told = max(self._told, done + fraction * (until - done))
            told(self._told)

        return tell


def _with_left(steps: Adaptive, attempts: Tensor, going: Tensor) -> Adaptive:
    """Return what decides the steps of a round before which groups have made some ``attempts``."""
    left = steps.max_steps - attempts
    most = int(torch.where(going, left, 0).max())
    if bool((left[going] == most).all()) and most > 0:
        return replace(steps, max_steps=most)
    return replace(steps, max_steps=most, left=torch.where(going, left, max(most, 1)))


def _with_spares(problem: Problem, state: State) -> tuple[Tensor, Tensor]:
    """Return times and states to start with: of groups that have arrived, their first ones, or a good sample's."""
    if bool(state.going.all()):
        return state.t, state.y
    good = int(state.going.nonzero()[0])
    first = torch.where(expand(state.well, problem.y0.ndim), problem.y0, problem.y0[good : good + 1]).detach()
    y = torch.where(expand(state.going, problem.y0.ndim), state.y, first)
    return torch.where(state.going, state.t, problem.t[0].detach()), y
