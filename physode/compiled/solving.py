"""Solving by compiled programs: the loop forward, the outputs, and ACA's pass back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from physode.compiled.build import Compiled, Unsupported
from physode.compiled.capture import Captured, Program, capture
from physode.compiled.forward import Clock, Groups, Record, Walk, beginning, walking
from physode.compiled.layout import Layout
from physode.compiled.pullback import pulling
from physode.compiled.reading import read, weights_of
from physode.gradients.once import first_order_only
from physode.gradients.steps import Outcome, StepTable, adaptive_clock
from physode.problem import Problem
from physode.solvers.grid import Grid
from physode.solvers.interpolation import locate
from physode.solvers.loop import Adaptive
from physode.status import Status

__all__ = ["Walked", "solve_compiled"]

_BLOCK_BYTES = 2**28
_BLOCK_ROWS = 256


@dataclass
class Walked:
    """What a compiled loop leaves: the clock of its steps, and how each group ended."""

    grid: Grid
    status: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor
    attempts: int = 0

    def __len__(self) -> int:
        return len(self.grid.starts)

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends, ``(steps, *groups)``."""
        return self.grid


@dataclass
class _Engine:
    """The compiled functions of one program, method and shape of problem."""

    program: Program
    steps: Adaptive
    layout: Layout
    dense: bool
    device: torch.device
    functions: dict[Hashable, Any] = field(default_factory=dict)

    def begin(self, *inputs: Any) -> Walk:
        """Return the loop's first state."""
        return Walk(*self._function("begin", lambda: beginning(self.program, self.steps, self.layout))(*inputs))

    def walk(self, *inputs: Any) -> Walk:
        """Take attempts."""
        make = lambda: walking(self.program, self.steps, self.layout, dense=self.dense)  # noqa: E731
        return Walk(*self._function("walk", make)(*inputs))

    def pull(self, wanted: tuple[int, ...], clock_too: bool, *inputs: Any) -> tuple[Tensor, ...]:
        """Pull a block of steps back."""
        tableau = self.steps.tableau
        make = lambda: pulling(  # noqa: E731
            self.program, tableau, self.layout, wanted, dense=self.dense, clock_too=clock_too
        )
        return self._function(("pull", wanted, clock_too), make)(*inputs)  # type: ignore[no-any-return]

    def _function(self, key: Hashable, make: Any) -> Any:
        if key not in self.functions:
            self.functions[key] = Compiled(make(), self.device)
        return self.functions[key]


@dataclass
class _Plan:
    """One solve, for its pass back."""

    problem: Problem
    engine: _Engine
    captured: Captured
    clock: Clock
    wanted: tuple[int, ...]
    grid: Grid
    table: Tensor
    block: int
    status: Tensor
    some_failed: bool


def solve_compiled(problem: Problem) -> Outcome:
    """Solve by compiled programs, the outputs' gradients by ACA.

    Raises
    ------
    Unsupported
        If this problem cannot be; the caller then solves without.
    """
    steps = _supported(problem)
    dynamics, t, y0 = problem.dynamics, problem.t, problem.y0
    with problem.statistics.preserved():
        captured = capture(dynamics, t[0], y0)
    layout = Layout.of(y0)
    clock = Clock(t[0].detach().clone(), t[-1].detach().clone(), dynamics.low, dynamics.high)
    dense = problem.keep_dense or len(t) > 2
    engine = _engine(problem, steps, captured.program, layout, dense)
    tensors = tuple(tensor.detach() for tensor in captured.tensors)
    tolerances = tuple(_tensor(value, y0.device) for value in (steps.rtol, steps.atol))
    with torch.no_grad():
        walked, table, block, last, some_failed = _run(engine, steps, clock, tensors, layout.store(y0.detach()), tolerances)
    tableau = steps.tableau
    extra = len(tableau.c_extra) if dense else 0
    dynamics.calls += 1 + (steps.first_step is None) + walked.attempts * (tableau.stages + extra)

    record = adaptive_clock(problem, walked.grid)
    if problem.needs_gradient:
        wanted = tuple(i for i, tensor in enumerate(captured.tensors) if tensor.requires_grad)
        plan = _Plan(problem, engine, captured, clock, wanted, record, table, block, walked.status, some_failed)
        chosen = [captured.tensors[i] for i in wanted]
        table = _Walked.apply(plan, record.starts, record.sizes, y0, *chosen)  # type: ignore[no-untyped-call]
    return _outcome(problem, walked, record, table, layout)


