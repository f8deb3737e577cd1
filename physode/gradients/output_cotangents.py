"""What outputs ask of steps: where each output lies, and the cotangents of nodes and interpolants that follow."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from physode.gradients.replay import add
from physode.solvers.clock import Grid, expand
from physode.solvers.interpolation import Location, interpolate, locate

__all__ = ["Dense", "Nodes", "OutputCotangents", "Places", "places"]


class Places(NamedTuple):
    """Outputs sorted by the step that each lies in; of all groups, each group's outputs are its own.

    ``outputs`` and ``groups`` are ``(n,)``; ``theta``, ``(outputs, *groups)``, is how far into its step each output
    lies, differentiable; those in step i are ``bounds[i]`` to ``bounds[i + 1]``. Those not reached are left out.
    """

    outputs: Tensor
    groups: Tensor | None
    theta: Tensor
    bounds: array[int]

    @property
    def steps(self) -> int:
        """How many steps there are up to the last that an output lies in."""
        return bisect_left(self.bounds, len(self.outputs))

    def inside(self, step: int, theta: Tensor) -> bool:
        """Whether an output lies strictly inside a step."""
        part = self.pick(theta, self.rows(step))
        return bool(((part > 0.0) & (part < 1.0)).any())

    def rows(self, step: int) -> slice:
        """Return which of them lie in a step."""
        return slice(self.bounds[step], self.bounds[step + 1])

    def pick(self, values: Tensor, rows: slice) -> Tensor:
        """Take some of ``values``, ``(outputs, *groups, ...)``."""
        if self.groups is None:
            return values[self.outputs[rows]]
        return values[self.outputs[rows], self.groups[rows]]


def places(times: Tensor, grid: Grid) -> Places:
    """Find the steps that output times lie in."""
    step, theta = locate(times, *grid)
    direction = torch.sign(grid.ends[-1] - grid.starts[0]).detach()
    reached = (direction * (times - grid.ends[-1]).detach() <= 0).nonzero()
    outputs, groups = reached[:, 0], reached[:, 1] if times.ndim == 2 else None
    steps = step[outputs] if groups is None else step[outputs, groups]
    steps, order = torch.sort(steps, stable=True)
    bounds = torch.searchsorted(steps, torch.arange(len(grid.starts) + 2, device=steps.device))
    return Places(outputs[order], None if groups is None else groups[order], theta, array("q", bounds.tolist()))


class OutputCotangents:
    """dL/d(node) and dL/d(interpolant) of any step, from dL/d(outputs).

    An output at a step's end is the node there; one before it is linear in the node at the step's start and the
    coefficients of the interpolant, see :mod:`physode.solvers.interpolation`.
    """

    def __init__(self, locations: Places, cotangents: Tensor, like: Tensor, coefficients: int) -> None:
        self._locations, self._cotangents, self._like = locations, cotangents, like
        self._coefficients = coefficients
        self._theta = locations.theta.detach()

    def node(self, row: int) -> Tensor | None:
        """Return what outputs ask of a node: of the step that starts there, and of the one that ends there."""
        started = self._start_or_end(row, at_end=False)
        ended = self._start_or_end(row - 1, at_end=True) if row else None
        return add(started, ended)

    def _start_or_end(self, step: int, *, at_end: bool) -> Tensor | None:
        rows = self._locations.rows(step)
        if rows.start == rows.stop:
            return None
        theta = self._locations.pick(self._theta, rows)
        return self._gathered(rows, (theta == 1.0) if at_end else (theta != 1.0), None)

    def inside(self, step: int) -> bool:
        """Whether an output lies strictly inside a step."""
        return self._locations.inside(step, self._theta)

    def dense(self, step: int) -> Tensor:
        """Return what outputs ask of a step's interpolant, ``(m, *state)``."""
        rows = self._locations.rows(step)
        theta = self._locations.pick(self._theta, rows)
        inside = theta != 1.0
        left = theta.to(self._like.real.dtype if self._like.is_complex() else self._like.dtype)
        right, basis, parts = 1.0 - left, left, []
        for p in range(self._coefficients):
            parts.append(self._gathered(rows, inside, basis))
            basis = basis * (right if p % 2 == 0 else left)
        return torch.stack(parts)

    def _gathered(self, rows: slice, which: Tensor, weights: Tensor | None) -> Tensor:
        """Sum the cotangents of some outputs of a step, weighted, by group."""
        locations, like = self._locations, self._like
        values = locations.pick(self._cotangents, rows)
        values = torch.where(expand(which, values.ndim), values, 0.0)
        if weights is not None:
            values = values * expand(weights, values.ndim).to(values.dtype)
        if locations.groups is None:
            index = torch.zeros(len(values), dtype=torch.int64, device=like.device)
            return torch.zeros_like(like)[None].index_add(0, index, values)[0]
        return torch.zeros_like(like).index_add(0, locations.groups[rows], values)

    def theta(self, step: int, y: Tensor, dense: Tensor | None, total: Tensor) -> None:
        """Put dL/d(theta) of a step's outputs into ``total``, shaped like theta; given its start and interpolant."""
        if dense is None:
            return
        locations, rows = self._locations, self._locations.rows(step)
        theta = locations.pick(self._theta, rows).requires_grad_()
        with torch.enable_grad():
            if locations.groups is None:
                index = torch.zeros(len(theta), dtype=torch.int64, device=y.device)
                values = interpolate(Location(index, theta), y[None], dense[None], y[None])
            else:
                values = interpolate(Location(locations.groups[rows], theta), y, dense.movedim(1, 0), y)
            (part,) = torch.autograd.grad(values, theta, locations.pick(self._cotangents, rows))
        if locations.groups is None:
            total[locations.outputs[rows]] = part
        else:
            total[locations.outputs[rows], locations.groups[rows]] = part


class Nodes(Mapping[int, Tensor]):
    """What is asked of the nodes of a stretch of steps, numbered from its first.

    Its last node is given; what its first is asked belongs to the stretch before, unless nothing is before it.
    """

    def __init__(self, asked: OutputCotangents, first: int, last: int, state: Tensor | None) -> None:
        self._asked, self._first, self._last, self._state = asked, first, last, state

    def __getitem__(self, row: int) -> Tensor:
        at = self._first + row
        cotangent = None if row == 0 and self._first else self._asked.node(at)
        if at == self._last:
            cotangent = add(self._state, cotangent)
        if cotangent is None:
            raise KeyError(row)
        return cotangent

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._last - self._first + 1))

    def __len__(self) -> int:
        return self._last - self._first + 1


class Dense(Mapping[int, Tensor]):
    """What is asked of the interpolants of a stretch of steps."""

    def __init__(self, asked: OutputCotangents, first: int, last: int) -> None:
        self._asked, self._first, self._last = asked, first, last

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and self._asked.inside(self._first + row)

    def __getitem__(self, row: int) -> Tensor:
        if row not in self:
            raise KeyError(row)
        return self._asked.dense(self._first + row)

    def __iter__(self) -> Iterator[int]:
        return (row for row in range(len(self)) if row in self)

    def __len__(self) -> int:
        return self._last - self._first
