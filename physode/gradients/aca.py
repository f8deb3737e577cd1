r"""ACA, the Adaptive Checkpoint Adjoint (Zhuang et al. 2020): keep the accepted steps, replay them backwards.

With :math:`y_{i+1} = \psi(t_i, y_i, h_i; \theta)` the accepted steps and :math:`\lambda_i = dL/dy_i`,

.. math::
    \lambda_i = \Big(\frac{\partial \psi_i}{\partial y_i}\Big)^{\!\top} \lambda_{i+1} + \frac{\partial L}{\partial y_i},
    \qquad
    \frac{dL}{d\theta} = \sum_i \Big(\frac{\partial \psi_i}{\partial \theta}\Big)^{\!\top} \lambda_{i+1} ,

the exact gradient of the numerical solution on the accepted steps. Sequentially, each step is pulled back in turn, by
the graph kept from the forward pass (:mod:`physode.gradients.kept`) or by one of its replay. In parallel, as all
:math:`y_i` are known, every step is replayed in one batched evaluation; the Jacobians
:math:`\partial \psi_i / \partial y_i` come from as many batched pull-backs as the state has components, the recurrence
is a chain of small products, and one more batched pull-back gives :math:`dL/d\theta`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from physode.gradients.kept import Kept
from physode.gradients.once import first_order_only
from physode.gradients.pulling import Cotangents, Gradients, add, pull
from physode.gradients.replay import Replay, safe_nodes
from physode.gradients.segments import solve_in_segments
from physode.gradients.steps import Fetch, Outcome, clock, fetch_recorded, read_outputs
from physode.leaves import check_no_new_leaf
from physode.problem import Problem
from physode.solvers.grid import Grid
from physode.solvers.trajectory import Trajectory
from physode.status import Status

__all__ = ["ACA"]

_log = logging.getLogger(__name__)

_PARALLEL_DIMENSION = 64  # components of a state beyond which Jacobians cost more than replaying one by one
_PARALLEL_WORK = 2**15  # groups * dimension**2, likewise
_CHUNK_ELEMENTS = 2**26  # of intermediate results that the parallel pass may hold at a time


@dataclass(frozen=True)
class ACA:
    """The Adaptive Checkpoint Adjoint.

    Attributes
    ----------
    memory
        ``"checkpoint"`` keeps the accepted steps' states and recomputes each step for its gradient: memory grows like
        the number of steps plus one step's graph. ``"auto"`` keeps the graphs of accepted steps as well, from the
        first on, while they fit the budget, and recomputes the later ones: no evaluation is made twice. It does so
        where steps are pulled back one by one and no gradient in the times is asked for; else it is ``"checkpoint"``.
        The first backward pass frees the graphs; another one recomputes. ``"graph"`` replays the accepted steps once
        with their graph kept: more memory, and derivatives of any order.
    parallel
        Pull all steps back at once (True), one by one (False), or choose by the state's size. Where a right-hand side
        cannot be mapped over steps (control flow on values, batch norm in training), steps are pulled back one by one.
    budget
        Bytes that graphs kept by ``"auto"`` may take, as estimated from the first evaluation; by default a quarter of
        the memory that is free on the state's device when the solve starts.
    checkpoints
        Keep at most this many states of the forward solve, whatever the number of steps, and recompute what lies
        between them in the backward pass, which holds as many again (or 1 MiB of them, where that is more): see
        :mod:`physode.gradients.segments`. The clock is kept of all steps, two numbers a step. Graphs are not kept.
    """

    memory: Literal["auto", "checkpoint", "graph"] = "auto"
    parallel: bool | Literal["auto"] = "auto"
    budget: int | None = None
    checkpoints: int | None = None

    def __post_init__(self) -> None:
        if self.memory not in ("auto", "checkpoint", "graph"):
            raise ValueError(f"`memory` must be 'auto', 'checkpoint' or 'graph', got {self.memory!r}")
        if self.budget is not None and self.budget < 0:
            raise ValueError(f"`budget` must be a number of bytes, at least 0, got {self.budget!r}")
        if self.checkpoints is not None and self.checkpoints < 1:
            raise ValueError(f"`checkpoints` must be a number of states, at least 1, got {self.checkpoints!r}")
        if self.checkpoints is not None and self.memory == "graph":
            raise ValueError("`checkpoints` bound the memory that memory='graph' takes: give one of them, not both")
        if self.parallel not in (True, False, "auto"):
            raise ValueError(f"`parallel` must be True, False or 'auto', got {self.parallel!r}")

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem, its outputs differentiable where anything asks for gradients."""
        if self.checkpoints is not None and torch.is_grad_enabled():
            return self._in_segments(problem, self.checkpoints)
        kept = Kept(problem, self.budget) if self._keeps(problem) else None
        if kept is None:
            problem.start(keep_graph=False)
        problem.keep_nodes = problem.needs_gradient or problem.keep_dense
        if not problem.needs_gradient:
            kept = None
        with torch.no_grad():
            record = problem.integrate() if kept is None else kept.integrate()
        if bool((record.status != Status.SUCCESS).any()):
            kept = None  # failed samples may have NaN in their graphs, which replays leave out
        grid = clock(problem, record)
        fetch = fetch_recorded(record)
        if problem.needs_gradient and (len(record) or problem.y0.requires_grad):
            graph = self.memory == "graph"
            fetch = _graph_fetch(problem, record, grid) if graph else self._fetch(problem, record, grid, kept)
        return read_outputs(problem, record, grid, fetch)

    def _in_segments(self, problem: Problem, checkpoints: int) -> Outcome:
        parallel = self.parallel if _in_parallel(problem, self.parallel) else None
        return solve_in_segments(problem, checkpoints, partial(_stretch, parallel=parallel))

    def _keeps(self, problem: Problem) -> bool:
        """Whether graphs of steps are kept as long as they fit the budget."""
        times = [problem.t] if problem.grid is None else [problem.t, *problem.grid]
        return (
            self.memory == "auto"
            and torch.is_grad_enabled()
            and not any(time.requires_grad for time in times)
            and not _in_parallel(problem, self.parallel)
        )

    def _fetch(self, problem: Problem, record: Trajectory, grid: Grid, kept: Kept | None) -> Fetch:
        def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
            plan = _Plan(problem, record, list(nodes), list(steps), self.parallel, kept)
            inputs = (grid.starts, grid.sizes, problem.y0, *problem.inputs)
            states, dense = _Checkpointed.apply(plan, *inputs)  # type: ignore[no-untyped-call]
            return states, dense if plan.steps else None

        return fetch


