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

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import comb
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from physode.gradients.first_order import FIRST_ORDER, first_order_only, one_by_one, reference
from physode.gradients.outputs import Outcome, StepTable, clock, fetch_recorded, read_outputs
from physode.gradients.replay import Replay, safe_nodes
from physode.gradients.vjp import Cotangents, Gradients, Steps, add
from physode.problem.problem import Problem
from physode.solvers.checkpoints import CheckpointedTrace, Checkpoints, thin_together
from physode.solvers.clock import expand
from physode.solvers.driver import Plan, forward
from physode.solvers.grid import Grid
from physode.solvers.interpolation import Location, interpolate, locate
from physode.solvers.online_output import InMemory, OnlineOutput
from physode.solvers.runge_kutta import take_step
from physode.status import Status

__all__ = ["OutputCotangents", "Places", "longest", "places", "solve_with_checkpoints", "split"]


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
    found: Places
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
        found = places(times, self.grid)
        values = self.values(found) if values is None else values
        plan = _Plan(self.problem, self.record, found, self.stretch, [values])
        inputs = (self.grid.starts, self.grid.sizes, found.theta, self.problem.y0, *self.problem.inputs)
        return _Segmented.apply(plan, *inputs)  # type: ignore[no-any-return, no-untyped-call]

    def values(self, found: Places) -> Tensor:
        """Walk the steps once more, and read outputs on the way; NaN where none is reached."""
        y = self.record.kept[0]
        values = y.new_full((len(found.theta), *y.shape), torch.nan)
        theta = found.theta.detach()
        with torch.no_grad(), self.problem.statistics.preserved():
            for i, y, y_end, dense in self._walked(found.steps, lambda i: found.inside(i, theta)):
                rows = found.rows(i)
                if rows.start == rows.stop:
                    continue
                part = found.pick(theta, rows)
                if found.groups is None:
                    coefficients = None if dense is None else dense[None]
                    index = torch.zeros(len(part), dtype=torch.int64, device=y.device)
                    values[found.outputs[rows]] = interpolate(Location(index, part), y[None], coefficients, y_end[None])
                else:
                    coefficients = None if dense is None else dense.movedim(1, 0)
                    groups = found.groups[rows]
                    values[found.outputs[rows], groups] = interpolate(Location(groups, part), y, coefficients, y_end)
        return values

    def _walked(self, count: int, dense: Callable[[int], bool]) -> Iterator[tuple[int, Tensor, Tensor, Tensor | None]]:
        """Give the first steps: number, states at its ends, and the interpolant where it is asked for."""
        replay = Replay(self.problem.tableau, self.problem.dynamics, [], False)
        y = self.record.kept[0]
        for i in range(count):
            t, h = self.record.moment(i)
            new, *coefficients = replay.step(t, y, h, dense=dense(i))
            moves = h != 0
            if isinstance(moves, Tensor) and moves.ndim:
                new = torch.where(expand(moves, y.ndim), new, y)
            if coefficients:
                self.record.coefficients = len(coefficients[0])
            yield i, y, new, coefficients[0] if coefficients else None
            y = new
        replay.dynamics.moving = None

    def kept(self) -> StepTable:
        """Return the same as a table, without gradients."""
        with torch.no_grad(), self.problem.statistics.preserved():
            _, y, y_end, dense = zip(*self._walked(len(self.record), lambda _: True), strict=True)
        grid = Grid(*(part.detach() for part in self.grid))
        direction = torch.sign(grid.ends[-1] - grid.starts[0])
        return StepTable(direction, grid, torch.stack(y), torch.stack(dense), torch.stack(y_end))


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
            found = sweep.run(clock_too=any(ctx.needs_input_grad[1:4]))
        return (
            None,
            *first_order_only(found, [*ctx.saved_tensors, *cotangents], FIRST_ORDER),
        )


