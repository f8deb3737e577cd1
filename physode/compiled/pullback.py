"""ACA's backward pass as one tensor program: each accepted step replayed and pulled back, from last to first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from physode.compiled.capture import Program
from physode.compiled.forward import Clock, Inputs, rhs_of
from physode.compiled.layout import Layout
from physode.compiled.loops import Loop
from physode.solvers.stepper import coefficients, end_derivative, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["pull_through", "pulling", "step_of"]


def pulling(
    program: Program, tableau: Tableau, layout: Layout, wanted: Sequence[int], *, dense: bool, clock_too: bool
) -> Loop:
    """Return the loop that pulls cotangents back through a block of ``count`` steps.

    Its inputs are ``(count, starts, sizes, nodes, clock, tensors, cotangents, ahead)``. ``wanted`` are the places,
    among the program's further tensors, of those to differentiate with respect to. It returns dL/dy at the block's
    start, with ``clock_too`` dL/d(starts) and dL/d(sizes), and its part of dL/d(wanted).
    """
    step = step_of(program, tableau, wanted, dense=dense)

    def start(
        count: Tensor, starts: Tensor, sizes: Tensor, nodes: Tensor, clock: Tensor, tensors: Inputs, *cotangents: Tensor
    ) -> Inputs:
        blank = [torch.zeros_like(starts), torch.zeros_like(sizes)] if clock_too else []
        return count.clone(), cotangents[1].clone(), *blank, *(torch.zeros_like(tensors[place]) for place in wanted)

    def goes_on(state: Inputs, *inputs: Any) -> Tensor:
        return state[0] > 0

    def once(
        state: Inputs,
        count: Tensor,
        starts: Tensor,
        sizes: Tensor,
        nodes: Tensor,
        clock: Tensor,
        tensors: Inputs,
        cotangents: Tensor,
        _: Tensor,
    ) -> Inputs:
        left, ahead, *totals = state
        row = (left - 1).clamp(min=0).reshape(1)  # a turn too many, as replays make, changes nothing
        t, h, node, given = (x.index_select(0, row).squeeze(0) for x in (starts, sizes, nodes, cotangents))
        y = layout.view(node)
        chosen = [tensors[place] for place in wanted]
        outputs = tuple(layout.view(part) for part in (ahead, *given[1:].unbind(0)))
        if clock_too:
            back = pull_through(lambda *given: step(clock, tensors, *given), t, h, y, *chosen)
            d_t, d_h, d_y, *parts = back(outputs)
            found = [total.index_copy(0, row, d.unsqueeze(0)) for total, d in zip(totals, (d_t, d_h), strict=False)]
        else:
            back = pull_through(lambda *given: step(clock, tensors, t, h, *given), y, *chosen)
            found = []
            d_y, *parts = back(outputs)
        found += [total + part for total, part in zip(totals[len(found) :], parts, strict=True)]
        return left - 1, layout.store(d_y) + given[0], *found

    def finish(state: Inputs, *inputs: Any) -> Inputs:
        return state[1:]

    return Loop(start, goes_on, once, finish)


def step_of(program: Program, tableau: Tableau, wanted: Sequence[int], *, dense: bool) -> Callable[..., Inputs]:
    """Return ``step(clock, tensors, t, h, y, *chosen)``: the state at a step's end and, if ``dense``, its
    interpolant's coefficients.

    ``chosen`` stand for the ``tensors`` at the places ``wanted``.
    """

    def step(clock: Tensor, tensors: Inputs, t: Tensor, h: Tensor, y: Tensor, *chosen: Tensor) -> Inputs:
        full = list(tensors)
        for place, tensor in zip(wanted, chosen, strict=True):
            full[place] = tensor
        rhs = rhs_of(program, Clock(*clock.unbind(0)), full)
        one = take_step(rhs, tableau, t, y, h)
        if not dense:
            return (one.y,)
        return one.y, *coefficients(rhs, tableau, t, y, h, one, end_derivative(rhs, t, h, one))

    return step


def pull_through(function: Callable[..., Any], *at: Tensor) -> Callable[..., Inputs]:
    """Return the function that pulls cotangents of ``function``'s value back to the inputs that it is evaluated at."""
    found: Any = torch.func.vjp(function, *at)
    return found[1]  # type: ignore[no-any-return]