class _Plan(NamedTuple):
    problem: Problem
    record: Trajectory
    nodes: list[int]
    steps: list[int]
    parallel: bool | Literal["auto"]
    kept: Kept | None


class _Checkpointed(torch.autograd.Function):
    """From the clock, the initial state and the inputs to the recorded states and interpolants."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, starts: Tensor, sizes: Tensor, y0: Tensor, *inputs: Tensor) -> Any:
        ctx.plan = plan
        # Saved for their version counters: what changed in place before the backward pass must raise there.
        ctx.save_for_backward(starts, sizes, y0, *inputs)
        states, dense = fetch_recorded(plan.record)(plan.nodes, plan.steps)
        return states, dense if dense is not None else states.new_empty(0)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan
        starts, sizes = ctx.saved_tensors[:2]
        given = Cotangents(
            dict(zip(plan.nodes, cotangents[0].detach().unbind(0), strict=True)),
            dict(zip(plan.steps, cotangents[1].detach().unbind(0), strict=True)) if plan.steps else {},
        )
        with plan.problem.statistics.preserved():
            found = _pull_back(plan, starts.detach(), sizes.detach(), given, any(ctx.needs_input_grad[1:3]))
        return (
            None,
            *first_order_only(
                [found.starts, found.sizes, found.state, *found.inputs],
                "derivatives of ACA's gradients need gradient=ACA(memory='graph') or gradient='naive'",
            ),
        )


def _pull_back(plan: _Plan, starts: Tensor, sizes: Tensor, given: Cotangents, clock_too: bool) -> Gradients:
    replay = Replay.of(plan.problem)
    nodes = safe_nodes(plan.record.nodes, plan.record.status, sizes, plan.record.dense)
    totals: list[Tensor | None] = [None] * len(replay.inputs)
    parallel = plan.parallel if plan.record.starts and _in_parallel(plan.problem, plan.parallel) else None
    try:
        return _stretch(replay, nodes, starts, sizes, given, clock_too, totals, parallel, plan.kept)
    finally:
        plan.problem.backward.calls += replay.dynamics.calls


def _stretch(
    replay: Replay,
    nodes: list[Tensor],
    starts: Tensor,
    sizes: Tensor,
    given: Cotangents,
    clock_too: bool,
    totals: list[Tensor | None],
    parallel: bool | Literal["auto"] | None,
    kept: Kept | None = None,
) -> Gradients:
    """Pull back through successive steps: at once where ``parallel`` says so and they can be mapped over."""
    if parallel is not None:
        try:
            return _parallel(replay, nodes, starts, sizes, given, clock_too, totals)
        except RuntimeError as error:
            if parallel is True:
                _log.warning("ACA pulls steps back one by one: %s", error)
            else:
                _log.debug("ACA pulls steps back one by one: %s", error)
    return _sequential(replay, nodes, starts, sizes, given, clock_too, totals, kept)


def _in_parallel(problem: Problem, parallel: bool | Literal["auto"]) -> bool:
    """Whether steps are pulled back at once."""
    if problem.y0.is_complex():
        return False  # a pull-back is linear over the real numbers only: no complex Jacobian
    if problem.dynamics.skipping:
        return False  # which samples a step moves differs from step to step
    if parallel != "auto":
        return parallel
    groups, dimension = _extent(problem)
    return dimension <= _PARALLEL_DIMENSION and groups * dimension**2 <= _PARALLEL_WORK


def _extent(problem: Problem) -> tuple[int, int]:
    """Return the number of groups and of components of each group's state."""
    y0 = problem.y0
    groups = y0.shape[0] if problem.per_sample else 1
    return groups, y0.numel() // max(groups, 1)


