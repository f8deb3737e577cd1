r"""ACA within bounded memory: a few states kept of the forward solve, the others recomputed in the backward pass.

The forward solve keeps at most K states, evenly spaced (:mod:`physode.solvers.trace`), and of every step only its
time and size. The backward pass goes through the segments between them, from the last to the first. A segment whose
states fit the room, K states, is walked again from its checkpoint by the recorded steps and then pulled back; a longer
one is divided by further checkpoints, set by binomial checkpointing (:func:`split`). With K = 16
each of 100 steps is walked again 0.9 times, of 1000 steps 1.7 times, of 10,000 steps 2.9 times, of 100,000 steps 4.3
times. A walk evaluates accepted steps only, without errors or graphs: it costs about a quarter of what plain ACA takes
for a step, which is the step, its replay, and a pull-back twice as long.

States walked again are those of the forward solve to the last bit, and so are gradients those of
``ACA(memory="checkpoint")`` where steps are pulled back one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import comb
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from physode.autograd import FIRST_ORDER, first_order_only, one_by_one, reference
from physode.gradients.output_cotangents import Dense, Nodes, OutputCotangents, Places, places
from physode.gradients.output_times import moving_with_times
from physode.gradients.outputs import Outcome, StepTable, clock, fetch_recorded, read_outputs, times_move
from physode.gradients.replay import Cotangents, Gradients, Replay, Steps, safe_nodes
from physode.problem.problem import Problem
from physode.solvers.checkpoints import CheckpointedTrace, Checkpoints, thin_together
from physode.solvers.clock import Grid, expand
from physode.solvers.driver import Plan, forward
from physode.solvers.interpolation import Location, interpolate
from physode.solvers.online_output import InMemory, OnlineOutput
from physode.status import Status

__all__ = ["longest", "solve_with_checkpoints", "split"]


_BYTES = 2**20  # of states that a backward pass may hold, if that is more than the checkpoints


class Stretch(Protocol):
    """Pulls back through successive steps whose states are known, see :mod:`physode.gradients.aca`."""

    def __call__(
        self, replay: Replay, steps: Steps, given: Cotangents, totals: list[Tensor | None], *, clock_too: bool
    ) -> Gradients:
        """Add the inputs' gradients to ``totals``, and return them with those of the first state and the clock."""


@dataclass(eq=False)
class _Plan:
    problem: Problem
    record: CheckpointedTrace
    locations: Places
    stretch: Stretch
    outputs: list[Tensor]


def solve_with_checkpoints(problem: Problem, plan: Plan, checkpoints: int, stretch: Stretch) -> Outcome:
    """Solve a problem with gradients, keeping at most ``checkpoints`` states.

    Outputs are read on the way. Where they are not known beforehand, as those at events, or may be asked for later, as
    of a dense solution, steps are walked once more for them.
    """
    problem = problem.started()
    outputs = None if plan.detector else InMemory(len(problem.t), problem.y0)
    with torch.no_grad():
        reader = None if outputs is None else OnlineOutput(problem.t, problem.y0, outputs)
        grid = None if plan.detector else problem.grid
        record = forward(problem, replace(plan, dense=False), store=Checkpoints(checkpoints, reader, grid))
    assert isinstance(record, CheckpointedTrace)
    plan.traces.append(record)
    thin_together(plan.traces, checkpoints)
    grid = clock(problem, record)
    if not len(record):
        record.nodes = [problem.y0]
        return read_outputs(problem, plan, record, grid, fetch_recorded(record))
    steps = _Steps(problem, record, grid, stretch)
    table = steps if plan.dense else None
    if not problem.needs_gradient:
        values = steps.values(places(record.times, grid)) if outputs is None else outputs.values
        return Outcome(values, record, table)
    return Outcome(steps.read(record.times, None if outputs is None else outputs.values), record, table)


