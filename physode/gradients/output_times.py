r"""The derivative of outputs at steps' ends in their own times.

Inside a step an output moves along its interpolant, whose derivative autograd knows. At a step's end :math:`e` it is
the state :math:`y` there, which follows the end wherever the clock has it. An output whose time :math:`e + \delta`,
with :math:`\delta = 0`, does not move with the end gets

.. math::
    y(e + \delta) = y + \delta \, f\big(e + \tfrac{\delta}{2},\, y + \tfrac{\delta}{2} f(e, y)\big) ,

the midpoint rule, which changes no value and has the solution's first and second derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.autograd import one_by_one, reference, severed
from physode.gradients.replay import Replay
from physode.problem.dynamics import Dynamics
from physode.problem.problem import Problem
from physode.solvers.clock import Grid, expand
from physode.solvers.interpolation import locate

__all__ = ["dot", "finite_rows", "moving_with_times"]


def moving_with_times(problem: Problem, times: Tensor, grid: Grid, outputs: Tensor, *, whole: bool) -> Tensor:
    """Return outputs, those at steps' ends with their derivatives in their times; no value changes.

    Parameters
    ----------
    times
        The outputs' times, ``(outputs, *groups)``.
    grid
        The steps, with the clock's graph.
    outputs
        The states there, ``(outputs, *state)``, with their graphs.
    whole
        Whether the last output is the end of the whole solve, which is that of the last step by itself.
    """
    ends = _Ends.of(problem, times, grid, outputs.detach(), whole=whole)
    if not ends.rows:
        return outputs
    if problem.dynamics.any_order:
        return _moved(problem.dynamics, ends, outputs)
    inputs = (ends.shift, ends.time, outputs, *problem.inputs)
    return _AtEnds.apply(_Plan(problem, ends.detached()), *inputs)  # type: ignore[no-any-return, no-untyped-call]


class _Ends(NamedTuple):
    """Outputs at steps' ends: which they are, ``(outputs, *groups)``, and the numbers of their rows.

    ``time``: those of the ends. ``shift``: 0, with the derivative of the outputs' times less that of the ends.
    """

    there: Tensor
    rows: list[int]
    time: Tensor
    shift: Tensor

    @classmethod
    def of(cls, problem: Problem, times: Tensor, grid: Grid, outputs: Tensor, *, whole: bool) -> _Ends:
        at, (step, theta) = times.detach(), locate(times, *grid)
        there = (theta.detach() == 1.0) & (problem.direction * (at - grid.ends[-1].detach()) <= 0)
        there &= finite_rows(outputs, there)  # others have failed
        if whole:
            there &= at != at[-1]
        time = torch.where(there, grid.ends.gather(0, step), at)
        shift = torch.where(there, times - time, 0.0)
        some = there.reshape(len(there), -1).any(1).nonzero().flatten()
        return cls(there, some.tolist(), time, shift - shift.detach())

    def detached(self) -> _Ends:
        return self._replace(time=self.time.detach(), shift=self.shift.detach())

    def state(self, outputs: Tensor, row: int) -> Tensor:
        """Return the states of an output; a sample's that is elsewhere, and perhaps NaN, is another one's."""
        there, y = self.there[row], outputs[row]
        if not there.ndim or bool(there.all()):
            return y
        good = int(there.nonzero()[0])
        return torch.where(expand(there, y.ndim), y, y[good : good + 1].detach())


def _moved(dynamics: Dynamics, ends: _Ends, outputs: Tensor) -> Tensor:
    """Return the outputs moved by shifts of 0, by plain operations."""
    states = list(outputs.unbind(0))
    for row in ends.rows:
        t, shift, y = ends.time[row], ends.shift[row], ends.state(outputs, row)
        wide = expand(shift.to(y.dtype), y.ndim)
        middle = y + 0.5 * wide * dynamics(t, y)
        states[row] = states[row] + wide * dynamics(t + 0.5 * shift, middle)
    return torch.stack(states)


@dataclass(eq=False)
class _Plan:
    problem: Problem
    ends: _Ends


class _AtEnds(torch.autograd.Function):
    """The identity of outputs, with their derivatives in the shifts of their times."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, shift: Tensor, time: Tensor, outputs: Tensor, *inputs: Tensor) -> Tensor:
        ctx.plan = reference(plan)
        ctx.save_for_backward(shift, time, outputs, *inputs)
        return outputs.view_as(outputs)

    @staticmethod
    @one_by_one
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        plan: _Plan = ctx.plan()
        shift, time, outputs = ctx.saved_tensors[:3]
        with plan.problem.as_solved():
            if torch.is_grad_enabled():
                return None, *_pulled(plan, shift, time, outputs, cotangents[0])
            in_shift = _in_shifts(Replay.of(plan.problem).dynamics, plan.ends, outputs, cotangents[0])
        return None, in_shift, None, cotangents[0], *[None] * len(ctx.needs_input_grad[4:])


def _in_shifts(dynamics: Dynamics, ends: _Ends, outputs: Tensor, cotangents: Tensor) -> Tensor:
    """Return dL/d(shifts)."""
    total = torch.zeros_like(ends.shift)
    for row in ends.rows:
        along = dot(cotangents[row], dynamics(ends.time[row], ends.state(outputs, row)), bool(total.ndim > 1))
        total[row] = torch.where(ends.there[row], along, 0.0)
    return total


def _pulled(plan: _Plan, shift: Tensor, time: Tensor, outputs: Tensor, cotangents: Tensor) -> list[Tensor | None]:
    """Return the gradients with a graph of their own."""
    problem = plan.problem
    with severed([shift, time, outputs, *problem.differentiable_args]) as (shift, time, outputs, *args):
        dynamics = replace(problem.dynamics.with_args(args), calls=problem.backward, moving=None, any_order=True)
        moved = _moved(dynamics, plan.ends._replace(shift=shift, time=time), outputs)
        inputs = [shift, time, outputs, *args, *problem.leaves.tensors]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        pulled = iter(torch.autograd.grad(moved, wanted, cotangents, create_graph=True, allow_unused=True))
        return [next(pulled) if tensor.requires_grad else None for tensor in inputs]


def finite_rows(outputs: Tensor, like: Tensor) -> Tensor:
    """Return which outputs are finite, one a group, shaped ``like`` their times."""
    rows = torch.isfinite(outputs.detach()).reshape(like.numel(), outputs.numel() // max(like.numel(), 1))
    return rows.all(1).reshape(like.shape)


def dot(a: Tensor, b: Tensor, per_sample: bool) -> Tensor:
    """Return the sum of products over a state, or over each sample's, float64."""
    product = (a.conj() * b).real if a.is_complex() else a * b
    return (product.reshape(len(product), -1).sum(1) if per_sample else product.sum()).double()