def _supported(problem: Problem) -> Adaptive:
    if problem.steps is None:
        raise Unsupported("steps on a grid are not compiled yet")
    if problem.y0.is_complex():
        raise Unsupported("complex states are not compiled")
    if problem.per_sample:
        raise Unsupported("per-sample")
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        raise Unsupported("the solve itself is being transformed by torch.func or torch.compile")
    return problem.steps


def _tensor(value: Tensor | float, device: torch.device) -> Tensor:
    return torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64, device=device)


def _engine(problem: Problem, steps: Adaptive, program: Program, layout: Layout, dense: bool) -> _Engine:
    y0, t = problem.y0, problem.t
    key = (
        tuple(y0.shape), y0.dtype, y0.device, t.shape[1:], dense, steps.tableau, steps.controller, _norm_key(steps.norm),
        steps.first_step, steps.min_step, steps.max_step, problem.dynamics.packing,
    )  # fmt: skip
    if key not in program.compiled:
        program.compiled[key] = _Engine(program, steps, layout, dense, y0.device)
    return program.compiled[key]  # type: ignore[no-any-return]


def _norm_key(norm: Any) -> Hashable:
    return norm


def _run(
    engine: _Engine, steps: Adaptive, clock: Clock, tensors: tuple[Tensor, ...], y0: Tensor, tolerances: tuple[Tensor, ...]
) -> tuple[Walked, Tensor, int, Tensor, bool]:
    columns = 1 + (steps.tableau.interpolant_terms if engine.dense else 0)
    block = max(8, min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, columns * y0.numel() * y0.element_size())))
    most = torch.full((), steps.max_steps, device=y0.device)
    walk = engine.begin(clock, tensors, y0, *tolerances)
    records = []
    while True:
        record = _blank(block, columns, clock.t0, y0)
        walk = engine.walk(tuple(walk), record, clock, tensors, *tolerances, most)
        records.append(record)
        groups = Groups.unpack(walk.groups)
        flags = torch.stack([groups.active.any(), (groups.status != 0).any()])
        row, attempts, active, failed = torch.cat([walk.counts, flags.long()]).tolist()
        if not active or attempts >= steps.max_steps:
            break
        walk = walk._replace(counts=walk.counts * torch.tensor([0, 1], device=y0.device))
    if active:
        groups = groups._replace(
            status=torch.where(groups.active, float(Status.MAX_STEPS), groups.status),
            ended=torch.where(groups.active, groups.t, groups.ended),
        )
        failed = True
    count = (len(records) - 1) * block + row
    starts, sizes, ends = (_joined([record[i] for record in records], block)[:count] for i in range(3))
    table = _joined([record.steps for record in records], block)
    table[count] = 0.0
    table[count, 0] = walk.y
    status = groups.status.to(torch.int8)
    walked = Walked(Grid(starts, sizes, ends), status, groups.ended, groups.accepted.long(), groups.rejected.long(), attempts)
    failed = _close(walked, table, engine.layout) or bool(failed)
    return walked, table, block, walk.y, failed


def _blank(rows: int, columns: int, t: Tensor, y: Tensor) -> Record:
    """Return an empty block, with a row to spare for the end."""
    clocks = (torch.zeros(rows + 1, *t.shape, dtype=t.dtype, device=t.device) for _ in range(3))
    return Record(*clocks, torch.zeros(rows + 1, columns, *y.shape, dtype=y.dtype, device=y.device))


def _joined(blocks: list[Tensor], rows: int) -> Tensor:
    """Join full blocks; the last keeps its spare row."""
    return blocks[0] if len(blocks) == 1 else torch.cat([*(block[:rows] for block in blocks[:-1]), blocks[-1]])


