r"""MALI (Zhuang et al. 2021): exact gradients without the trajectory, which is run backwards from its end.

A symmetric method's step of size :math:`-h` undoes its step of size :math:`h`,

.. math:: y_i = \psi(t_i + h_i, y_{i+1}, -h_i; \theta) ,

so that the backward pass needs of the forward pass no more than step sizes and the last state: each :math:`y_i` is
found again, and its step replayed and pulled back. That is ACA's gradient up to rounding. Rounding grows backwards as
the motion contracts forwards; the outputs' states, kept anyway, are taken as they are where the way back meets them,
and tell how far it has strayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.errors import SolveError
from physode.gradients.once import first_order_only
from physode.gradients.pulling import Cotangents, add, pull
from physode.gradients.replay import Replay
from physode.gradients.steps import Fetch, Outcome, clock, fetch_recorded, read_outputs
from physode.leaves import check_no_new_leaf
from physode.problem import Problem
from physode.solvers.grid import Grid
from physode.solvers.method import StepMethod
from physode.solvers.stepper import take_step
from physode.solvers.trajectory import Trajectory
from physode.status import Status

__all__ = ["MALI"]

_STRAYED = 1e-3


@dataclass(frozen=True)
class MALI:
    """The memory-efficient ALF integrator's gradient, for methods that are symmetric in time.

    These are ``"alf"``, ``"leapfrog"`` and ``"yoshida4"``. With shared steps memory does not grow with the number of
    steps but for two numbers a step; per-sample records keep their states.
    """

    def solve(self, problem: Problem) -> Outcome:
        """Solve the problem, its outputs differentiable where anything asks for gradients."""
        tableau = problem.tableau
        if not (isinstance(tableau, StepMethod) and tableau.symmetric):
            raise ValueError(f"`gradient` 'mali' needs `method` 'alf', 'leapfrog' or 'yoshida4'; got {tableau.name!r}")
        problem.start(keep_graph=False)
        problem.keep_nodes = problem.keep_dense
        with torch.no_grad():
            record = problem.integrate()
        grid, fetch = clock(problem, record), fetch_recorded(record)
        if problem.needs_gradient:
            if bool((record.status != Status.SUCCESS).any()):
                raise SolveError("MALI needs a solve that reached its end; gradient='aca' shows why this one did not")
            fetch = _fetch(problem, record, grid)
        return read_outputs(problem, record, grid, fetch)


class _Plan(NamedTuple):
    problem: Problem
    record: Trajectory
    nodes: list[int]
    steps: list[int]


def _fetch(problem: Problem, record: Trajectory, grid: Grid) -> Fetch:
    def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
        plan = _Plan(problem, record, list(nodes), list(steps))
        inputs = (grid.starts, grid.sizes, problem.y0, *problem.inputs)
        states, dense = _Undone.apply(plan, *inputs)  # type: ignore[no-untyped-call]
        return states, dense if plan.steps else None

    return fetch


class _Undone(torch.autograd.Function):
    """From the clock, the initial state and the inputs to the states and interpolants that outputs need."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, starts: Tensor, sizes: Tensor, y0: Tensor, *inputs: Tensor) -> Any:
        ctx.plan = plan
        ctx.save_for_backward(starts, sizes, y0, *inputs)
        states, dense = fetch_recorded(plan.record)(plan.nodes, plan.steps)
        return states, dense if dense is not None else states.new_empty(0)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan
        starts, sizes = (part.detach() for part in ctx.saved_tensors[:2])
        given = Cotangents(
            dict(zip(plan.nodes, cotangents[0].detach().unbind(0), strict=True)),
            dict(zip(plan.steps, cotangents[1].detach().unbind(0), strict=True)) if plan.steps else {},
        )
        way = _WayBack(Replay.of(plan.problem), plan.record.nodes, starts, sizes)
        with plan.problem.statistics.preserved():
            found = _pull_back(way, given, clock_too=any(ctx.needs_input_grad[1:3]))
        plan.problem.backward.calls += way.replay.dynamics.calls
        return (
            None,
            *first_order_only(found, "derivatives of MALI's gradients need gradient=ACA(memory='graph') or 'naive'"),
        )


@dataclass
class _WayBack:
    """The states between steps, from the last to the first: kept, or found again."""

    replay: Replay
    nodes: list[Tensor]
    starts: Tensor
    sizes: Tensor

    def before(self, i: int, after: Tensor) -> Tensor:
        """Return the state at the start of step ``i``, which ends in the state ``after``."""
        kept = self.nodes[i] if self.nodes[i].numel() else None
        if kept is not None and self.nodes[i + 1].numel():
            return kept
        t, h = self.starts[i], self.sizes[i]
        dynamics = self.replay.dynamics
        if dynamics.skipping:
            dynamics.skip(h != 0)
        with torch.no_grad():
            found = take_step(dynamics, self.replay.tableau, t + h, after, -h).y
        if kept is None:
            return found
        strayed = float((found - kept).abs().max() / kept.abs().max().clamp(min=1e-300))
        if not strayed <= _STRAYED:
            raise RuntimeError(
                f"the trajectory run backwards has strayed by {strayed:.2g} of the state at t = {float(t.max()):.6g}, "
                "as it does where motion contracts: use gradient='aca', or ask for outputs between, which are kept"
            )
        return kept


def _pull_back(way: _WayBack, given: Cotangents, *, clock_too: bool) -> list[Tensor | None]:
    """Return dL/d(starts), dL/d(sizes), dL/dy0 and dL/d(inputs): from the last step to the first, one graph a step."""
    replay, starts, sizes = way.replay, way.starts, way.sizes
    totals: list[Tensor | None] = [None] * len(replay.inputs)
    d_starts, d_sizes = torch.zeros_like(starts), torch.zeros_like(sizes)
    node, state = way.nodes[-1], given.nodes.get(len(starts))
    for i in reversed(range(len(starts))):
        node, dense = way.before(i, node), given.dense.get(i)
        if state is not None or dense is not None:
            y = node.detach().requires_grad_()
            t, h = (part[i].detach().requires_grad_(clock_too) for part in (starts, sizes))
            with torch.enable_grad():
                replayed = replay.step(t, y, h, dense=dense is not None)
            leaves = [y, t, h, *replay.inputs]
            check_no_new_leaf(replayed, leaves)
            ahead = torch.zeros_like(y) if state is None else state
            cotangents = [ahead] if dense is None else [ahead, dense]
            state, d_t, d_h, *inputs = pull(replayed, leaves, cotangents, keep=replay.outside)
            totals = [add(total, part) for total, part in zip(totals, inputs, strict=True)]
            if clock_too and d_t is not None:
                d_starts[i] = d_t
            if clock_too and d_h is not None:
                d_sizes[i] = d_h
        state = add(state, given.nodes.get(i))
    return [d_starts, d_sizes, torch.zeros_like(node) if state is None else state, *totals]
