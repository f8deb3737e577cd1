"""Recorded states and interpolants as differentiable functions of the clock, the initial state and the inputs.

What is common to gradient methods that keep a record of the forward solve and find the gradients by a pass back
through it: they differ in that pass only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physode.gradients.first_order import first_order_only, one_by_one, reference
from physode.gradients.pulling import Cotangents, Gradients
from physode.gradients.steps import Fetch, fetch_recorded
from physode.problem import Problem
from physode.solvers.grid import Grid
from physode.solvers.trajectory import Trajectory

__all__ = ["PassBack", "fetch_with"]

PassBack = Callable[[Tensor, Tensor, Cotangents, bool], Gradients]
"""From the steps' starts and sizes, what outputs ask for, and whether gradients in the clock are asked for."""


Replays = Callable[[Grid, Tensor, Sequence[int], Sequence[int]], tuple[Tensor, Tensor | None]]
"""From the steps, the initial state, nodes and steps: what is fetched, with the whole graph of the steps' replay."""


@dataclass(eq=False)
class _Plan:
    problem: Problem
    record: Trajectory
    nodes: list[int]
    steps: list[int]
    back: PassBack
    replayed: Replays | None
    message: str


def fetch_with(
    back: PassBack,
    problem: Problem,
    record: Trajectory,
    grid: Grid,
    *,
    replayed: Replays | None = None,
    message: str = "",
) -> Fetch:
    """Fetch from a record, with gradients by a pass back.

    Where these are differentiated in turn, they are those of ``replayed``; without it the ``message`` is raised.
    """

    def fetch(nodes: Any, steps: Any) -> tuple[Tensor, Tensor | None]:
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
            found = plan.back(starts.detach(), sizes.detach(), given, any(ctx.needs_input_grad[1:3]))
        gradients = [found.starts, found.sizes, found.state, *found.inputs]
        return None, *first_order_only(gradients, [*ctx.saved_tensors, *cotangents], plan.message)


def _differentiable(
    plan: _Plan, replayed: Replays, starts: Tensor, sizes: Tensor, y0: Tensor, cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the gradients with a graph of their own, by plain autograd through all steps."""
    states, dense = replayed(Grid(starts, sizes, starts + sizes), y0, plan.nodes, plan.steps)
    pairs = [(states, cotangents[0])] + ([] if dense is None else [(dense, cotangents[1])])
    outputs, given = zip(*((value, ahead) for value, ahead in pairs if value.requires_grad), strict=True)
    inputs = [starts, sizes, y0, *plan.problem.inputs]
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    pulled = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True, allow_unused=True))
    return [next(pulled) if tensor.requires_grad else None for tensor in inputs]
