r"""Matrices of which only a band is kept, column by column, and their linear systems, in O(D) operations.

Entry :math:`(j, q)` of a block is that of column :math:`j` and row :math:`j - u + q`, :math:`q = 0, \dots, l + u`, with
:math:`l` and :math:`u` the band's widths below and above the diagonal; 0 where there is no such row. So do LAPACK's
banded matrices lie in memory, and so do pull-backs of cotangents that were added up come out.

Systems are solved by LU factorisations with partial pivoting: LAPACK's ``gbtrf`` and ``gbtrs``, block by block, so that
no block's result depends on its company. Where they cannot, on accelerators and for batched gradients,
:mod:`~physode.solvers.implicit.cyclic_reduction` does. Derivatives are those of
:mod:`physode.solvers.implicit.linear`, with what would leave the band left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from physode.autograd import refuse_forward_over_forward, to_keep, transformed
from physode.solvers.clock import Number
from physode.solvers.implicit.cyclic_reduction import reduced, solved

__all__ = ["Band", "BandFactors", "factor_band", "windows"]


class Band(NamedTuple):
    """Banded matrices, one a block: their entries ``(blocks, D, lower + upper + 1)`` and the band's widths."""

    entries: Tensor
    lower: int
    upper: int

    @classmethod
    def compressed(cls, rows: Tensor, lower: int, upper: int) -> Band:
        """Return the matrices from sums of rows that are ``lower + upper + 1`` apart, ``(sums, blocks, D)``."""
        columns = rows.permute(1, 2, 0)
        column, inside = _places(columns.shape[1], lower, upper, rows.device)
        return cls(torch.where(inside, columns.gather(2, column.expand_as(columns)), 0.0), lower, upper)

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
        joined = torch.stack(columns, 2).flatten(1, 2)
        band = Band(joined, stages * lower + stages - 1, stages * upper + stages - 1)
        return band._replace(entries=band._unit() + joined)


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
def _unit(width: int, column: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with to_keep():
        return (torch.arange(width, device=device) == column).to(dtype)


_SINGULAR = -1  # in place of a pivot


class BandFactors(NamedTuple):
    """Banded matrices and their factors, a constant; for ``stages`` unknowns a component, see :meth:`Band.coupled`."""

    band: Band
    lu: Tensor
    pivots: Tensor
    stages: int = 1

    def solve(self, b: Tensor) -> Tensor:
        """Return x for right-hand sides ``(blocks, stages * D)``; NaN in the blocks whose matrix is singular."""
        if self.stages == 1:
            return self._solve(b)
        blocks, stages = len(b), self.stages
        turned = b.reshape(blocks, stages, -1).transpose(1, 2).reshape(blocks, -1)
        return self._solve(turned).reshape(blocks, -1, stages).transpose(1, 2).reshape(blocks, -1)

    def _solve(self, b: Tensor) -> Tensor:
        entries, lower, upper = self.band
        if b.dtype != entries.dtype:
            return self._solve(b.to(entries.dtype)).to(b.dtype)
        refuse_forward_over_forward("banded solves")
        given = entries, self.lu, self.pivots, b, lower, upper, False
        if torch.is_grad_enabled() or transformed():
            return _Solve.apply(*given)  # type: ignore[no-untyped-call, no-any-return]
        return _Solve.forward(*given)


def factor_band(band: Band, stages: int = 1) -> BandFactors:
    """Return the factors of banded matrices; a singular one raises nothing."""
    with torch.no_grad():
        lu, pivots = _Factor.apply(band.entries.detach(), band.lower, band.upper)  # type: ignore[no-untyped-call]
        return BandFactors(band, lu, pivots, stages)


class _Factor(torch.autograd.Function):
    """From a band's entries to LAPACK's factors, ``(blocks, D, 2 lower + upper + 1)``, and pivots."""

    @staticmethod
    def forward(entries: Tensor, lower: int, upper: int) -> tuple[Tensor, Tensor]:
        if lower == upper == 0:
            return entries.clone(), entries.new_empty(len(entries), 0)
        if not _has_lapack(entries):
            return _reduced(entries, lower, upper), entries.new_empty(len(entries), 0)
        factorise = _lapack("gbtrf", entries.dtype)
        lu = pad(entries, (lower, 0)).contiguous()
        pivots = torch.full(lu.shape[:2], _SINGULAR, dtype=torch.int32)
        for rows, places in zip(lu.numpy(), pivots.numpy(), strict=True):
            info = 1
            if np.isfinite(rows).all():
                rows.T[:], swaps, info = factorise(rows.T, lower, upper, overwrite_ab=True)
            if info == 0:
                places[:] = swaps
            else:
                rows[:], places[:] = np.nan, _SINGULAR
        return lu, pivots

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[Any], entries: Tensor, lower: int, upper: int) -> Any:
        factors = _Factor.apply(_folded(entries, in_dims[0], info.batch_size), lower, upper)  # type: ignore[no-untyped-call]
        return tuple(part.unflatten(0, (info.batch_size, -1)) for part in factors), (0, 0)


