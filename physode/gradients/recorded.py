"""Recorded states and interpolants as differentiable functions of the clock, the initial state and the inputs.

What is common to gradient methods that keep a record of the forward solve and find the gradients by a pass back
through it: they differ in that pass only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.gradients.once import first_order_only
from physode.gradients.pulling import Cotangents, Gradients
from physode.gradients.steps import Fetch, fetch_recorded
from physode.problem import Problem
from physode.solvers.grid import Grid
from physode.solvers.trajectory import Trajectory

__all__ = ["PassBack", "fetch_with"]

PassBack = Callable[[Tensor, Tensor, Cotangents, bool], Gradients]
"""From the steps' starts and sizes, what outputs ask for, and whether gradients in the clock are asked for."""


class _Plan(NamedTuple):
    problem: Problem
    record: Trajectory
    nodes: list[int]
    steps: list[int]
    back: PassBack
    message: str


def fetch_with(back: PassBack, problem: Problem, record: Trajectory, grid: Grid, *, message: str) -> Fetch:
    """Fetch from a record, with gradients by a pass back; the ``message`` is raised where these are differentiated."""

    def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
        plan = _Plan(problem, record, list(nodes), list(steps), back, message)
        inputs = (grid.starts, grid.sizes, problem.y0, *problem.inputs)
        states, dense = _Recorded.apply(plan, *inputs)  # type: ignore[no-untyped-call]
        return states, dense if plan.steps else None

    return fetch


class _Recorded(torch.autograd.Function):
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
            found = plan.back(starts.detach(), sizes.detach(), given, any(ctx.needs_input_grad[1:3]))
        return None, *first_order_only([found.starts, found.sizes, found.state, *found.inputs], plan.message)
