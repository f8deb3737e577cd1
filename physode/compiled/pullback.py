"""ACA's backward pass as one tensor program: each accepted step replayed and pulled back, from the last to the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from physode.compiled.capture import Program
from physode.compiled.forward import Clock, Record, rhs_of
from physode.compiled.layout import Layout
from physode.solvers.stepper import end_derivative, interpolant, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["pulling"]


def pulling(
    program: Program, tableau: Tableau, layout: Layout, wanted: Sequence[int], *, dense: bool, clock_too: bool
) -> Callable[..., tuple[Tensor, ...]]:
    """Return the function that pulls cotangents back through a block of recorded steps.

    ``wanted`` are the places, among the program's further tensors, of those to differentiate with respect to.
    ``clock_too`` asks for the gradients in the steps' starts and sizes, written into the blocks given for them.
    """

    def pull(
        count: Tensor,
        record: Record,
        clock: Clock,
        tensors: tuple[Tensor, ...],
        cotangents: Tensor,
        ahead: Tensor,
        d_starts: Tensor,
        d_sizes: Tensor,
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
            t, h, rows, given = (
                block.index_select(0, row).squeeze(0) for block in (record.starts, record.sizes, record.steps, cotangents)
            )
            y = layout.view(rows[0])
            chosen = [tensors[place] for place in wanted]
            outputs = (layout.view(ahead), layout.view(given[1:], 1))[: 1 + dense]
            if clock_too:
                _, back = torch.func.vjp(step, t, h, y, *chosen)
                d_t, d_h, d_y, *parts = back(outputs)
                d_starts.index_copy_(0, row, d_t.unsqueeze(0))
                d_sizes.index_copy_(0, row, d_h.unsqueeze(0))
            else:
                _, back = torch.func.vjp(lambda y, *chosen: step(t, h, y, *chosen), y, *chosen)
                d_y, *parts = back(outputs)
            return (
                left - 1,
                layout.store(d_y) + given[0],
                *(total + part for total, part in zip(totals, parts, strict=True)),
            )

        zeros = [torch.zeros_like(tensors[place]) for place in wanted]
        found = while_loop(goes_on, once, (count.clone(), ahead.clone(), *zeros))
        return found[1:]  # type: ignore[no-any-return]

    return pull