class _Solve(torch.autograd.Function):
    """From a band's entries, its factors and b to x; with the transposed matrix where ``adjoint`` is set."""

    @staticmethod
    def forward(
        entries: Tensor, lu: Tensor, pivots: Tensor, b: Tensor, lower: int, upper: int, adjoint: bool
    ) -> Tensor:
        if lower == upper == 0:
            return b / entries[..., 0]
        if not _has_lapack(b):
            return solved(lu, b, lower, upper, adjoint=adjoint)
        if _is_batched_gradient(b) or _is_batched_gradient(entries):
            return solved(_reduced(entries, lower, upper), b, lower, upper, adjoint=adjoint)
        substitute = _lapack("gbtrs", b.dtype)
        x = b.detach().clone(memory_format=torch.contiguous_format)
        for column, rows, places in zip(x.numpy(), lu.numpy(), pivots.numpy(), strict=True):
            if len(places) and places[0] == _SINGULAR:
                column[:] = np.nan
            else:
                column[:, None], _ = substitute(
                    rows.T, lower, upper, column[:, None], places, trans=int(adjoint), overwrite_b=True
                )
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.lower, ctx.upper, ctx.adjoint = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        entries, lu, pivots, _, x = ctx.saved_tensors
        pulled = _Solve.apply(entries, lu, pivots, cotangents[0], ctx.lower, ctx.upper, not ctx.adjoint)  # type: ignore[no-untyped-call]
        by_entries = None
        if ctx.needs_input_grad[0]:
            left, right = (x, pulled) if ctx.adjoint else (pulled, x)
            by_entries = -windows(left, ctx.upper, ctx.lower) * right.unsqueeze(-1)
        return by_entries, None, None, pulled, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        entries, lu, pivots, _, x = ctx.saved_tensors
        by_entries, by_b = tangents[0], tangents[3]
        total = torch.zeros_like(x) if by_b is None else by_b
        if by_entries is not None:
            change = Band(by_entries, ctx.lower, ctx.upper)
            total = total - (change if ctx.adjoint else change.transposed()).pulled(x)
        return _Solve.apply(entries, lu, pivots, total, ctx.lower, ctx.upper, ctx.adjoint)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(
        info: Any, in_dims: Sequence[Any], entries: Tensor, lu: Tensor, pivots: Tensor, b: Tensor, *rest: Any
    ) -> Any:
        parts = [_folded(x, dim, info.batch_size) for x, dim in zip((entries, lu, pivots, b), in_dims[:4], strict=True)]
        return _Solve.apply(*parts, *rest).unflatten(0, (info.batch_size, -1)), 0  # type: ignore[no-untyped-call]


def _reduced(entries: Tensor, lower: int, upper: int) -> Tensor:
    return reduced(Band(entries, lower, upper).transposed().entries, lower, upper)


def _has_lapack(x: Tensor) -> bool:
    return x.device.type == "cpu"


def _is_batched_gradient(x: Tensor) -> bool:
    """Whether ``torch.autograd.grad(is_grads_batched=True)`` maps over ``x``, which has no memory of its own then."""
    return torch._C._functorch.is_legacy_batchedtensor(x)


def _folded(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Return what is mapped over as further blocks."""
    return (x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)


@cache
def _lapack(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    from scipy.linalg import get_lapack_funcs  # a tenth of a second

    routines: Callable[..., Any] = get_lapack_funcs(
        name, dtype={torch.float32: np.float32, torch.float64: np.float64}[dtype]
    )
    return routines
