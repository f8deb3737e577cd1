"""Solving by compiled programs, block of steps after block: the loop, the outputs read, and what ACA needs is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd import forward_ad

from physode.compiled.backward import BackwardPass, differentiable
from physode.compiled.blocks import Block, Reading
from physode.compiled.build import Layout, Unsupported
from physode.compiled.capture import Captured, capture
from physode.compiled.engine import Engine, engine_of
from physode.compiled.forward import Clock, Groups, Record, Summary, Walk
from physode.gradients.aca import ACA
from physode.gradients.output_times import moving_with_times
from physode.gradients.outputs import Outcome, StepTable, adaptive_clock, blank_unreached, times_move
from physode.problem.problem import Problem
from physode.solvers.clock import Grid
from physode.solvers.driver import Plan
from physode.solvers.tableaus import Tableau
from physode.status import Status

__all__ = ["Walked", "solve_compiled"]


@dataclass
class Walked:
    """What a compiled loop leaves: the clock of its steps, and how each group ended."""

    grid: Grid
    status: Tensor
    ended: Tensor
    accepted: Tensor
    rejected: Tensor

    def __len__(self) -> int:
        return len(self.grid.starts)

    def clock(self) -> Grid:
        """Return the steps' starts, sizes and ends, ``(steps, *groups)``."""
        return self.grid


def solve_compiled(problem: Problem, plan: Plan, aca: ACA | None) -> Outcome:
    """Solve by compiled programs, the outputs' gradients by ``aca``.

    Raises
    ------
    Unsupported
        If this problem cannot be; the caller then solves without.
    """
    _check(problem, plan)
    with problem.statistics.preserved():
        captured = capture(problem.dynamics, problem.t[0], problem.y0)
    solve = _Solve.of(problem, plan, captured, aca)
    with torch.no_grad():
        walked = solve.walk_grid() if problem.grid is not None else solve.walk()
    problem.dynamics.calls.count += solve.calls
    outputs, table = solve.outputs(walked), solve.table(walked)
    if solve.differentiable:
        grid = problem.grid if problem.grid is not None else adaptive_clock(problem.t, walked.grid)
        outputs = differentiable(solve.backward_pass(walked), outputs, grid)
        if len(walked) and times_move(problem.t) and not problem.to_outputs:
            outputs = moving_with_times(problem, problem.t, grid, outputs, whole=True)
    return Outcome(solve.blanked(outputs, walked), walked, table)


def _check(problem: Problem, plan: Plan) -> None:
    if problem.y0.is_complex():
        raise Unsupported("complex states are not compiled")
    if plan.recorder is not None:
        raise Unsupported("`record` looks at every step")
    if problem.dynamics.skipping:
        raise Unsupported("`skip_finished` has samples leave the batch")
    if plan.monitor is not None or plan.max_seconds < math.inf:
        raise Unsupported("`monitor` and `max_seconds` ask after each step")
    if not isinstance(problem.tableau, Tableau):
        raise Unsupported(f"the method {problem.tableau.name} is not compiled, only explicit Runge-Kutta methods are")
    if torch.compiler.is_dynamo_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        raise Unsupported("the solve itself is being transformed by torch.func or torch.compile")
    if forward_ad._current_level >= 0:
        raise Unsupported("derivatives in forward mode are not compiled")


