r"""Outputs read from a block of steps, and their cotangents gathered back into it.

Row :math:`i` of a block holds the state at step :math:`i`'s start and its interpolant's coefficients
:math:`F_1, \dots, F_m`; the row behind the last step holds the state there. An output is a sum over one row,
:math:`y = \sum_p w_p(\theta) \, T_{i,p}`, see :mod:`physode.solvers.interpolation`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from physode.compiled.loops import Loop
from physode.solvers.interpolation import Location

__all__ = ["Place", "gather", "gather_each", "place_of", "scatter", "scatter_each", "weights_of"]

_WIDE = 2048  # elements of a state from which steps are read one by one, their outputs all at once


class Place(NamedTuple):
    """Where outputs lie in a block, ``(outputs, *groups)``: the row, how far into the step, and whether in this block.

    An output at a step's end is the next row's start. ``left`` is in the state's precision.
    """

    row: Tensor
    left: Tensor
    inside: Tensor


def place_of(location: Location, dtype: torch.dtype) -> Place:
    """Return the place of outputs that all lie in the block."""
    at_end = location.theta == 1.0
    return Place(location.step + at_end, torch.where(at_end, 0.0, location.theta).to(dtype), torch.ones_like(at_end))


def weights_of(place: Place, columns: int) -> Tensor:
    """Return the weights of a row's columns in each output, ``(outputs, columns, *groups)``."""
    return torch.stack(_basis(place.left, columns), 1)


def _basis(left: Tensor, columns: int) -> list[Tensor]:
    right = 1.0 - left
    weights = [torch.ones_like(left)]
    basis = left
    for p in range(columns - 1):
        weights.append(basis)
        basis = basis * (right if p % 2 == 0 else left)
    return weights


def gather(block: Tensor, rows: Tensor, weights: Tensor, outputs: Tensor) -> None:
    """Read ``outputs``, ``(outputs, *stored)``, from a ``block``, ``(steps + 1, columns, *stored)``; ``rows`` rise."""
    size = outputs[0].numel()
    flat, into = block.view(*block.shape[:2], size), outputs.view(len(outputs), size)
    if flat.shape[2] < _WIDE:
        torch.bmm(weights.unsqueeze(1), flat.index_select(0, rows), out=into.unsqueeze(1))
        return
    for i, a, b in _segments(rows, len(block)):
        torch.mm(weights[a:b], flat[i], out=into[a:b])


def scatter(given: Tensor, rows: Tensor, weights: Tensor, used: int, blank: Tensor) -> Tensor:
    """Return what cotangents of outputs are to a block's first ``used`` rows; ``blank`` has the block's shape."""
    found = blank.view(*blank.shape[:2], blank[0, 0].numel())
    found[:used] = 0.0
    if found.shape[2] < _WIDE:
        found.index_add_(0, rows, weights.unsqueeze(2) * given.reshape(len(rows), 1, -1))
    else:
        for i, a, b in _segments(rows, used):
            torch.mm(weights[a:b].T, given[a:b].reshape(b - a, -1), out=found[i])
    return blank


def _segments(rows: Tensor, count: int) -> list[tuple[int, int, int]]:
    """Return ``(row, from, to)`` for each row that outputs are read from."""
    bounds = torch.searchsorted(rows, torch.arange(count + 1, device=rows.device)).tolist()
    return [(i, a, b) for i, (a, b) in enumerate(pairwise(bounds)) if a < b]


def gather_each(batch_last: bool) -> Callable[..., tuple[Tensor, ...]]:
    """Return :func:`gather` for samples with steps of their own: ``rows`` are ``(outputs, batch)``.

    Outputs that do not lie in the block (``inside`` is False) stay as they are.
    """

    def read(block: Tensor, rows: Tensor, left: Tensor, inside: Tensor, outputs: Tensor) -> tuple[Tensor, ...]:
        steps = _flat(block, 2, batch_last)
        components, batch = (torch.arange(n, device=rows.device) for n in steps.shape[2:])
        index = rows.unsqueeze(1), components[:, None], batch
        parts = [weight.unsqueeze(1) * steps[:, p][index] for p, weight in enumerate(_basis(left, steps.shape[1]))]
        # At a step's start the state itself, though what follows may not be finite.
        found = torch.where(left.unsqueeze(1) == 0.0, parts[0], reduce(add, parts))
        known = _flat(outputs, 1, batch_last)
        known.copy_(torch.where(inside.unsqueeze(1), found, known))
        return (inside.any(),)

    return read


def _flat(x: Tensor, leading: int, batch_last: bool) -> Tensor:
    """Return a view with the state as ``(components, batch)`` behind ``leading`` axes."""
    if x.ndim == leading + 1:
        return x.unsqueeze(leading)
    if batch_last:
        return x.flatten(leading, -2)
    return x.flatten(leading + 1).transpose(-1, -2)


def scatter_each(batch_last: bool) -> Loop:
    """Return :func:`scatter` for samples with steps of their own, into ``blank``.

    The loop's inputs are ``(given, rows, left, inside, blank)``. One output after the other is added to the blocks'
    rows: for one output no two samples share an element, so that no sum depends on the order of threads.
    """

    def start(given: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros((), dtype=torch.int64, device=given.device),)

    def goes_on(state: tuple[Tensor, ...], given: Tensor, *rest: Tensor) -> Tensor:
        return state[0] < len(given)

    def once(
        state: tuple[Tensor, ...], given: Tensor, rows: Tensor, left: Tensor, inside: Tensor, blank: Tensor
    ) -> tuple[Tensor, ...]:
        found, cotangents = _flat(blank, 2, batch_last), _flat(given, 1, batch_last)
        columns, components, batch = (torch.arange(n, device=rows.device) for n in found.shape[1:])
        at = state[0].reshape(1)
        row, theta, value, here = (x.index_select(0, at).squeeze(0) for x in (rows, left, cotangents, inside))
        index = row, columns[:, None, None], components[:, None], batch
        weights = torch.stack(_basis(theta, len(columns))).unsqueeze(1)
        found.index_put_(index, found[index] + torch.where(here, weights * value, 0.0))
        return (state[0] + 1,)

    def finish(state: tuple[Tensor, ...], *rest: Tensor) -> tuple[Tensor, ...]:
        return state

    return Loop(start, goes_on, once, finish, written=4)