@dataclass(frozen=True)
class _Steps:
    """The steps of a solve, of whose states few are known, as a function of time."""

    problem: Problem
    record: CheckpointedTrace
    grid: Grid
    stretch: Stretch

    def read(self, times: Tensor, values: Tensor | None = None) -> Tensor:
        """Return the solution at times, ``(outputs, *groups)``, with its gradient; ``values`` where they are known."""
        locations, known = places(times, self.grid), values is not None
        values = self.values(locations) if values is None else values
        plan = _Plan(self.problem, self.record, locations, self.stretch, [values])
        inputs = (self.grid.starts, self.grid.sizes, locations.theta, self.problem.y0, *self.problem.inputs)
        outputs: Tensor = _Segmented.apply(plan, *inputs)  # type: ignore[no-untyped-call]
        own = times is self.record.times
        if not times_move(times) or (own and self.problem.to_outputs):
            return outputs
        return moving_with_times(self.problem, times, self.grid, outputs, whole=own and known)

    def values(self, locations: Places) -> Tensor:
        """Walk the steps once more, and read outputs on the way; NaN where none is reached."""
        y = self.record.kept[0]
        values = y.new_full((len(locations.theta), *y.shape), torch.nan)
        theta = locations.theta.detach()
        with torch.no_grad(), self.problem.statistics.preserved():
            for i, y, y_end, dense in self._walked(locations.steps, lambda i: locations.inside(i, theta)):
                if dense is not None:
                    self.record.coefficients = len(dense)
                rows = locations.rows(i)
                if rows.start == rows.stop:
                    continue
                part = locations.pick(theta, rows)
                if locations.groups is None:
                    coefficients = None if dense is None else dense[None]
                    index = torch.zeros(len(part), dtype=torch.int64, device=y.device)
                    values[locations.outputs[rows]] = interpolate(
                        Location(index, part), y[None], coefficients, y_end[None]
                    )
                else:
                    coefficients = None if dense is None else dense.movedim(1, 0)
                    groups = locations.groups[rows]
                    values[locations.outputs[rows], groups] = interpolate(
                        Location(groups, part), y, coefficients, y_end
                    )
        return values

    def _walked(self, count: int, dense: Callable[[int], bool]) -> Iterator[_Step]:
        replay = Replay(self.problem.tableau, self.problem.dynamics, [], False)
        return _walked(replay, self.record, 0, count, self.record.kept[0], dense)

    def kept(self) -> StepTable:
        """Return the same as a table, without gradients."""
        with torch.no_grad(), self.problem.statistics.preserved():
            _, y, y_end, dense = zip(*self._walked(len(self.record), lambda _: True), strict=True)
        grid = Grid(*(part.detach() for part in self.grid))
        direction = torch.sign(grid.ends[-1] - grid.starts[0])
        return StepTable(direction, grid, torch.stack(y), torch.stack(dense), torch.stack(y_end))


class _Step(NamedTuple):
    """A recorded step, taken again: its number, the states at its ends, and its interpolant where it is asked for."""

    number: int
    y: Tensor
    y_end: Tensor
    dense: Tensor | None


def _walked(
    replay: Replay,
    record: CheckpointedTrace,
    begin: int,
    end: int,
    y: Tensor,
    dense: Callable[[int], bool] = lambda _: False,
) -> Iterator[_Step]:
    """Take the recorded steps from ``begin`` to ``end`` again, from the state ``y``."""
    for i in range(begin, end):
        t, h = record.moment(i)
        y_end, *coefficients = replay.step(t, y, h, dense=dense(i))
        moves = h != 0
        if isinstance(moves, Tensor) and moves.ndim:  # a sample may stand still where the right-hand side is not finite
            y_end = torch.where(expand(moves, y.ndim), y_end, y)
        yield _Step(i, y, y_end, coefficients[0] if coefficients else None)
        y = y_end
    replay.dynamics.moving = None


