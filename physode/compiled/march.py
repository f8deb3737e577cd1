"""Steps on a given grid as one tensor program."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physode.compiled.capture import Program
from physode.compiled.forward import Clock, Inputs, Record, rhs_of
from physode.compiled.layout import Layout
from physode.compiled.loops import Loop
from physode.solvers.stepper import coefficients, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["marching"]


def marching(program: Program, tableau: Tableau, layout: Layout, *, dense: bool) -> Loop:
    """Return the loop that takes a block's ``count`` steps, whose clock the record holds.

    Its inputs are ``(count, y, record, clock, tensors)``. It writes states and interpolants into the record, and
    returns the state at the end and whether that is finite.
    """

    def start(count: Tensor, y: Tensor, record: Inputs, clock: Tensor, tensors: Inputs) -> Inputs:
        rhs = rhs_of(program, Clock(*clock.unbind(0)), tensors)
        return torch.zeros_like(count), y.clone(), layout.store(rhs(Record(*record).starts[0], layout.view(y)))

    def goes_on(state: Inputs, count: Tensor, *rest: Any) -> Tensor:
        return state[0] < count

    def once(state: Inputs, count: Tensor, _: Tensor, record: Inputs, clock: Tensor, tensors: Inputs) -> Inputs:
        rhs = rhs_of(program, Clock(*clock.unbind(0)), tensors)
        *times, steps = record
        row = state[0].reshape(1)
        t, h, end = (part.index_select(0, row).squeeze(0) for part in times)
        y, k = (layout.view(part) for part in state[1:])
        step = take_step(rhs, tableau, t, y, h, k)
        k_end = rhs(end, step.y)
        rows = [y]
        if dense:
            rows += coefficients(rhs, tableau, t, y, h, step, k_end)
        steps.index_copy_(0, row, torch.stack([layout.store(x) for x in rows]).unsqueeze(0))
        return state[0] + 1, layout.store(step.y), layout.store(k_end)

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return state[1], torch.isfinite(state[1]).all()

    return Loop(start, goes_on, once, finish, written=2)