@dataclass
class _Solve:
    problem: Problem
    plan: Plan
    captured: Captured
    engine: Engine
    clock: Clock
    tensors: tuple[Tensor, ...]
    reading: Reading
    differentiable: bool
    keeps_steps: bool
    y: Tensor
    blocks: list[Block] = field(default_factory=list)
    broken: list[Block] = field(default_factory=list)
    buffer: Tensor | None = None
    calls: int = 0

    @classmethod
    def of(cls, problem: Problem, plan: Plan, captured: Captured, aca: ACA | None) -> _Solve:
        t, y0 = problem.t, problem.y0
        differentiable = torch.is_grad_enabled() and (
            problem.clock_requires_grad or any(x.requires_grad for x in (y0, *captured.tensors))
        )
        if differentiable and aca is None:
            raise Unsupported("of gradients, only gradient='aca' is compiled")
        if differentiable and aca is not None and aca.memory == "graph":
            raise Unsupported("the graph of ACA(memory='graph') is not compiled")
        if differentiable and aca is not None and aca.checkpoints is not None:
            raise Unsupported("ACA(checkpoints=...) is not compiled")
        if differentiable and plan.dense:
            raise Unsupported("gradients of a dense solution are not compiled")
        at_nodes = len(t) == 2 or (problem.grid is not None and torch.equal(problem.grid.ends, t[1:]))
        dense = plan.dense or not at_nodes
        layout = Layout.of(y0) if captured.program.any_layout else Layout(False)
        engine = engine_of(
            problem, captured.program, layout, dense=dense, parallel=aca is not None and aca.parallel is True
        )
        low, high = problem.dynamics.low, problem.dynamics.high
        y = layout.store(y0.detach())
        solve = cls(
            problem,
            plan,
            captured,
            engine,
            Clock(t[0].detach().clone(), t[-1].detach().clone(), low, high),
            tuple(tensor.detach() for tensor in captured.tensors),
            Reading(engine, t.detach(), y, ends_only=len(t) == 2 and not dense),
            differentiable,
            plan.dense or (differentiable and (not dense or problem.clock_requires_grad)),
            y.clone() if y.data_ptr() == y0.data_ptr() else y,
        )
        if differentiable:
            solve.backward_pass(None).compile(y)  # what fails does so before any work
        return solve

    def walk(self) -> Walked:
        """Take adaptive steps to the end."""
        engine, steps = self.engine, self.problem.steps
        assert steps is not None
        tolerances = tuple(_tensor(value, self.y.device) for value in (steps.rtol, steps.atol))
        most = torch.full((), steps.max_steps, device=self.y.device)
        state, fresh = Walk.fresh(self.clock.t0, self.y), torch.ones((), dtype=torch.bool, device=self.y.device)
        while True:
            record = self._blank()
            state, flags = engine.walk(fresh, tuple(state), record, self.clock.pack(), self.tensors, *tolerances, most)
            summary = Summary(*flags.tolist())
            self._keep(record, summary.rows, state.y, broken=bool(summary.broken))
            if self.plan.progress is not None:
                done = (state.groups[0] - self.clock.t0) / (self.clock.t1 - self.clock.t0)
                self.plan.progress(float(done.min()))
            if not summary.active or summary.attempts >= steps.max_steps:
                break
            state = state._replace(counts=torch.tensor([0, summary.attempts], device=self.y.device))
            fresh = torch.zeros_like(fresh)
        tableau = engine.tableau
        stages = tableau.stages + (len(tableau.c_extra) if engine.dense else 0)
        self.calls = 1 + (steps.first_step is None) + summary.attempts * stages
        return self._walked(Groups.unpack(state.groups), summary)

    def _walked(self, groups: Groups, summary: Summary) -> Walked:
        status, ended = groups.status, groups.ended
        if summary.active:
            status = torch.where(groups.active, float(Status.MAX_STEPS), status)
            ended = torch.where(groups.active, groups.t, ended)
        walked = Walked(self._clock(), status.to(torch.int8), ended, groups.accepted.long(), groups.rejected.long())
        for block in self.broken:
            self._name_broken(block, walked)
        return walked

    def walk_grid(self) -> Walked:
        """Take the steps of the problem's grid."""
        problem, engine = self.problem, self.engine
        grid = problem.grid
        assert grid is not None
        starts, sizes, ends = (part.detach() for part in grid)
        state = self.y
        for low in range(0, len(starts), engine.rows):
            rows = slice(low, low + engine.rows)
            record = self._blank()
            count = len(starts[rows])
            for part, given in zip(record[:3], (starts, sizes, ends), strict=True):
                part[:count] = given[rows]
            state, finite = engine.walk_grid(count, state, record, self.clock.pack(), self.tensors)
            self._keep(record, count, state, broken=not bool(finite))
            if self.plan.progress is not None:
                self.plan.progress(min(1.0, (low + count) / len(starts)))
        tableau = engine.tableau
        self.calls = len(starts) * (tableau.stages + (len(tableau.c_extra) if engine.dense else 0)) + len(self.blocks)
        none = torch.zeros_like(self.clock.t0)
        walked = Walked(Grid(starts, sizes, ends), none.to(torch.int8), self.clock.t1, (sizes != 0).sum(0), none.long())
        for block in self.broken:
            self._name_broken(block, walked)
        return walked

    def _blank(self) -> Record:
        """Return a blank record of a block, with a row to spare for the end; a buffer not kept is used again."""
        rows, t, y = self.engine.rows + 1, self.clock.t0, self.y
        starts, sizes, ends = (torch.zeros(rows, *t.shape, dtype=t.dtype, device=t.device) for _ in range(3))
        if self.buffer is None or self.keeps_steps:
            self.buffer = torch.empty(rows, self.engine.columns, *y.shape, dtype=y.dtype, device=y.device)
        return Record(starts, sizes, ends, self.buffer)

    def _keep(self, record: Record, rows: int, end: Tensor, *, broken: bool) -> None:
        """Read the outputs inside a block, and keep what the backward pass, or naming a failure, needs of it."""
        record.steps[rows] = 0.0
        record.steps[rows, 0] = end
        block = self.reading.read(Block(*record, rows), self.blocks[-1] if self.blocks else None)
        if not self.keeps_steps:
            nodes = record.steps[:0]
            if self.differentiable or broken:
                nodes = torch.empty(len(record.steps), 1, *end.shape, dtype=end.dtype, device=end.device)
                nodes[: rows + 1] = record.steps[: rows + 1, :1]
            block = block._replace(steps=nodes)
        self.blocks.append(block)
        if broken:
            self.broken.append(block)

    def _clock(self) -> Grid:
        parts = ([getattr(block, name)[: block.taken] for block in self.blocks] for name in ("starts", "sizes", "ends"))
        return Grid(*(part[0] if len(part) == 1 else torch.cat(part) for part in parts))

    def _name_broken(self, block: Block, walked: Walked) -> None:
        """Name the groups whose state is not finite although no step noticed, from the block where that began."""
        used = block.taken + 1
        bad = ~torch.isfinite(self.engine.layout.view(block.steps[:used, 0], 1))
        bad = bad.reshape(used, *walked.status.shape, -1).any(-1)
        times = block.starts[:used].clone()
        times[block.taken] = block.ends[block.taken - 1] if block.taken else self.clock.t0
        new = bad.any(0) & (walked.status == Status.SUCCESS)
        walked.status = torch.where(new, int(Status.NON_FINITE), walked.status).to(torch.int8)
        walked.ended = torch.where(new, times.gather(0, bad.long().argmax(0, keepdim=True)).squeeze(0), walked.ended)

    def outputs(self, walked: Walked) -> Tensor:
        """Return the outputs as states."""
        return self.engine.layout.view(self.reading.outputs, 1)

    def blanked(self, states: Tensor, walked: Walked) -> Tensor:
        """Return the outputs with NaN where a group had ended before."""
        if bool((walked.status == Status.SUCCESS).all()):
            return states
        t = self.problem.t.detach()
        last = walked.grid.ends[-1] if len(walked) else t[0]
        return blank_unreached(states, t, torch.sign(t[-1] - t[0]), last)

    def table(self, walked: Walked) -> StepTable | None:
        """Return the steps with their interpolants, if they are asked for."""
        if not self.plan.dense or not len(walked):
            return None
        view = self.engine.layout.view
        start = torch.cat([view(block.steps[: block.taken, 0], 1) for block in self.blocks])
        end = torch.cat([view(block.steps[1 : block.taken + 1, 0], 1) for block in self.blocks])
        dense = torch.cat([view(block.steps[: block.taken, 1:], 2) for block in self.blocks])
        direction = torch.sign(self.clock.t1 - self.clock.t0)
        return StepTable(direction, walked.grid, start, dense, end)

    def backward_pass(self, walked: Walked | None) -> BackwardPass:
        """Return what the backward pass needs."""
        wanted = tuple(i for i, tensor in enumerate(self.captured.tensors) if tensor.requires_grad)
        return BackwardPass(
            self.problem,
            self.engine,
            self.captured,
            self.clock,
            wanted,
            self.reading,
            self.blocks,
            None if walked is None else walked.status,
            clock_too=self.problem.clock_requires_grad,
        )


def _tensor(value: Tensor | float, device: torch.device) -> Tensor:
    """Return a tolerance as a tensor of its own, contiguous: as compiled programs are to find it."""
    if isinstance(value, Tensor):
        return value.detach().to(device).clone(memory_format=torch.contiguous_format)
    return torch.full((), value, dtype=torch.float64, device=device)
