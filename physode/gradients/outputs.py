"""A solve's steps as tensors: the differentiable clock, and the table that outputs are read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from physode.autograd import first_order_only, is_differentiated, one_by_one, reference, severed, transformed
from physode.gradients.output_times import finite_rows, moving_with_times
from physode.gradients.replay import Cotangents, Gradients
from physode.problem.problem import Problem
from physode.solvers.clock import Grid, all_finite, expand
from physode.solvers.driver import Plan
from physode.solvers.interpolation import Location, interpolate, locate
from physode.solvers.trace import Trace

__all__ = [
    "Fetch",
    "Outcome",
    "PassBack",
    "StepRecord",
    "StepTable",
    "Table",
    "adaptive_clock",
    "blank_unreached",
    "clock",
    "differentiable_fetch",
    "fetch_recorded",
    "read_outputs",
    "times_move",
]


Fetch = Callable[[Sequence[int], Sequence[int]], tuple[Tensor, Tensor | None]]
"""Gives the states at some nodes, ``(nodes, *state)``, and the interpolant coefficients of some steps,
``(steps, m, *state)`` or None, with their gradients."""


class StepTable(NamedTuple):
    """Steps that outputs can be read from: one row a step.

    ``direction`` is the sign of each group's span; ``dense`` is None where no output lies inside a step.
    """

    direction: Tensor
    grid: Grid
    y_start: Tensor
    dense: Tensor | None
    y_end: Tensor

    def read(self, times: Tensor) -> Tensor:
        """Evaluate the solution at ``times``, ``(outputs, *groups)``; NaN beyond the last step of a failed solve."""
        location = locate(times, *self.grid)
        moves = is_differentiated(location.theta)
        outputs = interpolate(location, self.y_start, self.dense, self.y_end, moves=moves)
        if moves and not all_finite(outputs):  # of failed samples, whose NaN would reach the times of the others
            well = finite_rows(outputs, location.theta)
            location = location._replace(theta=torch.where(well, location.theta, location.theta.detach()))
            outputs = interpolate(location, self.y_start, self.dense, self.y_end, moves=moves)
        return blank_unreached(outputs, times, self.direction, self.grid.ends[-1])

    def kept(self) -> StepTable:
        """Return the same without gradients."""
        grid = Grid(*(part.detach() for part in self.grid))
        parts = (None if part is None else part.detach() for part in (self.y_start, self.dense, self.y_end))
        return StepTable(self.direction, grid, *parts)  # type: ignore[arg-type]


class Table(Protocol):
    """A solution as a function of time."""

    def read(self, times: Tensor) -> Tensor:
        """Evaluate the solution at ``times``, ``(outputs, *groups)``; NaN beyond the last step of a failed solve."""

    def kept(self) -> StepTable:
        """Return the same without gradients, in tensors alone."""


class StepRecord(Protocol):
    """What a solve tells of its steps, whoever took them."""

    @property
    def status(self) -> Tensor:
        """Why each group ended."""

    @property
    def ended(self) -> Tensor:
        """When each group ended."""

    @property
    def accepted(self) -> Tensor:
        """Steps, counted per group."""

    @property
    def rejected(self) -> Tensor:
        """Rejected attempts, counted per group."""

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends."""

    def __len__(self) -> int: ...


class Outcome(NamedTuple):
    """What a gradient method returns.

    The outputs ``(outputs, *state)``, the record of the solve, and the table of its steps where interpolants are kept.
    """

    outputs: Tensor
    record: StepRecord
    table: Table | None


def clock(problem: Problem, record: Trace) -> Grid:
    """Return the steps' clock, differentiable with respect to the problem's times.

    Adaptive step sizes count as constants, as ACA has it; the first step starts at the first time and the last one
    ends at the last.
    """
    return adaptive_clock(record.times, record.clock()) if record.grid is None else record.grid