class _Sweep:
    """One backward pass: segment by segment, from the last to the first."""

    def __init__(self, plan: _Plan, grid: Grid, cotangents: Tensor) -> None:
        self._plan, self._record, self._grid = plan, plan.record, grid
        self._replay = Replay.of(plan.problem)
        first = self._record.kept[0]
        self._asked = OutputCotangents(plan.found, cotangents, first, self._record.coefficients)
        self._room = max(self._record.most, _BYTES // max(1, first.numel() * first.element_size()))
        self._totals: list[Tensor | None] = [None] * len(self._replay.inputs)
        self._state: Tensor | None = None
        self._clock: tuple[Tensor, Tensor, Tensor] | None = None

    def run(self, *, clock_too: bool) -> list[Tensor | None]:
        """Return dL/d(starts), dL/d(sizes), dL/d(theta), dL/dy0 and dL/d(inputs)."""
        if clock_too:
            theta = torch.zeros_like(self._plan.found.theta)
            self._clock = (torch.zeros_like(self._grid.starts), torch.zeros_like(self._grid.sizes), theta)
        end, record = self._plan.found.steps, self._record
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

    def _segment(self, begin: int, end: int, y: Tensor, known: Tensor | None) -> None:
        """Pull back through the steps from ``begin`` to ``end``, with checkpoints that come and go."""
        checkpoints = [(begin, y)]
        while checkpoints:
            begin, y = checkpoints[-1]
            free = self._room - len(checkpoints) + 1
            if end - begin <= free + 1:
                self._pull_back(begin, end, y, known)
                end, known = begin, None
                checkpoints.pop()
            else:
                middle = begin + split(end - begin, free)
                checkpoints.append((middle, self._walk(begin, middle, y)[-1]))

    def _walk(self, begin: int, end: int, y: Tensor, *, every: bool = False) -> list[Tensor]:
        """Take recorded steps again; return the last state, or every one from the first."""
        dynamics, tableau = self._replay.dynamics, self._replay.tableau
        found = [y]
        for i in range(begin, end):
            t, h = self._record.moment(i)
            moves = h != 0
            if dynamics.skipping:
                dynamics.skip(moves)
            new = take_step(dynamics, tableau, t, y, h).y
            # A sample that stands still may do so where the right-hand side is not finite.
            y = torch.where(expand(moves, y.ndim), new, y) if isinstance(moves, Tensor) and moves.ndim else new
            if every:
                found.append(y)
            else:
                found = [y]
        dynamics.moving = None
        return found

    def _pull_back(self, begin: int, end: int, y: Tensor, known: Tensor | None) -> None:
        """Pull back through steps whose states all fit."""
        rows = slice(begin, end)
        nodes = self._walk(begin, end - 1, y, every=True)
        if bool((self._record.status != Status.SUCCESS).any()):  # which step left the finite numbers, its end tells
            nodes += self._walk(end - 1, end, nodes[-1])
            nodes = safe_nodes(nodes, self._record.status, self._grid.sizes[rows])[: end - begin]
        given = Cotangents(Nodes(self._asked, begin, end, self._state), Dense(self._asked, begin, end))
        ends = {} if known is None else {end - begin - 1: known}
        steps = Steps(nodes, self._grid.starts[rows], self._grid.sizes[rows], ends)
        found = self._plan.stretch(self._replay, steps, given, self._totals, clock_too=self._clock is not None)
        self._state, self._totals = found.state, found.inputs
        if self._clock is not None:
            assert found.starts is not None
            assert found.sizes is not None
            self._clock[0][rows], self._clock[1][rows] = found.starts, found.sizes
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


class Places(NamedTuple):
    """Outputs sorted by the step that each lies in; of all groups, each group's outputs are its own.

    ``outputs`` and ``groups`` are ``(n,)``; ``theta``, ``(outputs, *groups)``, is how far into its step each output
    lies, differentiable; those in step i are ``bounds[i]`` to ``bounds[i + 1]``. Those not reached are left out.
    """

    outputs: Tensor
    groups: Tensor | None
    theta: Tensor
    bounds: array[int]

    @property
    def steps(self) -> int:
        """How many steps there are up to the last that an output lies in."""
        return bisect_left(self.bounds, len(self.outputs))

    def inside(self, step: int, theta: Tensor) -> bool:
        """Whether an output lies strictly inside a step."""
        part = self.pick(theta, self.rows(step))
        return bool(((part > 0.0) & (part < 1.0)).any())

    def rows(self, step: int) -> slice:
        """Return which of them lie in a step."""
        return slice(self.bounds[step], self.bounds[step + 1])

    def pick(self, values: Tensor, rows: slice) -> Tensor:
        """Take some of ``values``, ``(outputs, *groups, ...)``."""
        if self.groups is None:
            return values[self.outputs[rows]]
        return values[self.outputs[rows], self.groups[rows]]


def places(times: Tensor, grid: Grid) -> Places:
    """Find the steps that output times lie in."""
    step, theta = locate(times, *grid)
    direction = torch.sign(grid.ends[-1] - grid.starts[0]).detach()
    reached = (direction * (times - grid.ends[-1]).detach() <= 0).nonzero()
    outputs, groups = reached[:, 0], reached[:, 1] if times.ndim == 2 else None
    steps = step[outputs] if groups is None else step[outputs, groups]
    steps, order = torch.sort(steps, stable=True)
    bounds = torch.searchsorted(steps, torch.arange(len(grid.starts) + 2, device=steps.device))
    return Places(outputs[order], None if groups is None else groups[order], theta, array("q", bounds.tolist()))


class OutputCotangents:
    """dL/d(node) and dL/d(interpolant) of any step, from dL/d(outputs).

    An output at a step's end is the node there; one before it is linear in the node at the step's start and the
    coefficients of the interpolant, see :mod:`physode.solvers.interpolation`.
    """

    def __init__(self, found: Places, cotangents: Tensor, like: Tensor, coefficients: int) -> None:
        self._found, self._cotangents, self._like = found, cotangents, like
        self._coefficients = coefficients
        self._theta = found.theta.detach()

    def node(self, row: int) -> Tensor | None:
        """Return what outputs ask of a node: of the step that starts there, and of the one that ends there."""
        started = self._start_or_end(row, at_end=False)
        ended = self._start_or_end(row - 1, at_end=True) if row else None
        return add(started, ended)

    def _start_or_end(self, step: int, *, at_end: bool) -> Tensor | None:
        rows = self._found.rows(step)
        if rows.start == rows.stop:
            return None
        theta = self._found.pick(self._theta, rows)
        return self._gathered(rows, (theta == 1.0) if at_end else (theta != 1.0), None)

    def inside(self, step: int) -> bool:
        """Whether an output lies strictly inside a step."""
        return self._found.inside(step, self._theta)

    def dense(self, step: int) -> Tensor:
        """Return what outputs ask of a step's interpolant, ``(m, *state)``."""
        rows = self._found.rows(step)
        theta = self._found.pick(self._theta, rows)
        inside = theta != 1.0
        left = theta.to(self._like.real.dtype if self._like.is_complex() else self._like.dtype)
        right, basis, parts = 1.0 - left, left, []
        for p in range(self._coefficients):
            parts.append(self._gathered(rows, inside, basis))
            basis = basis * (right if p % 2 == 0 else left)
        return torch.stack(parts)

    def _gathered(self, rows: slice, which: Tensor, weights: Tensor | None) -> Tensor:
        """Sum the cotangents of some outputs of a step, weighted, by group."""
        found, like = self._found, self._like
        values = found.pick(self._cotangents, rows)
        values = torch.where(expand(which, values.ndim), values, 0.0)
        if weights is not None:
            values = values * expand(weights, values.ndim).to(values.dtype)
        if found.groups is None:
            index = torch.zeros(len(values), dtype=torch.int64, device=like.device)
            return torch.zeros_like(like)[None].index_add(0, index, values)[0]
        return torch.zeros_like(like).index_add(0, found.groups[rows], values)

    def theta(self, step: int, y: Tensor, dense: Tensor | None, total: Tensor) -> None:
        """Put dL/d(theta) of a step's outputs into ``total``, shaped like theta; given its start and interpolant."""
        if dense is None:
            return
        found, rows = self._found, self._found.rows(step)
        theta = found.pick(self._theta, rows).requires_grad_()
        with torch.enable_grad():
            if found.groups is None:
                index = torch.zeros(len(theta), dtype=torch.int64, device=y.device)
                values = interpolate(Location(index, theta), y[None], dense[None], y[None])
            else:
                values = interpolate(Location(found.groups[rows], theta), y, dense.movedim(1, 0), y)
            (part,) = torch.autograd.grad(values, theta, found.pick(self._cotangents, rows))
        if found.groups is None:
            total[found.outputs[rows]] = part
        else:
            total[found.outputs[rows], found.groups[rows]] = part


class Nodes(Mapping[int, Tensor]):
    """What is asked of the nodes of a stretch of steps, numbered from its first.

    Its last node is given; what its first is asked belongs to the stretch before, unless nothing is before it.
    """

    def __init__(self, asked: OutputCotangents, first: int, last: int, state: Tensor | None) -> None:
        self._asked, self._first, self._last, self._state = asked, first, last, state

    def __getitem__(self, row: int) -> Tensor:
        at = self._first + row
        found = None if row == 0 and self._first else self._asked.node(at)
        if at == self._last:
            found = add(self._state, found)
        if found is None:
            raise KeyError(row)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._last - self._first + 1))

    def __len__(self) -> int:
        return self._last - self._first + 1


class Dense(Mapping[int, Tensor]):
    """What is asked of the interpolants of a stretch of steps."""

    def __init__(self, asked: OutputCotangents, first: int, last: int) -> None:
        self._asked, self._first, self._last = asked, first, last

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and self._asked.inside(self._first + row)

    def __getitem__(self, row: int) -> Tensor:
        if row not in self:
            raise KeyError(row)
        return self._asked.dense(self._first + row)

    def __iter__(self) -> Iterator[int]:
        return (row for row in range(len(self)) if row in self)

    def __len__(self) -> int:
        return self._last - self._first
