r"""Graphs of accepted steps, kept from the forward pass for the backward pass.

A step is a map of the state and the derivative at its start,

.. math::
    (y_{i+1}, k_{i+1}, F_i) = \Psi(y_i, k_i; \theta), \qquad k_0 = f(t_0, y_0; \theta),

with :math:`k_{i+1} = f(t_{i+1}, y_{i+1})` and the interpolant's coefficients :math:`F_i`. Each attempt starts at leaves
of its own, so that its graph holds nothing of the steps before it and goes with it when it is rejected. With
:math:`\lambda_i = dL/dy_i` and :math:`\mu_i = dL/dk_i`, one pull-back a step, from the last to the first, gives

.. math::
    (\lambda_i, \mu_i) = \Big(\frac{\partial \Psi_i}{\partial (y_i, k_i)}\Big)^{\!\top}
    \Big(\lambda_{i+1}, \mu_{i+1}, \frac{\partial L}{\partial F_i}\Big)
    + \Big(\frac{\partial L}{\partial y_i}, 0\Big)

and, summed over steps, :math:`dL/d\theta`. A derivative that two steps share has one graph, in the step that it ends:
nothing is evaluated twice.

The first steps are kept, until the budget is spent; the later ones are replayed from their states, which the backward
pass does first. So nothing recorded is thrown away, and the forward pass stops recording when it stops keeping.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from physode.gradients.budget import room_for_graphs, saved_bytes
from physode.gradients.pulling import Cotangents, add, pull
from physode.leaves import check_no_new_leaf, graph_clock
from physode.problem import Problem
from physode.solvers.groups import expand
from physode.solvers.method import Method
from physode.solvers.norms import all_finite
from physode.solvers.numbers import Number
from physode.solvers.stepper import Rhs, Step
from physode.solvers.taker import End, Plain
from physode.solvers.trajectory import Trajectory

__all__ = ["Kept"]

_NODES = 2**12  # bytes of an evaluation's graph apart from the tensors that it saves


class _Start(NamedTuple):
    """The leaves that an attempt starts at."""

    y: Tensor
    k: Tensor | None


class Kept(Plain):
    """Takes the steps of a solve, and keeps the graphs of the accepted ones within a budget.

    With a clock a sample, one whose attempt is rejected, or that has arrived, stands still: it passes through a step.

    What the first evaluation saves for its gradient is taken for what every evaluation saves.

    Parameters
    ----------
    problem
        Not started yet: its first evaluation is made here, with a graph.
    budget
        Bytes that graphs may take; None for a quarter of what is free.

    Attributes
    ----------
    cost
        The bytes that a step's graph counts for.
    """

    def __init__(self, problem: Problem, budget: int | None) -> None:
        self._problem = problem
        self._dynamics, copies = problem.dynamics.detached()
        self._y0 = problem.y0.detach().requires_grad_()
        since = graph_clock()
        first = problem.first(self._dynamics, copies, self._y0)
        self._k0: Tensor | None = first
        self._inputs = [*copies, *problem.leaves.tensors]
        state = self._y0.numel() * self._y0.element_size()
        evaluations = problem.tableau.stages + len(problem.tableau.c_extra)
        self.cost = evaluations * (_NODES + state + saved_bytes(first, since))
        self._room = room_for_graphs(self._y0.device) if budget is None else budget
        self._start: _Start | None = None
        self._tried = self._y0  # what the last attempt would make of it
        self._steps: list[tuple[_Start, End]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def integrate(self) -> Trajectory:
        """Run the forward loop of the problem; its record has no graph."""
        self._dynamics.calls = 0
        record = self._problem.integrate(self._dynamics, self)
        self._tried = self._y0
        if not self._steps:
            self._k0 = None
        self._problem.dynamics.calls += self._dynamics.calls
        return record

    def take(
        self, rhs: Rhs, tableau: Method, t: Number, y: Tensor, h: Number, k: Tensor | None, *, with_end: bool
    ) -> tuple[Step, Tensor | None]:
        """Try a step, from leaves while there is room for its graph."""
        self._start = None
        if self._room < self.cost:
            return super().take(rhs, tableau, t, y, h, k, with_end=with_end)
        self._start = _Start(y.detach().requires_grad_(), None if k is None else k.detach().requires_grad_())
        with torch.enable_grad():
            tried = super().take(rhs, tableau, t, self._start.y, h, self._start.k, with_end=with_end)
        self._tried = tried[0].y
        return tried

    def finish(
        self,
        rhs: Rhs,
        tableau: Method,
        t: Number,
        y: Tensor,
        h: Number,
        t_end: Number,
        step: Step,
        k_end: Tensor | None,
        *,
        with_end: bool,
        dense: bool,
    ) -> End:
        """Finish a step and keep its graph; the loop goes on without it."""
        if self._start is None:
            return super().finish(rhs, tableau, t, y, h, t_end, step, k_end, with_end=with_end, dense=dense)
        start, moved = self._start, h != 0
        apart = isinstance(moved, Tensor) and moved.ndim > 0 and not bool(moved.all())
        if apart and not all_finite(torch.stack([k.detach().sum() for k in step.ks])):
            self._room = 0  # a rejected sample's NaN would spoil the others' gradients: replays leave it out
            return super().finish(rhs, tableau, t, y, h, t_end, step, k_end, with_end=with_end, dense=dense)
        with torch.enable_grad():
            step = Step(self._tried, step.ks)
            if apart:
                step = Step(_where(moved, self._tried, start.y), step.ks)
            end = super().finish(rhs, tableau, t, start.y, h, t_end, step, k_end, with_end=with_end, dense=dense)
            if apart and end.k is not None and start.k is not None:
                end = end._replace(k=_where(moved, end.k, start.k))
        self._steps.append((start, end))
        self._room -= self.cost
        return End(end.y.detach(), _detached(end.k), _detached(end.dense))

    def pull_back(
        self, state: Tensor | None, given: Cotangents, totals: list[Tensor | None]
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Pull back through the kept steps, each let go at once.

        Parameters
        ----------
        state
            dL/dy where the kept steps end.
        given
            What outputs ask of the states and interpolants.
        totals
            dL/d(inputs) by the later steps.

        Returns
        -------
        tuple
            dL/dy0 and dL/d(inputs).
        """
        steps, self._steps = self._steps, []  # a second backward pass replays them
        slope: Tensor | None = None
        while steps:
            start, end = steps.pop()
            cotangents = (state, slope, given.dense.get(len(steps)))
            state, slope, totals = self._pull(end, cotangents, start, totals)
            state = add(state, given.nodes.get(len(steps)))
        before, _, totals = self._pull((self._k0,), (slope,), _Start(self._y0, None), totals)
        self._k0 = None
        return add(state, before), totals

    def _pull(
        self,
        outputs: Sequence[Tensor | None],
        cotangents: Sequence[Tensor | None],
        start: _Start,
        totals: list[Tensor | None],
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
        """Pull back through one graph; return dL/dy and dL/dk at its start, and what dL/d(inputs) then is."""
        pairs = zip(outputs, cotangents, strict=True)
        asked = [(value, ahead) for value, ahead in pairs if value is not None and ahead is not None]
        asked = [(value, ahead) for value, ahead in asked if value.requires_grad]
        if not asked:
            return None, None, totals
        values, aheads = zip(*asked, strict=True)
        inputs = [start.y, start.y.new_empty(0) if start.k is None else start.k, *self._inputs]
        check_no_new_leaf(values, inputs)
        state, slope, *parts = pull(values, inputs, aheads, keep=self._problem.leaves.outside)
        return state, slope, [add(total, part) for total, part in zip(totals, parts, strict=True)]


def _where(moved: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take the new where a sample moved; one that stood still is what it was, gradients included."""
    return torch.where(expand(moved, new.ndim), new, old)


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