class _Segmented(torch.autograd.Function):
    """From the clock, the places of outputs in it, the initial state and the inputs to the outputs."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, starts: Tensor, sizes: Tensor, theta: Tensor, y0: Tensor, *inputs: Tensor
    ) -> Tensor:
        ctx.plan = reference(plan)
        ctx.save_for_backward(starts, sizes, theta, y0, *inputs)
        return plan.outputs.pop()  # handed over: the graph holds the plan, and must not hold its own outputs

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan()
        starts, sizes = ctx.saved_tensors[:2]
        with plan.problem.as_solved(), torch.no_grad():
            sweep = _Sweep(plan, Grid(starts.detach(), sizes.detach(), starts), cotangents[0].detach())
            gradients = sweep.run(clock_too=any(ctx.needs_input_grad[1:4]))
        return (
            None,
            *first_order_only(gradients, [*ctx.saved_tensors, *cotangents], FIRST_ORDER),
        )


class _Sweep:
    """One backward pass: segment by segment, from the last to the first."""

    def __init__(self, plan: _Plan, grid: Grid, cotangents: Tensor) -> None:
        self._plan, self._record, self._grid = plan, plan.record, grid
        self._replay = Replay.of(plan.problem)
        first = self._record.kept[0]
        self._asked = OutputCotangents(plan.locations, cotangents, first, self._record.coefficients)
        self._room = max(self._record.most, _BYTES // max(1, first.numel() * first.element_size()))
        self._totals: list[Tensor | None] = [None] * len(self._replay.inputs)
        self._state: Tensor | None = None
        self._clock: tuple[Tensor, Tensor, Tensor] | None = None

    def run(self, *, clock_too: bool) -> list[Tensor | None]:
        """Return dL/d(starts), dL/d(sizes), dL/d(theta), dL/dy0 and dL/d(inputs)."""
        if clock_too:
            theta = torch.zeros_like(self._plan.locations.theta)
            self._clock = (torch.zeros_like(self._grid.starts), torch.zeros_like(self._grid.sizes), theta)
        end, record = self._plan.locations.steps, self._record
        self._replay.confirm(self._plan.problem)
        for number in reversed(range(len(record.kept))):
            begin = number * record.stride
            if begin < end:
                self._segment(begin, end, record.kept[number], self._known(end, number))
                end = begin
        state = torch.zeros_like(record.kept[0]) if self._state is None else self._state
        return [*(self._clock or (None, None, None)), state, *self._totals]

    def _known(self, end: int, number: int) -> Tensor | None:
        """Return the state in which a segment ended in the solve; None where that was not kept."""
        record = self._record
        if bool((record.status != Status.SUCCESS).any()):
            return None
        if end == len(record):
            return record.nodes[-1]
        return record.kept[number + 1] if end == (number + 1) * record.stride < len(record) else None

    def _segment(self, begin: int, end: int, y: Tensor, end_state: Tensor | None) -> None:
        """Pull back through the steps from ``begin`` to ``end``, with checkpoints that come and go."""
        checkpoints = [(begin, y)]
        while checkpoints:
            begin, y = checkpoints[-1]
            free = self._room - len(checkpoints) + 1
            if end - begin <= free + 1:
                self._pull_back(begin, end, y, end_state)
                end, end_state = begin, None
                checkpoints.pop()
            else:
                middle = begin + split(end - begin, free)
                checkpoints.append((middle, self._walk(begin, middle, y)[-1]))

    def _walk(self, begin: int, end: int, y: Tensor, *, every: bool = False) -> list[Tensor]:
        """Take recorded steps again; return the last state, or every one from the first."""
        states = [y]
        for step in _walked(self._replay, self._record, begin, end, y):
            if not every:
                states.clear()
            states.append(step.y_end)
        return states

    def _pull_back(self, begin: int, end: int, y: Tensor, end_state: Tensor | None) -> None:
        """Pull back through steps whose states all fit."""
        rows = slice(begin, end)
        nodes = self._walk(begin, end - 1, y, every=True)
        if bool((self._record.status != Status.SUCCESS).any()):  # which step left the finite numbers, its end tells
            nodes += self._walk(end - 1, end, nodes[-1])
            nodes = safe_nodes(nodes, self._record.status, self._grid.sizes[rows])[: end - begin]
        given = Cotangents(Nodes(self._asked, begin, end, self._state), Dense(self._asked, begin, end))
        ends = {} if end_state is None else {end - begin - 1: end_state}
        steps = Steps(nodes, self._grid.starts[rows], self._grid.sizes[rows], ends)
        gradients = self._plan.stretch(self._replay, steps, given, self._totals, clock_too=self._clock is not None)
        self._state, self._totals = gradients.state, gradients.inputs
        if self._clock is not None:
            assert gradients.starts is not None
            assert gradients.sizes is not None
            self._clock[0][rows], self._clock[1][rows] = gradients.starts, gradients.sizes
            self._pull_back_places(begin, nodes)

    def _pull_back_places(self, begin: int, nodes: list[Tensor]) -> None:
        """Find dL/d(theta) of the outputs inside steps, from the steps' interpolants."""
        assert self._clock is not None
        for i, y in enumerate(nodes, begin):
            if self._asked.inside(i):
                replayed = self._replay.step(self._grid.starts[i], y, self._grid.sizes[i], dense=True)
                self._asked.theta(i, y, replayed[1], self._clock[2])


def longest(room: int, walks: int) -> int:
    """Return how many steps can be reversed with ``room`` further states and ``walks`` walks of each step."""
    return comb(room + walks, room)


def split(steps: int, room: int) -> int:
    """Return how far from its start a chain's next checkpoint is set, so that the fewest steps are walked.

    Parameters
    ----------
    steps
        The chain's length, more than ``room + 1``: else all its states fit.
    room
        How many states beside the first may be kept, at least 1.
    """
    walks = 2
    while longest(room, walks) < steps:
        walks += 1
    return max(steps - longest(room - 1, walks), longest(room, walks - 2))