def adaptive_clock(times: Tensor, taken: Grid) -> Grid:
    """Return the clock of the adaptive steps ``taken``, differentiable as :func:`clock` has it."""
    starts, sizes, ends = taken
    if sizes.requires_grad or not times.requires_grad:  # the naive method's clock has its graph already
        return Grid(starts, sizes, ends)
    t0, t1 = times[0], times[-1]
    starts = starts + (t0 - t0.detach())
    is_last = (ends == t1.detach()) & (sizes != 0)
    return Grid(starts, torch.where(is_last, t1 - starts, sizes), torch.where(is_last, t1, starts + sizes))


def fetch_recorded(record: Trace) -> Fetch:
    """Fetch from the record itself, with whatever graph it carries."""

    def fetch(nodes: Sequence[int], steps: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        dense = [record.dense[i] for i in steps]
        return torch.stack([record.nodes[i] for i in nodes]), torch.stack(dense) if dense else None  # type: ignore[arg-type]

    return fetch


def read_outputs(problem: Problem, plan: Plan, record: Trace, grid: Grid, fetch: Fetch) -> Outcome:
    """Read the problem's outputs from its record.

    Only the states and interpolants that outputs need are fetched: for an end state, the one node.
    """
    if len(record) == 0:
        return Outcome(_nothing_but_start(len(record.times), fetch), record, None)
    direction = torch.sign(record.times[-1] - record.times[0]).detach()
    has_dense = any(dense is not None for dense in record.dense)
    every = range(len(record))
    if problem.per_sample or plan.dense:
        nodes, dense = fetch([*every, len(record)], every if has_dense else [])
        table = StepTable(direction, grid, nodes[:-1], dense, nodes[1:])
        if has_dense:
            return Outcome(table.read(record.times), record, table)
        return Outcome(_moving(problem, plan, record, grid, table.read(record.times)), record, None)

    location = locate(record.times, *grid)
    if not has_dense:
        needed, position = torch.unique(location.step + (location.theta == 1.0), return_inverse=True)
        nodes, _ = fetch(needed.tolist(), [])
        outputs = nodes if len(needed) == len(position) else nodes.index_select(0, position)
    else:
        steps, row = torch.unique(location.step, return_inverse=True)
        with_dense = [i for i in steps.tolist() if record.dense[i] is not None]
        nodes, dense = fetch(sorted({*steps.tolist(), *(steps + 1).tolist()}), with_dense)
        outputs = _read_rows(location.theta, steps, row, with_dense, nodes, dense)
    outputs = _moving(problem, plan, record, grid, outputs)
    return Outcome(blank_unreached(outputs, record.times, direction, grid.ends[-1]), record, None)


def _moving(problem: Problem, plan: Plan, record: Trace, grid: Grid, outputs: Tensor) -> Tensor:
    """Return outputs with their derivatives in their times also where these are steps' ends."""
    if problem.to_outputs or not times_move(record.times):
        return outputs
    return moving_with_times(problem, record.times, grid, outputs, whole=plan.detector is None)


def _read_rows(
    theta: Tensor, steps: Tensor, row: Tensor, with_dense: list[int], nodes: Tensor, dense: Tensor | None
) -> Tensor:
    """Evaluate outputs that need only ``steps`` of a record; some of these have outputs at their ends only."""
    fetched = torch.unique(torch.cat([steps, steps + 1]))
    start, end = torch.searchsorted(fetched, steps), torch.searchsorted(fetched, steps + 1)
    assert dense is not None
    if len(with_dense) < len(steps):
        position = torch.searchsorted(steps, torch.tensor(with_dense, device=steps.device))
        dense = torch.zeros(len(steps), *dense.shape[1:], dtype=dense.dtype, device=dense.device).index_copy(
            0, position, dense
        )
    return interpolate(Location(row, theta), nodes.index_select(0, start), dense, nodes.index_select(0, end))


def times_move(times: Tensor) -> bool:
    """Whether output times have derivatives, which those at steps' ends are still to get."""
    return (torch.is_grad_enabled() or transformed()) and is_differentiated(times)


def _nothing_but_start(count: int, fetch: Fetch) -> Tensor:
    start, _ = fetch([0], [])
    blank = torch.full_like(start, torch.nan)
    return torch.cat([start, *[blank] * (count - 1)])


def blank_unreached(outputs: Tensor, times: Tensor, direction: Tensor, last: Tensor) -> Tensor:
    """Set the outputs behind the last step to NaN."""
    unreached = direction * (times - last).detach() > 0
    if not bool(unreached.any()):
        return outputs
    return torch.where(expand(unreached, outputs.ndim), torch.nan, outputs)


PassBack = Callable[[Tensor, Tensor, Cotangents, bool], Gradients]
"""From the steps' starts and sizes, what outputs ask for, and whether gradients in the clock are asked for."""


Replays = Callable[[Problem, Grid, Tensor, Sequence[int], Sequence[int]], tuple[Tensor, Tensor | None]]
"""From the problem, its steps and initial state, nodes and steps: what is fetched, with the graph of their replay."""


@dataclass(eq=False)
class _Plan:
    problem: Problem
    record: Trace
    nodes: list[int]
    steps: list[int]
    back: PassBack
    replayed: Replays | None
    message: str


def differentiable_fetch(
    back: PassBack,
    problem: Problem,
    record: Trace,
    grid: Grid,
    *,
    replayed: Replays | None = None,
    message: str = "",
) -> Fetch:
    """Fetch from a record, with gradients by a pass back.

    Where these are differentiated in turn, they are those of ``replayed``; without it the ``message`` is raised.
    """

    def fetch(nodes: Sequence[int], steps: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        plan = _Plan(problem, record, list(nodes), list(steps), back, replayed, message)
        inputs = (grid.starts, grid.sizes, problem.y0, *problem.inputs)
        states, dense = _Recorded.apply(plan, *inputs)  # type: ignore[no-untyped-call]
        return states, dense if plan.steps else None

    return fetch


class _Recorded(torch.autograd.Function):
    """From the clock, the initial state and the inputs to the recorded states and interpolants."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, starts: Tensor, sizes: Tensor, y0: Tensor, *inputs: Tensor) -> Any:
        ctx.plan = reference(plan)
        # Saved for their version counters: what changed in place before the backward pass must raise there.
        ctx.save_for_backward(starts, sizes, y0, *inputs)
        states, dense = fetch_recorded(plan.record)(plan.nodes, plan.steps)
        return states, dense if dense is not None else states.new_empty(0)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan()
        starts, sizes, y0 = ctx.saved_tensors[:3]
        with plan.problem.as_solved():
            if plan.replayed is not None and torch.is_grad_enabled():
                return None, *_differentiable(plan, plan.replayed, starts, sizes, y0, cotangents)
            given = Cotangents(
                dict(zip(plan.nodes, cotangents[0].detach().unbind(0), strict=True)),
                dict(zip(plan.steps, cotangents[1].detach().unbind(0), strict=True)) if plan.steps else {},
            )
            pulled = plan.back(starts.detach(), sizes.detach(), given, any(ctx.needs_input_grad[1:3]))
        gradients = [pulled.starts, pulled.sizes, pulled.state, *pulled.inputs]
        return None, *first_order_only(gradients, [*ctx.saved_tensors, *cotangents], plan.message)


def _differentiable(
    plan: _Plan, replayed: Replays, starts: Tensor, sizes: Tensor, y0: Tensor, cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the gradients with a graph of their own, by plain autograd through all steps."""
    problem = plan.problem
    with severed([starts, sizes, y0, *problem.differentiable_args]) as (starts, sizes, y0, *args):
        own = replace(problem, dynamics=problem.dynamics.with_args(args))
        states, dense = replayed(own, Grid(starts, sizes, starts + sizes), y0, plan.nodes, plan.steps)
        pairs = [(states, cotangents[0])] + ([] if dense is None else [(dense, cotangents[1])])
        pairs = [(value, ahead) for value, ahead in pairs if value.requires_grad]
        inputs = [starts, sizes, y0, *args, *problem.leaves.tensors]
        if not pairs:  # nothing reaches the outputs
            return [None] * len(inputs)
        outputs, given = zip(*pairs, strict=True)
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        pulled = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True, allow_unused=True))
        return [next(pulled) if tensor.requires_grad else None for tensor in inputs]
