"""Steps on a given grid as one tensor program."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from physode.compiled.capture import Program
from physode.compiled.forward import Clock, Record, rhs_of
from physode.compiled.layout import Layout
from physode.solvers.stepper import interpolant, take_step
from physode.solvers.tableaus import Tableau

__all__ = ["marching"]


def marching(program: Program, tableau: Tableau, layout: Layout, *, dense: bool) -> Callable[..., tuple[Tensor, ...]]:
    """Return the function that takes a block's ``count`` steps, whose clock the record holds.

    States and interpolants are written into the record; it returns the state at the end, and whether that is finite.
    """

    def walk(
        count: Tensor, y: Tensor, record: Record, clock: Clock, tensors: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        rhs = rhs_of(program, clock, tensors)

        def goes_on(row: Tensor, y: Tensor, k: Tensor) -> Tensor:
            return row < count

        def once(row: Tensor, y_stored: Tensor, k_stored: Tensor) -> tuple[Tensor, ...]:
            at = row.reshape(1)
            t, h, end = (part.index_select(0, at).squeeze(0) for part in (record.starts, record.sizes, record.ends))
            y, k = layout.view(y_stored), layout.view(k_stored)
            step = take_step(rhs, tableau, t, y, h, k)
            k_end = rhs(end, step.y)
            rows = [y]
            if dense:
                rows += interpolant(rhs, tableau, t, y, h, step, k_end).unbind(0)
            record.steps.index_copy_(0, at, torch.stack([layout.store(x) for x in rows]).unsqueeze(0))
            return row + 1, layout.store(step.y), layout.store(k_end)

        first = torch.zeros((), dtype=torch.int64, device=y.device)
        start = (first, y.clone(), layout.store(rhs(record.starts[0], layout.view(y))))
        _, y_end, _ = while_loop(goes_on, once, start)
        return y_end, torch.isfinite(y_end).all()

    return walk