def _close(walked: Walked, table: Tensor, layout: Layout) -> bool:
    """Name the groups whose state is not finite although no step noticed."""
    count = len(walked)
    if bool(torch.isfinite(table[count, 0]).all()):
        return False
    states = layout.view(table[: count + 1, 0], 1)
    bad = ~torch.isfinite(states)
    bad = bad.flatten(2).any(2) if walked.status.ndim else bad.flatten(1).any(1)
    first = bad.long().argmax(0)
    ends = torch.cat([walked.grid.starts[:1], walked.grid.ends])
    new = bad.any(0) & (walked.status == Status.SUCCESS)
    walked.status = torch.where(new, int(Status.NON_FINITE), walked.status).to(torch.int8)
    walked.ended = torch.where(new, ends.gather(0, first.unsqueeze(0)).squeeze(0), walked.ended)
    return True


class _Walked(torch.autograd.Function):
    """From the clock, the initial state and what the right-hand side uses to the table of steps."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, starts: Tensor, sizes: Tensor, y0: Tensor, *chosen: Tensor) -> Tensor:
        ctx.plan = plan
        # Saved for their version counters: what changed in place before the backward pass must raise there.
        ctx.save_for_backward(starts, sizes, y0, *plan.captured.tensors)
        return plan.table.view_as(plan.table)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan
        _ = ctx.saved_tensors
        found = _pull_back(plan, cotangents[0].detach(), any(ctx.needs_input_grad[1:3]))
        message = "derivatives of ACA's gradients need gradient=ACA(memory='graph') or gradient='naive'"
        return None, *first_order_only(found, message)


def _pull_back(plan: _Plan, cotangents: Tensor, clock_too: bool) -> list[Tensor | None]:
    grid, block, layout = plan.grid, plan.block, plan.engine.layout
    count = len(grid.starts)
    tensors = tuple(tensor.detach() for tensor in plan.captured.tensors)
    ahead = cotangents[count, 0].contiguous()
    totals: list[Tensor] | None = None
    d_starts, d_sizes = (torch.zeros(len(plan.table), *grid.starts.shape[1:], dtype=grid.starts.dtype, device=ahead.device) for _ in range(2))
    starts, sizes = (_padded(part.detach(), len(plan.table)) for part in (grid.starts, grid.sizes))
    table = plan.table
    for low in reversed(range(0, max(count, 1), block)):
        rows = slice(low, low + block)
        record = Record(starts[rows], sizes[rows], starts[rows], table[rows])
        here = torch.tensor(min(count - low, block), device=ahead.device)
        ahead, *parts = plan.engine.pull(
            plan.wanted, clock_too, here, record, plan.clock, tensors, cotangents[rows], ahead, d_starts[rows], d_sizes[rows]
        )
        totals = parts if totals is None else [a + b for a, b in zip(totals, parts, strict=True)]
    problem, tableau = plan.problem, plan.engine.steps.tableau
    problem.backward_calls += count * (tableau.stages + (1 + len(tableau.c_extra) if plan.engine.dense else 0))
    assert totals is not None
    clock = [d_starts[:count], d_sizes[:count]] if clock_too else [None, None]
    return [*clock, layout.view(ahead), *totals]


def _padded(values: Tensor, rows: int) -> Tensor:
    padded = values.new_zeros(rows, *values.shape[1:])
    padded[: len(values)] = values
    return padded


def _outcome(problem: Problem, walked: Walked, grid: Grid, table: Tensor, layout: Layout) -> Outcome:
    count = len(walked)
    real = problem.y0.dtype
    if len(problem.t) == 2:
        ends = torch.stack([table[0, 0], table[count, 0]])
        outputs = layout.view(ends, 1)
    else:
        rows, weights = weights_of(locate(problem.t, *grid), table.shape[1], real)
        outputs = layout.view(read(table, rows, weights), 1)
    steps = None
    return Outcome(outputs, walked, steps)
