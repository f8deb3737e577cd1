r"""Linear systems of banded matrices, :math:`M x = b` by LU factorisations with partial pivoting, in O(D) operations.

LAPACK's ``gbtrf`` and ``gbtrs`` do it, block by block, so that no block's result depends on its company. Where they
cannot, on accelerators and for batched gradients, :mod:`~physode.solvers.implicit.reduction` does. Derivatives are
those of :mod:`physode.solvers.implicit.linear`, with what would leave the band left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from physode.solvers.implicit.band import Band, windows
from physode.solvers.implicit.reduction import reduced, solved
from physode.transforms import transformed

__all__ = ["BandFactors", "factor_band"]

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
            return reduced(Band(entries, lower, upper)), entries.new_empty(len(entries), 0)
        factorise = _lapack("gbtrf", entries.dtype)
        lu = pad(entries, (lower, 0)).contiguous()
        pivots = torch.full(lu.shape[:2], _SINGULAR, dtype=torch.int32)
        for rows, places in zip(lu.numpy(), pivots.numpy(), strict=True):
            info = 1
            if np.isfinite(rows).all():
                rows.T[:], found, info = factorise(rows.T, lower, upper, overwrite_ab=True)
            if info == 0:
                places[:] = found
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
        found = _Factor.apply(_folded(entries, in_dims[0], info.batch_size), lower, upper)  # type: ignore[no-untyped-call]
        return tuple(part.unflatten(0, (info.batch_size, -1)) for part in found), (0, 0)


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
            return solved(reduced(Band(entries, lower, upper)), b, lower, upper, adjoint=adjoint)
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

    found: Callable[..., Any] = get_lapack_funcs(
        name, dtype={torch.float32: np.float32, torch.float64: np.float64}[dtype]
    )
    return found
