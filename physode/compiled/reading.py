r"""Outputs read from a table of steps, and their cotangents gathered back into it.

Row :math:`i` of a table holds the state at step :math:`i`'s start and its interpolant's coefficients
:math:`F_1, \dots, F_m`; the last row holds the end of the solve. An output is a sum over one row,
:math:`y = \sum_p w_p(\theta) \, T_{i,p}`, see :mod:`physode.solvers.interpolation`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physode.solvers.interpolation import Location

__all__ = ["read", "weights_of"]

_WIDE = 2048  # elements of a state from which steps are read one by one, their outputs all at once


def weights_of(location: Location, columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return each output's row and weights ``(outputs, columns)``; one at a step's end is the next row's start."""
    at_end = location.theta == 1.0
    left = torch.where(at_end, 0.0, location.theta).to(dtype)
    weights = [torch.ones_like(left)]
    basis = left
    for p in range(columns - 1):
        weights.append(basis)
        basis = basis * ((1.0 - left) if p % 2 == 0 else left)
    return location.step + at_end, torch.stack(weights, -1)


def read(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Evaluate outputs.

    Parameters
    ----------
    table
        ``(steps + 1, columns, *stored)``.
    rows
        Each output's row, rising, ``(outputs,)``.
    weights
        ``(outputs, columns)``.

    Returns
    -------
    Tensor
        ``(outputs, *stored)``.
    """
    flat = _Read.apply(table.flatten(2), rows, weights)  # type: ignore[no-untyped-call]
    return flat.reshape(len(rows), *table.shape[2:])  # type: ignore[no-any-return]


def _segments(rows: Tensor, count: int) -> list[tuple[int, int, int]]:
    """Return ``(row, from, to)`` for each row that outputs are read from."""
    bounds = torch.searchsorted(rows, torch.arange(count + 1, device=rows.device)).tolist()
    return [(i, a, b) for i, (a, b) in enumerate(zip(bounds, bounds[1:], strict=False)) if a < b]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        if table.shape[2] < _WIDE:
            return torch.bmm(weights.unsqueeze(1), table.index_select(0, rows)).squeeze(1)
        outputs = table.new_empty(len(rows), table.shape[2])
        for i, a, b in _segments(rows, len(table)):
            torch.mm(weights[a:b], table[i], out=outputs[a:b])
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, given: Tensor) -> Any:
        table, rows, weights = ctx.saved_tensors
        found, in_weights = torch.zeros_like(table), torch.empty_like(weights)
        if table.shape[2] < _WIDE:
            found.index_add_(0, rows, weights.unsqueeze(2) * given.unsqueeze(1))
            if ctx.needs_input_grad[2]:
                in_weights = torch.bmm(table.index_select(0, rows), given.unsqueeze(2)).squeeze(2)
            return found, None, in_weights
        for i, a, b in _segments(rows, len(table)):
            torch.mm(weights[a:b].T, given[a:b], out=found[i])
            if ctx.needs_input_grad[2]:
                torch.mm(given[a:b], table[i].T, out=in_weights[a:b])
        return found, None, in_weights
