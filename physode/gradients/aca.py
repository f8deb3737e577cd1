r"""ACA, the Adaptive Checkpoint Adjoint (Zhuang et al. 2020): keep the accepted steps, replay them backwards.

With :math:`y_{i+1} = \psi(t_i, y_i, h_i; \theta)` the accepted steps and :math:`\lambda_i = dL/dy_i`,

.. math::
    \lambda_i = \Big(\frac{\partial \psi_i}{\partial y_i}\Big)^{\!\top} \lambda_{i+1} + \frac{\partial L}{\partial y_i},
    \qquad
    \frac{dL}{d\theta} = \sum_i \Big(\frac{\partial \psi_i}{\partial \theta}\Big)^{\!\top} \lambda_{i+1} ,

the exact gradient of the numerical solution on the accepted steps. Sequentially, each step is pulled back in turn, by
the graph kept from the forward pass (:mod:`physode.gradients.kept_graphs`) or by one of its replay. In parallel, as all
:math:`y_i` are known, every step is replayed in one batched evaluation; the Jacobians
:math:`\partial \psi_i / \partial y_i` come from as many batched pull-backs as the state has components, the recurrence
is a chain of small products, and one more batched pull-back gives :math:`dL/d\theta`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from physode.gradients.checkpointing import solve_with_checkpoints
from physode.gradients.kept_graphs import KeptGraphs
from physode.gradients.outputs import Fetch, Outcome, clock, differentiable_fetch, fetch_recorded, read_outputs
from physode.gradients.replay import (
    Cotangents,
    Gradients,
    Replay,
    Steps,
    add,
    check_strayed,
    pull,
    replayed_with_graph,
    safe_nodes,
    strayed,
)
from physode.problem.evaluation import check_no_new_leaf
from physode.problem.problem import Problem
from physode.solvers.clock import Grid
from physode.solvers.driver import Plan, forward
from physode.solvers.trace import Trace
from physode.status import Status

__all__ = ["ACA", "pull_back_in_parallel", "pull_back_sequentially"]


_log = logging.getLogger(__name__)

_PARALLEL_DIMENSION = 64  # components of a state beyond which Jacobians cost more than replaying one by one
_PARALLEL_WORK = 2**15  # groups * dimension**2, likewise
_CHUNK_ELEMENTS = 2**26  # of intermediate results that a batch of steps may hold at a time
_LOOKS = 16  # steps, about, whose replay is held against the record


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
        with their graph kept: more memory, and derivatives of any order. The others do so in the backward pass where
        that is to be differentiated in turn (``create_graph=True``), but for ``checkpoints``.
    parallel
        Pull all steps back at once (True), one by one (False), or choose by the state's size. Where a right-hand side
        cannot be mapped over steps (control flow on values, batch norm in training), steps are pulled back one by one.
    budget
        Bytes that graphs kept by ``"auto"`` may take, as estimated from the first evaluation; by default a quarter of
        the memory that is free on the state's device when the solve starts.
    checkpoints
        Keep at most this many states of the forward solve, whatever the number of steps, and recompute what lies
        between them in the backward pass, which holds as many again (or 1 MiB of them, where that is more): see
        :mod:`physode.gradients.checkpointing`. The clock is kept of all steps, two numbers a step. Graphs are not kept.
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

    @property
    def any_order(self) -> bool:
        """Whether gradients can be differentiated in turn, also where an implicit function theorem stands between."""
        return self.memory == "graph"

    def solve(self, problem: Problem, plan: Plan) -> Outcome:
        """Solve the problem, its outputs differentiable where anything asks for gradients."""
        if self.checkpoints is not None and torch.is_grad_enabled():
            return self._with_checkpoints(problem, plan, self.checkpoints)
        kept = KeptGraphs(problem, self.budget) if self._keeps(problem) else None
        problem = problem.started() if kept is None else kept.problem
        plan = replace(plan, nodes=problem.needs_gradient or plan.dense)
        if not problem.needs_gradient:
            kept = None
        with torch.no_grad(), problem.hooks.held_back():
            record = forward(problem, plan) if kept is None else kept.forward(plan)
        if bool((record.status != Status.SUCCESS).any()):
            kept = None  # failed samples may have NaN in their graphs, which replays leave out
        grid = clock(problem, record)
        fetch = fetch_recorded(record)
        if problem.needs_gradient and (len(record) or problem.y0.requires_grad):
            fetch = _graph_fetch(problem, grid) if self.memory == "graph" else self._fetch(problem, record, grid, kept)
        return read_outputs(problem, plan, record, grid, fetch)

    def _with_checkpoints(self, problem: Problem, plan: Plan, checkpoints: int) -> Outcome:
        parallel = self.parallel if _in_parallel(problem, self.parallel) else None
        return solve_with_checkpoints(problem, plan, checkpoints, partial(_pull_back, parallel=parallel))

    def _keeps(self, problem: Problem) -> bool:
        """Whether graphs of steps are kept as long as they fit the budget."""
        return (
            self.memory == "auto"
            and torch.is_grad_enabled()
            and not problem.clock_requires_grad
            and not _in_parallel(problem, self.parallel)
        )

    def _fetch(self, problem: Problem, record: Trace, grid: Grid, kept: KeptGraphs | None) -> Fetch:
        def back(starts: Tensor, sizes: Tensor, given: Cotangents, clock_too: bool) -> Gradients:
            replay = Replay.of(problem)
            whole = not bool((record.status != Status.SUCCESS).any())
            nodes = safe_nodes(record.nodes, record.status, sizes, record.dense)
            steps = Steps(nodes, starts, sizes, ends=dict(enumerate(nodes[1:])) if whole else {})
            totals: list[Tensor | None] = [None] * len(replay.inputs)
            parallel = self.parallel if record.starts and _in_parallel(problem, self.parallel) else None
            return _pull_back(replay, steps, given, totals, clock_too=clock_too, parallel=parallel, kept=kept)

        return differentiable_fetch(back, problem, record, grid, replayed=replayed_with_graph)


def _pull_back(
    replay: Replay,
    steps: Steps,
    given: Cotangents,
    totals: list[Tensor | None],
    *,
    clock_too: bool,
    parallel: bool | Literal["auto"] | None,
    kept: KeptGraphs | None = None,
) -> Gradients:
    """Pull back through successive steps: at once where ``parallel`` says so and they can be mapped over."""
    if parallel is not None:
        try:
            return pull_back_in_parallel(replay, steps, given, totals, clock_too=clock_too)
        except RuntimeError as error:
            if parallel is True:
                _log.warning("ACA pulls steps back one by one: %s", error)
            else:
                _log.debug("ACA pulls steps back one by one: %s", error)
    return pull_back_sequentially(replay, steps, given, totals, clock_too=clock_too, kept=kept)


def _in_parallel(problem: Problem, parallel: bool | Literal["auto"]) -> bool:
    """Whether steps are pulled back at once."""
    if problem.y0.is_complex():
        return False  # a pull-back is linear over the real numbers only: no complex Jacobian
    if problem.hooks.modules:
        return False  # which a batched replay would not call
    if problem.dynamics.skipping:
        return False  # which samples a step moves differs from step to step
    if parallel != "auto":
        return parallel
    groups = problem.y0.shape[0] if problem.per_sample else 1
    dimension = problem.y0.numel() // max(groups, 1)
    return dimension <= _PARALLEL_DIMENSION and groups * dimension**2 <= _PARALLEL_WORK


def _graph_fetch(problem: Problem, grid: Grid) -> Fetch:
    """Replay the accepted steps in order, keeping their graph."""

    def fetch(nodes: Sequence[int], steps: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        with problem.statistics.preserved():
            return replayed_with_graph(problem, grid, problem.y0, nodes, steps)

    return fetch


def pull_back_sequentially(
    replay: Replay,
    steps: Steps,
    given: Cotangents,
    totals: list[Tensor | None],
    *,
    clock_too: bool,
    kept: KeptGraphs | None = None,
) -> Gradients:
    """Go from the last step to the first, replaying each down to those kept: one graph a step, dropped at once.

    Parameters
    ----------
    given
        What outputs ask of the states and interpolants.
    totals
        dL/d(inputs) by later steps.
    clock_too
        Whether gradients in the steps' starts and sizes are asked for.
    kept
        The graphs of the first steps, where they were kept.
    """
    nodes, starts, sizes, ends = steps
    count = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(count)
    off, looked_at = torch.zeros((), dtype=torch.float64, device=starts.device), max(1, count // _LOOKS)
    for i in reversed(range(0 if kept is None else len(kept), count)):
        dense = given.dense.get(i)
        if state is not None or dense is not None:
            y = nodes[i].detach().requires_grad_()
            t, h = (part[i].detach().requires_grad_(clock_too) for part in (starts, sizes))
            with torch.enable_grad():
                replayed = replay.step(t, y, h, dense=dense is not None)
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
            if i in ends and (count - 1 - i) % looked_at == 0:
                off = torch.maximum(off, strayed(replayed[0][None], ends[i][None], y.detach()[None]))
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
    check_strayed(off)
    if kept is not None:
        state, totals = kept.pull_back(state, given, totals)
    first = torch.zeros_like(nodes[0]) if state is None else state
    return Gradients(d_starts, d_sizes, first, totals)


def pull_back_in_parallel(
    replay: Replay, steps: Steps, given: Cotangents, totals: list[Tensor | None], *, clock_too: bool
) -> Gradients:
    """Replay a chunk of steps in one batched evaluation; chunks go from the last to the first.

    Parameters as of :func:`~physode.gradients.aca.pull_back_sequentially`.

    Raises
    ------
    RuntimeError
        If the right-hand side cannot be mapped over steps.
    """
    nodes, starts, sizes, ends = steps
    count = len(starts)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    state = given.nodes.get(count, torch.zeros_like(nodes[0]))
    off = torch.zeros((), dtype=torch.float64, device=starts.device)
    chunk = _chunk_length(replay, nodes[0], starts.ndim == 2)
    for end in range(count, 0, -chunk):
        rows = range(max(0, end - chunk), end)
        y = torch.stack([nodes[i] for i in rows]).detach().requires_grad_()
        t, h = (part[rows.start : rows.stop].detach().requires_grad_(clock_too) for part in (starts, sizes))
        with_dense = any(i in given.dense for i in rows)
        with torch.enable_grad():
            replayed = torch.func.vmap(lambda t, y, h: replay.step(t, y, h, dense=with_dense))(t, y, h)  # noqa: B023
        if end == count:
            check_no_new_leaf(replayed, [y, t, h, *replay.inputs])
        recorded_rows = [i for i in rows if i in ends]
        if recorded_rows:
            position = torch.tensor([i - rows.start for i in recorded_rows], device=y.device)
            recorded, begun = torch.stack([ends[i] for i in recorded_rows]), y.detach().index_select(0, position)
            off = torch.maximum(off, strayed(replayed[0].index_select(0, position), recorded, begun))
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
    check_strayed(off)
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
    adjoints = [adjoint]
    parts = arriving.reshape(-1, *shape)
    for jacobian, part in zip(reversed(jacobians.unbind(0)), reversed(parts.unbind(0)), strict=True):
        adjoint = torch.baddbmm(part, adjoint, jacobian)
        adjoints.append(adjoint)
    return torch.stack(adjoints[::-1]).reshape(-1, *state.shape)


def _chunk_length(replay: Replay, node: Tensor, per_sample: bool) -> int:
    """Return how many steps fit the memory: a step's graph, pulled back once for each component."""
    dimension = node[0].numel() if per_sample else node.numel()
    operations = 40 * (replay.tableau.stages + len(replay.tableau.c_extra))
    return max(1, _CHUNK_ELEMENTS // max(1, node.numel() * (operations + 4 * dimension * replay.tableau.stages)))