def _sequential(
    replay: Replay,
    nodes: list[Tensor],
    starts: Tensor,
    sizes: Tensor,
    given: Cotangents,
    clock_too: bool,
    totals: list[Tensor | None],
    kept: Kept | None,
) -> Gradients:
    """Go from the last step to the first, replaying each down to those kept: one graph a step, dropped at once."""
    steps = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(steps)
    for i in reversed(range(0 if kept is None else len(kept), steps)):
        dense = given.dense.get(i)
        if state is not None or dense is not None:
            y = nodes[i].detach().requires_grad_()
            t, h = (part[i].detach().requires_grad_(clock_too) for part in (starts, sizes))
            with torch.enable_grad():
                replayed = replay.step(t, y, h, dense=dense is not None)
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
            ahead = torch.zeros_like(y) if state is None else state
            state, d_t, d_h, *inputs = pull(
                replayed,
                [y, t, h, *replay.inputs],
                [ahead] if dense is None else [ahead, dense],
                keep=replay.outside,
            )
            totals = [add(total, part) for total, part in zip(totals, inputs, strict=True)]
            if d_t is not None:
                d_starts[i] = d_t
            if d_h is not None:
                d_sizes[i] = d_h
        state = add(state, given.nodes.get(i))
    if kept is not None:
        state, totals = kept.pull_back(state, given, totals)
    first = torch.zeros_like(nodes[0]) if state is None else state
    return Gradients(d_starts, d_sizes, first, totals)


