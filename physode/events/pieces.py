"""The pieces of a solve with events, made one after the other: from each group's place to its next stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from physode.events.breakpoints import Stops
from physode.events.conditions import Conditions
from physode.events.detection import Detector
from physode.events.event import Event
from physode.events.joined import Joined
from physode.events.overseen import PieceRecorder, PieceWatch
from physode.events.segment import Segment
from physode.events.sides import on_sides, sides_from
from physode.events.state import State
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.solvers.callbacks import Recorder
from physode.solvers.clock import expand
from physode.solvers.grid import Grid, grid_of_step_size, grid_of_times
from physode.solvers.symplectic.alf import restarted
from physode.status import Status
from physode.typing import Progress

__all__ = ["Pieces"]

_SPARE = 1e-6  # of the span: what samples that have arrived solve meanwhile


class Pieces:
    """Makes the pieces of one solve, and has them watched as one."""

    def __init__(self, problem: Problem, events: Sequence[Event], stops: Stops) -> None:
        self.problem, self.events, self.stops = problem, events, stops
        self._told, self._careful = 0.0, False
        self._began = time.monotonic()
        self._recorder = PieceRecorder(problem.observer) if isinstance(problem.observer, Recorder) else None

    def next(self, state: State, joined: Joined, left: int, *, jumped: bool) -> tuple[Segment, list[int]]:
        """Make the next piece, and tell which outputs are among its rows.

        Parameters
        ----------
        joined
            The pieces before.
        left
            How many attempts it may make.
        jumped
            Whether any group jumped before it.
        """
        problem = self.problem
        start, y = _with_spares(problem, state)
        end = torch.where(state.going, self.stops.after(state.t), start.detach() + _SPARE * self.stops.span)
        shown = self.stops.between(start, end, state.going)
        outputs = problem.t[shown]
        inside = self.stops.inside(outputs, start, end) & state.going
        t = torch.cat([start[None], torch.where(inside, outputs, end.detach()), end[None]])
        dynamics = on_sides(self._dynamics(start, end), self.events, state.sides)
        if len(joined):  # behind a jump, or a discontinuity
            with problem.statistics.preserved():
                y = restarted(dynamics, start, y)
        conditions = Conditions(self.events, dynamics)
        search = Detector(conditions, state.counts, state.going, state.sides, problem.statistics)
        if self._recorder is not None:
            self._recorder.begin(state.going, jumped=jumped)
        segment = Segment(
            dynamics, problem.tableau, y, t, None if problem.steps is None else replace(problem.steps, max_steps=left),
            self._grid(start, end), problem.keep_dense, problem.statistics, problem.referred,
            step_size=problem.step_size,
            backward=problem.backward, search=search, carried=state.carried, observer=self._recorder,
            watch=self._watch(state, joined, start, end, search), careful=self._careful,
        )  # fmt: skip
        return segment, shown

    def settle(self, state: State) -> None:
        """Find the sides that groups go on from; those that are led back to a surface from both of them end there."""
        if not bool((state.sides != 0).any()):
            return
        dynamics = self._dynamics(state.t, self.stops.after(state.t))
        with torch.no_grad(), self.problem.statistics.preserved():
            state.sides, slides = sides_from(
                dynamics,
                self.events,
                state.t.detach(),
                state.y.detach(),
                torch.where(state.going.reshape(-1), state.sides, 0.0),
                state.carried.residual,
                self.stops.direction,
            )
        self.problem.dynamics.calls += dynamics.calls
        state.end(slides.reshape(state.going.shape), Status.SLIDING, state.t.detach())

    def again(self, *, careful: bool) -> None:
        """Make the next piece instead of the last one, which the recorder forgets.

        ``careful``: whether steps must not wait to be looked into from now on.
        """
        self._careful |= careful
        if self._recorder is not None:
            self._recorder.rewind()

    def _dynamics(self, start: Tensor, end: Tensor) -> Dynamics:
        """Return the right-hand side with the bounds of its times in a piece."""
        low, high = self.stops.bounds(start, end)
        return replace(self.problem.dynamics, calls=0, low=low, high=high)

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

    def _watch(self, state: State, joined: Joined, start: Tensor, end: Tensor, search: Detector) -> PieceWatch | None:
        problem, going = self.problem, state.going
        if not problem.watched:
            return None
        return PieceWatch(
            self._progress(going, start, end), problem.monitor, problem.max_seconds, self._began, stops=self.stops,
            search=search, going=going, accepted=int(joined.accepted.sum()), rejected=int(joined.rejected.sum()),
        )  # fmt: skip

    def _progress(self, going: Tensor, start: Tensor, end: Tensor) -> Progress | None:
        told = self.problem.progress
        if told is None:
            return None
        done, until = (float(self.stops.share(time)[going].min()) for time in (start, end))

        def tell(fraction: float) -> None:
            self._told = max(self._told, done + fraction * (until - done))
            told(self._told)

        return tell


def _with_spares(problem: Problem, state: State) -> tuple[Tensor, Tensor]:
    """Return times and states to start with: of groups that have arrived, their first ones, or a good sample's."""
    if bool(state.going.all()):
        return state.t, state.y
    good = int(state.going.nonzero()[0])
    first = torch.where(expand(state.well, problem.y0.ndim), problem.y0, problem.y0[good : good + 1]).detach()
    y = torch.where(expand(state.going, problem.y0.ndim), state.y, first)
    return torch.where(state.going, state.t, problem.t[0].detach()), y
