"""ACA's backward pass as one tensor program: each accepted step replayed and pulled back, from the last to the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from physode.compiled.capture import Program
from physode.compiled.forward import Clock, rhs_of
from physode.compiled.layout import Layout
from physode.solvers.stepper import end_derivative, interpolant, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["pulling"]


def pulling(
    program: Program, tableau: Tableau, layout: Layout, wanted: Sequence[int], *, dense: bool, clock_too: bool
) -> Callable[..., tuple[Tensor, ...]]:
    """Return the function that pulls cotangents back through a block of ``count`` steps.

    ``wanted`` are the places, among the program's further tensors, of those to differentiate with respect to. It
    returns dL/dy at the block's start, with ``clock_too`` dL/d(starts) and dL/d(sizes), and its part of dL/d(wanted).
    """

    def pull(
        count: Tensor,
        starts: Tensor,
        sizes: Tensor,
        nodes: Tensor,
        clock: Clock,
        tensors: tuple[Tensor, ...],
        cotangents: Tensor,
        ahead: Tensor,
    ) -> tuple[Tensor, ...]:
        def step(t: Tensor, h: Tensor, y: Tensor, *chosen: Tensor) -> tuple[Tensor, ...]:
            full = list(tensors)
            for place, tensor in zip(wanted, chosen, strict=True):
                full[place] = tensor
            rhs = rhs_of(program, clock, full)
            one = take_step(rhs, tableau, t, y, h)
            if not dense:
                return (one.y,)
            return one.y, interpolant(rhs, tableau, t, y, h, one, end_derivative(rhs, t, h, one))

        def goes_on(left: Tensor, *rest: Tensor) -> Tensor:
            return left > 0

        def once(left: Tensor, ahead: Tensor, *totals: Tensor) -> tuple[Tensor, ...]:
            row = (left - 1).reshape(1)
            t, h, node, given = (x.index_select(0, row).squeeze(0) for x in (starts, sizes, nodes, cotangents))
            y = layout.view(node)
            chosen = [tensors[place] for place in wanted]
            outputs = (layout.view(ahead), layout.view(given[1:], 1))[: 1 + dense]
            if clock_too:
                _, back = torch.func.vjp(step, t, h, y, *chosen)
                d_t, d_h, d_y, *parts = back(outputs)
                found = [total.index_copy(0, row, d.unsqueeze(0)) for total, d in zip(totals, (d_t, d_h), strict=False)]
            else:
                _, back = torch.func.vjp(lambda y, *chosen: step(t, h, y, *chosen), y, *chosen)
                found = []
                d_y, *parts = back(outputs)
            found += [total + part for total, part in zip(totals[len(found) :], parts, strict=True)]
            return left - 1, layout.store(d_y) + given[0], *found

        blank = [torch.zeros_like(starts), torch.zeros_like(sizes)] if clock_too else []
        start = (count.clone(), ahead.clone(), *blank, *(torch.zeros_like(tensors[place]) for place in wanted))
        return tuple(while_loop(goes_on, once, start)[1:])

    return pull
