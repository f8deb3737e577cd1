"""What is known of a Jacobian beforehand: the state's independent blocks, where a block's matrix may have entries, and
the cotangents whose pull-backs show all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from physode.autograd import to_keep
from physode.solvers.clock import N, Number, expand
from physode.solvers.implicit.banded import Band

__all__ = ["DENSE", "Blocks", "Structure", "blocks_of", "structure_of", "to_solve"]


_SMALLEST, _SHARE = 32, 4  # rows, and rows by the band's width, below which a dense matrix is solved as fast


@dataclass(frozen=True)
class Structure:
    """Where a Jacobian may have entries other than 0.

    Attributes
    ----------
    kind
        ``"dense"``: anywhere. ``"diagonal"``, ``"banded"``: on the diagonal, on a band beside it. ``"samples"``: in
        one dense block for each element of the state's leading axis.
    lower, upper
        A band's width below and above the diagonal.
    """

    kind: Literal["dense", "diagonal", "banded", "samples"] = "dense"
    lower: int = 0
    upper: int = 0

    def of_pairs(self) -> Structure:
        """Return what is known where each component has become two, that follow one another and act on each other."""
        if self.kind in ("diagonal", "banded"):
            return Structure("banded", 2 * self.lower + 1, 2 * self.upper + 1)
        return self

    def products(self, dimension: int) -> int:
        """Return how many pull-backs show a Jacobian of so many rows."""
        if self.kind == "diagonal":
            return min(1, dimension)
        return min(dimension, self.lower + self.upper + 1) if self.kind == "banded" else dimension

    def cotangents(self, dimension: int, like: Tensor) -> Tensor:
        """Return the cotangents to pull back, ``(products, dimension)``: rows that share no column are added up.

        Row i of a band has its entries in columns i - lower to i + upper, so that rows lower + upper + 1 apart never
        meet (Curtis, Powell & Reid, J. Inst. Maths Applics 13 (1974) 117-119, for pull-backs).
        """
        return _cotangents(self.products(dimension), dimension, like.dtype, like.device)

    def is_kept_as_band(self, dimension: int) -> bool:
        """Whether of matrices of so many rows only the band is kept: not of small ones, nor for wide bands."""
        banded = self.kind in ("diagonal", "banded")
        return banded and dimension >= _SMALLEST and _SHARE * (self.lower + self.upper + 1) <= dimension

    def kept(self, matrix: Tensor) -> Tensor | Band:
        """Return what is kept of matrices ``(blocks, D, D)``."""
        matrix = to_solve(matrix)
        return Band.within(matrix, self.lower, self.upper) if self.is_kept_as_band(matrix.shape[-1]) else matrix

    def entries(self, dimension: int) -> int:
        """Return how many entries are kept of a matrix of so many rows."""
        return dimension * (self.lower + self.upper + 1 if self.is_kept_as_band(dimension) else dimension)

    def spread(self, rows: Tensor) -> Tensor | Band:
        """Return the matrices from what was pulled back, ``(products, blocks, D)``; a :class:`Band` where that pays."""
        products, _, dimension = rows.shape
        rows = to_solve(rows)
        if self.is_kept_as_band(dimension):
            return Band.compressed(rows, self.lower, self.upper)
        compressed = rows.transpose(0, 1)
        if self.kind not in ("diagonal", "banded"):
            return compressed
        column, mask = _band(products, dimension, self.lower, self.upper, rows.device)
        return torch.where(mask, compressed.index_select(1, column), 0.0)


DENSE = Structure()
"""Nothing known."""


def structure_of(hint: object) -> Structure:
    """Return what a hint ``"dense"``, ``"diagonal"``, ``"samples"`` or ``("banded", lower, upper)`` says.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if hint in ("dense", "diagonal", "samples"):
        return Structure(hint)
    if (
        isinstance(hint, (tuple, list))
        and len(hint) == 3
        and hint[0] == "banded"
        and all(isinstance(width, int) and width >= 0 for width in hint[1:])
    ):
        return Structure("banded", hint[1], hint[2])
    raise ValueError(
        "`jac_structure` must be 'dense', 'diagonal', 'samples' or ('banded', lower, upper) with widths of at least "
        f"0, got {hint!r}"
    )


def to_solve(x: Tensor) -> Tensor:
    """Return a matrix or state in a precision that systems are solved in: half as single."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@lru_cache(maxsize=64)
def _cotangents(products: int, dimension: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with to_keep():
        rows = torch.arange(dimension, device=device) % max(products, 1)
        return (rows == torch.arange(products, device=device)[:, None]).to(dtype)


@lru_cache(maxsize=64)
def _band(products: int, dimension: int, lower: int, upper: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the product that each row is in, and which entries belong to the band."""
    with to_keep():
        index = torch.arange(dimension, device=device)
        offset = index - index[:, None]
        return index % max(products, 1), (offset >= -lower) & (offset <= upper)


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

    def size(self, h: N, like: Tensor) -> N:
        """Return step sizes so that they multiply ``(blocks, D)``: a float, or a tensor in the state's dtype."""
        return expand(h.to(like.dtype), 2) if isinstance(h, Tensor) else h


def blocks_of(y: Tensor, h: Number, structure: Structure) -> Blocks:
    """Return a state's blocks: its samples where each has its own clock or is known to stand alone, else the whole.

    A right-hand side may couple everything that shares a clock.
    """
    alone = structure.kind == "samples" or (isinstance(h, Tensor) and h.ndim == 1)
    return Blocks(y.shape, len(y) if alone and y.ndim else 1, y.is_complex())
