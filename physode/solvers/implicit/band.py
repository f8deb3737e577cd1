r"""Matrices of which only a band is kept, column by column.

Entry :math:`(j, q)` of a block is that of column :math:`j` and row :math:`j - u + q`, :math:`q = 0, \dots, l + u`, with
:math:`l` and :math:`u` the band's widths below and above the diagonal; 0 where there is no such row. So do LAPACK's
banded matrices lie in memory, and so do pull-backs of cotangents that were added up come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from physode.solvers.clock import Number
from physode.transforms import to_keep

__all__ = ["Band", "windows"]


class Band(NamedTuple):
    """Banded matrices, one a block: their entries ``(blocks, D, lower + upper + 1)`` and the band's widths."""

    entries: Tensor
    lower: int
    upper: int

    @classmethod
    def compressed(cls, rows: Tensor, lower: int, upper: int) -> Band:
        """Return the matrices from sums of rows that are ``lower + upper + 1`` apart, ``(sums, blocks, D)``."""
        columns = rows.permute(1, 2, 0)
        place, inside = _places(columns.shape[1], lower, upper, rows.device)
        return cls(torch.where(inside, columns.gather(2, place.expand_as(columns)), 0.0), lower, upper)

    @classmethod
    def within(cls, matrix: Tensor, lower: int, upper: int) -> Band:
        """Return the band of matrices ``(blocks, D, D)``."""
        slots = torch.arange(-upper, lower + 1, device=matrix.device)
        columns = torch.arange(matrix.shape[-1], device=matrix.device)[:, None]
        rows = columns + slots
        inside = (rows >= 0) & (rows < matrix.shape[-1])
        return cls(torch.where(inside, matrix[:, rows.clamp(0, matrix.shape[-1] - 1), columns], 0.0), lower, upper)

    def transposed(self) -> Band:
        """Return the transposed matrices."""
        width = self.lower + self.upper + 1
        columns = pad(self.entries, (0, 0, self.lower, self.upper)).unfold(1, width, 1)
        return Band(columns.flip(2).diagonal(dim1=2, dim2=3), self.upper, self.lower)

    def pulled(self, x: Tensor) -> Tensor:
        """Return ``x^T M``, ``(blocks, D)``."""
        return (self.entries * windows(x, self.upper, self.lower)).sum(-1)

    def times(self, other: Band) -> Band:
        """Return the product with other matrices."""
        size, reach = self.entries.shape[1], other.lower + other.upper
        columns = pad(self.entries, (0, 0, other.upper, other.lower))
        total = pad(other.entries[..., :1] * columns[:, :size], (0, reach))
        for r in range(1, reach + 1):
            total = total + pad(other.entries[..., r, None] * columns[:, r : r + size], (r, reach - r))
        return Band(total, self.lower + other.lower, self.upper + other.upper)

    def shifted(self, h: Number, gamma: float) -> Band:
        """Return ``I - h gamma M``."""
        size = -gamma * h if not isinstance(h, Tensor) else -gamma * h.to(self.entries.dtype).reshape(-1, 1, 1)
        return self._replace(entries=self._unit() + size * self.entries)

    def _unit(self) -> Tensor:
        return _unit(self.entries.shape[-1], self.upper, self.entries.dtype, self.entries.device)

    @staticmethod
    def coupled(matrices: Sequence[Band], a: Sequence[Sequence[float]], h: Number) -> Band:
        r"""Return the matrices :math:`\delta_{ij} I - h a_{ij} M_i` of coupled stages, in a band.

        The unknowns are in order of components, and for each of stages: rows :math:`(i, a)`, columns :math:`(j, b)`.
        """
        stages, (entries, lower, upper) = len(a), matrices[0]
        length = h.to(entries.dtype).reshape(-1, 1, 1) if isinstance(h, Tensor) else h
        columns = []
        for b in range(stages):
            parts = [(-row[b] * length) * m.entries for row, m in zip(a, matrices, strict=True)]
            columns.append(pad(torch.stack(parts, -1).flatten(2), (stages - 1 - b, b)))
        found = torch.stack(columns, 2).flatten(1, 2)
        band = Band(found, stages * lower + stages - 1, stages * upper + stages - 1)
        return band._replace(entries=band._unit() + found)


def windows(x: Tensor, before: int, after: int) -> Tensor:
    """Return of each component those ``before`` to ``after`` it, ``(blocks, D, before + after + 1)``; 0 outside."""
    return pad(x, (before, after)).unfold(-1, before + after + 1, 1)


@lru_cache(maxsize=16)
def _places(dimension: int, lower: int, upper: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sum that each entry is in, and which entries belong to the matrix."""
    with to_keep():
        rows = torch.arange(dimension, device=device)[:, None] + torch.arange(-upper, lower + 1, device=device)
        return rows % (lower + upper + 1), (rows >= 0) & (rows < dimension)


@lru_cache(maxsize=64)
def _unit(width: int, place: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with to_keep():
        return (torch.arange(width, device=device) == place).to(dtype)