def _parallel(
    replay: Replay,
    nodes: list[Tensor],
    starts: Tensor,
    sizes: Tensor,
    given: Cotangents,
    clock_too: bool,
    totals: list[Tensor | None],
) -> Gradients:
    """Replay a chunk of steps in one batched evaluation; chunks go from the last to the first."""
    steps = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(steps, torch.zeros_like(nodes[0]))
    chunk = _chunk_length(replay, nodes[0], starts.ndim == 2)
    for end in range(steps, 0, -chunk):
        rows = range(max(0, end - chunk), end)
        y = torch.stack([nodes[i] for i in rows]).detach().requires_grad_()
        t, h = (part[rows.start : rows.stop].detach().requires_grad_(clock_too) for part in (starts, sizes))
        with_dense = any(i in given.dense for i in rows)
        with torch.enable_grad():
            replayed = torch.func.vmap(lambda t, y, h: replay.step(t, y, h, dense=with_dense))(t, y, h)  # noqa: B023
        if end == steps:
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
        jacobians = _jacobians(replayed[0], y, per_sample=starts.ndim == 2)
        arriving = _rows(given.nodes, rows, like=nodes[0])
        dense = []
        if with_dense:
            dense = [_rows(given.dense, rows, like=replayed[1][0])]
            (through_dense,) = pull(replayed[1:], [y], dense, keep=True)
            arriving = arriving if through_dense is None else arriving + through_dense
        ahead = _recur(state, jacobians, arriving)
        state = ahead[0]
        cotangents = [ahead[1:], *dense]
        d_t, d_h, *inputs = pull(replayed, [t, h, *replay.inputs], cotangents, keep=replay.outside)
        totals = [add(total, part) for total, part in zip(totals, inputs, strict=True)]
        if d_t is not None:
            d_starts[rows.start : rows.stop] = d_t
        if d_h is not None:
            d_sizes[rows.start : rows.stop] = d_h
    return Gradients(d_starts, d_sizes, state, totals)


def _jacobians(y_end: Tensor, y: Tensor, *, per_sample: bool) -> Tensor:
    """Return d(y_end)/dy of each step and group, ``(steps, groups, out, in)``, by one pull-back a component."""
    lead = 1 + int(per_sample)
    state = y.shape[lead:]
    dimension = state.numel()
    basis = torch.eye(dimension, dtype=y.dtype, device=y.device)
    basis = basis.reshape(dimension, *(1,) * lead, *state).expand(dimension, *y.shape)
    (pulled,) = torch.autograd.grad(y_end, y, basis, retain_graph=True, is_grads_batched=True)
    rows = pulled.reshape(dimension, len(y), -1, dimension)
    return rows.permute(1, 2, 0, 3).contiguous()


def _rows(given: Mapping[int, Tensor], rows: Iterable[int], like: Tensor) -> Tensor:
    """Stack what is given for some rows, zeros for those without."""
    blank = torch.zeros_like(like)
    return torch.stack([given.get(i, blank) for i in rows])


def _recur(state: Tensor, jacobians: Tensor, arriving: Tensor) -> Tensor:
    """Run the adjoint recurrence backwards over a chunk; return dL/dy at its ``steps + 1`` nodes.

    ``state`` is dL/dy at the last node, ``arriving`` what reaches each node before it from elsewhere.
    """
    shape = (jacobians.shape[1], 1, jacobians.shape[2])
    adjoint = state.reshape(shape)
    found = [adjoint]
    parts = arriving.reshape(-1, *shape)
    for jacobian, part in zip(reversed(jacobians.unbind(0)), reversed(parts.unbind(0)), strict=True):
        adjoint = torch.baddbmm(part, adjoint, jacobian)
        found.append(adjoint)
    return torch.stack(found[::-1]).reshape(-1, *state.shape)


def _chunk_length(replay: Replay, node: Tensor, per_sample: bool) -> int:
    """Return how many steps fit the memory: a step's graph, pulled back once for each component."""
    dimension = node[0].numel() if per_sample else node.numel()
    operations = 40 * (replay.tableau.stages + len(replay.tableau.c_extra))
    return max(1, _CHUNK_ELEMENTS // max(1, node.numel() * (operations + 4 * dimension * replay.tableau.stages)))


def _graph_fetch(problem: Problem, record: Trajectory, grid: Grid) -> Fetch:
    """Replay the accepted steps in order, keeping their graph."""

    def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
        replay = Replay(problem.tableau, problem.dynamics.with_args(problem.dynamics.args), [], True)
        wanted = set(steps)
        states, dense = [problem.y0], {}
        with problem.statistics.preserved():
            for i in range(max([*nodes, *(step + 1 for step in steps)])):
                y, *coefficients = replay.step(grid.starts[i], states[-1], grid.sizes[i], dense=i in wanted)
                states.append(y)
                if coefficients:
                    dense[i] = coefficients[0]
        problem.backward.calls += replay.dynamics.calls
        return torch.stack([states[i] for i in nodes]), torch.stack([dense[i] for i in steps]) if wanted else None

    return fetch
