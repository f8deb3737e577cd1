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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from physode.gradients.backward import pull_back_in_parallel, pull_back_sequentially
from physode.gradients.checkpointing import solve_with_checkpoints
from physode.gradients.kept_graphs import KeptGraphs
from physode.gradients.outputs import Fetch, Outcome, clock, differentiable_fetch, fetch_recorded, read_outputs
from physode.gradients.replay import Replay, safe_nodes
from physode.gradients.vjp import Cotangents, Gradients, Steps
from physode.problem.problem import Problem
from physode.solvers.driver import Plan, forward
from physode.solvers.grid import Grid
from physode.solvers.trace import Trace
from physode.status import Status

__all__ = ["ACA"]

_log = logging.getLogger(__name__)

_PARALLEL_DIMENSION = 64  # components of a state beyond which Jacobians cost more than replaying one by one
_PARALLEL_WORK = 2**15  # groups * dimension**2, likewise


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
        times = [problem.t] if problem.grid is None else [problem.t, *problem.grid]
        return (
            self.memory == "auto"
            and torch.is_grad_enabled()
            and not any(time.requires_grad for time in times)
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

        return differentiable_fetch(back, problem, record, grid, replayed=partial(_replayed, problem))


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
    groups, dimension = _extent(problem)
    return dimension <= _PARALLEL_DIMENSION and groups * dimension**2 <= _PARALLEL_WORK


def _extent(problem: Problem) -> tuple[int, int]:
    """Return the number of groups and of components of each group's state."""
    y0 = problem.y0
    groups = y0.shape[0] if problem.per_sample else 1
    return groups, y0.numel() // max(groups, 1)


def _graph_fetch(problem: Problem, grid: Grid) -> Fetch:
    """Replay the accepted steps in order, keeping their graph."""

    def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
        with problem.statistics.preserved():
            return _replayed(problem, grid, problem.y0, nodes, steps)

    return fetch


def _replayed(
    problem: Problem, grid: Grid, y0: Tensor, nodes: Sequence[int], steps: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Return states and interpolants from a replay of the steps that keeps their graph."""
    replay = Replay(
        problem.tableau, replace(problem.dynamics, calls=problem.backward, moving=None, any_order=True), [], True
    )
    wanted = set(steps)
    states, dense = [y0], {}
    for i in range(max([*nodes, *(step + 1 for step in steps)])):
        y, *coefficients = replay.step(grid.starts[i], states[-1], grid.sizes[i], dense=i in wanted)
        states.append(y)
        if coefficients:
            dense[i] = coefficients[0]
    return torch.stack([states[i] for i in nodes]), torch.stack([dense[i] for i in steps]) if wanted else None
