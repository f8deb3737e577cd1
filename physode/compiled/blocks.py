"""Blocks of steps, and which outputs lie in each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.compiled.engine import Engine
from physode.compiled.reading import Place, gather, place_of, scatter, weights_of
from physode.solvers.interpolation import Location, locate

__all__ = ["Block", "Reading"]


class Block(NamedTuple):
    """Steps taken in one go: their clock, ``(rows, *groups)``, and their states, ``(rows, columns, *stored)``.

    Only the first ``taken`` rows are steps; the state behind the last stands in the next row. ``outputs`` are the first
    and the last but one that lie in it, ``place`` where (with interpolants only).
    """

    starts: Tensor
    sizes: Tensor
    ends: Tensor
    steps: Tensor
    taken: int
    outputs: tuple[int, int] = (0, 0)
    place: Place | None = None


class Reading:
    """The outputs of a solve, read block by block.

    Attributes
    ----------
    outputs
        As stored, ``(outputs, *stored)``.
    """

    def __init__(self, engine: Engine, t: Tensor, y: Tensor, *, ends_only: bool) -> None:
        self._engine, self._t, self._ends_only = engine, t, ends_only
        self.outputs = torch.empty(len(t), *y.shape, dtype=y.dtype, device=y.device)
        self._direction = torch.where(t[-1] >= t[0], 1.0, -1.0)

    def read(self, block: Block, before: Block | None) -> Block:
        """Read a block's outputs; return it with their places. ``before`` is the block in front of it."""
        first = 0 if before is None else before.outputs[1]
        if self._ends_only:
            return self._read_ends(block, first)
        if not self._engine.dense:
            behind = first + block.taken + (before is None)
            self.outputs[first:behind] = block.steps[block.taken + 1 - (behind - first) : block.taken + 1, 0]
            return block._replace(outputs=(first, behind))
        if self._t.ndim == 2:
            return self._read_each(block, before is None)
        t, count = self._t, block.taken
        if count == 0:
            nothing = torch.zeros(1, dtype=torch.int64, device=t.device)
            behind, location = first + (before is None), Location(nothing, nothing.double())
            location = Location(*(part[: behind - first] for part in location))
        else:
            end = self._direction * block.ends[count - 1]
            behind = int(torch.searchsorted(self._direction * t, end, right=True))
            clock = (part[:count] for part in (block.starts, block.sizes, block.ends))
            location = locate(t[first:behind], *clock)
        place = place_of(location, self.outputs.dtype)
        if behind > first:
            weights = weights_of(place, block.steps.shape[1])
            gather(block.steps, place.row, weights, self.outputs[first:behind])
        return block._replace(outputs=(first, behind), place=place)

    def _read_ends(self, block: Block, first: int) -> Block:
        """Read the state at the start, and that at the end so far."""
        if first == 0:
            self.outputs[0] = block.steps[0, 0]
        self.outputs[1] = block.steps[block.taken, 0]
        return block._replace(outputs=(first, 1))

    def _read_each(self, block: Block, is_first: bool) -> Block:
        """Read outputs of samples with clocks of their own: every output may lie in every block."""
        t, count = self._t * self._direction, block.taken
        if count == 0:
            nothing = torch.zeros(self._t.shape, dtype=torch.int64, device=t.device)
            location, inside = Location(nothing, nothing.double()), torch.zeros_like(nothing, dtype=torch.bool)
            inside[0] = is_first
        else:
            clock = tuple(part[:count] for part in (block.starts, block.sizes, block.ends))
            location = locate(self._t, *clock)
            inside = (t > clock[0][0] * self._direction) & (t <= clock[2][-1] * self._direction)
            inside[0] |= is_first
        place = place_of(location, self.outputs.dtype)._replace(inside=inside)
        place = Place(*(part.contiguous() for part in place))  # as compiled programs are to find them
        self._engine.gather_each(block.steps, *place, self.outputs)
        return block._replace(outputs=(0, len(t)), place=place)

    def cotangents(self, given: Tensor, block: Block, blank: Tensor, *, is_last: bool) -> Tensor:
        """Return what cotangents of the outputs, as stored, are to the block's rows; ``blank`` is written over."""
        used = block.taken + 1
        if self._engine.dense and self._t.ndim < 2:
            first, behind = block.outputs
            assert block.place is not None
            weights = weights_of(block.place, blank.shape[1])
            return scatter(given[first:behind], block.place.row, weights, used, blank)
        blank[:used] = 0.0
        if self._ends_only:
            if block.outputs[0] == 0:
                blank[0, 0] = given[0]
            if is_last:
                blank[block.taken, 0] += given[1]
        elif not self._engine.dense:
            first, behind = block.outputs
            blank[used - (behind - first) : used, 0] = given[first:behind]
        else:
            assert block.place is not None
            self._engine.scatter_each(given.contiguous(), *block.place, blank)
        return blank
