"""States as rows of independent blocks: what one matrix of an implicit method acts on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.groups import expand
from physode.solvers.implicit.structure import Structure
from physode.solvers.numbers import Number

__all__ = ["Blocks", "blocks_of", "sized"]


class Blocks(NamedTuple):
    """A state's shape and the number of its independent blocks."""

    shape: torch.Size
    number: int

    @property
    def dimension(self) -> int:
        """A block's number of components."""
        return self.shape.numel() // max(self.number, 1)

    def split(self, state: Tensor) -> Tensor:
        """Return the state as ``(blocks, D)``."""
        return state.reshape(self.number, self.dimension)

    def join(self, rows: Tensor) -> Tensor:
        """Return ``(blocks, D)`` as a state."""
        return rows.reshape(self.shape)

    def size(self, h: Number, like: Tensor) -> Number:
        """Return step sizes so that they multiply ``(blocks, D)``: a float, or a tensor in the state's dtype."""
        return expand(h.to(like.dtype), 2) if isinstance(h, Tensor) else h


def blocks_of(y: Tensor, h: Number, structure: Structure) -> Blocks:
    """Return a state's blocks: its samples where each has its own clock or is known to stand alone, else the whole.

    A right-hand side may couple everything that shares a clock.
    """
    alone = structure.kind == "samples" or (isinstance(h, Tensor) and h.ndim == 1)
    return Blocks(y.shape, len(y) if alone and y.ndim else 1)


def sized(h: Number, y: Tensor) -> Number:
    """Return step sizes so that they multiply states."""
    return expand(h.to(y.dtype), y.ndim) if isinstance(h, Tensor) else h
