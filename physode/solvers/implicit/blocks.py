"""States as rows of independent blocks: what one matrix of an implicit method acts on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from physode.solvers.clock import Number, expand
from physode.solvers.implicit.structure import Structure

__all__ = ["Blocks", "blocks_of"]


class Blocks(NamedTuple):
    """A state's shape, the number of its independent blocks, and whether it is complex.

    Equations are solved over the real numbers, as a derivative may depend on a complex state's conjugate: there, real
    and imaginary parts are components that follow one another.
    """

    shape: torch.Size
    number: int
    complex: bool = False

    @property
    def dimension(self) -> int:
        """A block's number of real components."""
        return (1 + self.complex) * self.shape.numel() // max(self.number, 1)

    def split(self, state: Tensor) -> Tensor:
        """Return the state as ``(blocks, D)``, real."""
        parts = torch.view_as_real(state.resolve_conj()) if self.complex else state
        return parts.reshape(self.number, self.dimension)

    def join(self, rows: Tensor) -> Tensor:
        """Return ``(blocks, D)`` as a state."""
        if self.complex:
            return torch.view_as_complex(rows.reshape(*self.shape, 2).contiguous())
        return rows.reshape(self.shape)

    def split_each(self, states: Tensor) -> Tensor:
        """Return states ``(n, *state)`` as ``(n, blocks, D)``."""
        parts = torch.view_as_real(states.resolve_conj()) if self.complex else states
        return parts.reshape(len(states), self.number, self.dimension)

    def join_each(self, rows: Tensor) -> Tensor:
        """Return ``(n, blocks, D)`` as states ``(n, *state)``."""
        if self.complex:
            return torch.view_as_complex(rows.reshape(len(rows), *self.shape, 2).contiguous())
        return rows.reshape(len(rows), *self.shape)

    def size(self, h: Number, like: Tensor) -> Number:
        """Return step sizes so that they multiply ``(blocks, D)``: a float, or a tensor in the state's dtype."""
        return expand(h.to(like.dtype), 2) if isinstance(h, Tensor) else h


def blocks_of(y: Tensor, h: Number, structure: Structure) -> Blocks:
    """Return a state's blocks: its samples where each has its own clock or is known to stand alone, else the whole.

    A right-hand side may couple everything that shares a clock.
    """
    alone = structure.kind == "samples" or (isinstance(h, Tensor) and h.ndim == 1)
    return Blocks(y.shape, len(y) if alone and y.ndim else 1, y.is_complex())
