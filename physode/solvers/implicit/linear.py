r"""Linear systems, one a block: :math:`M x = b` with :math:`M = I - h \gamma J`, by batched LU factorisations.

They are differentiated by :math:`dx = M^{-1} (db - dM \, x)`, so that a pull-back is a solve with the same factors and
an outer product, at a third of the cost of differentiating the factorisation; of any order, as the pull-back is made of
solves in turn. Of a :class:`~physode.solvers.implicit.banded.Band` everything stays banded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from physode.autograd import forward_over_forward, transformed
from physode.solvers.clock import Number
from physode.solvers.implicit.banded import Band, BandFactors, factor_band
from physode.solvers.runge_kutta import identity

__all__ = ["Factors", "coupled_factors", "factor", "shifted"]


class Factors(NamedTuple):
    """Matrices ``(blocks, D, D)`` and their LU factors, a constant; NaN in place of a singular one's."""

    matrix: Tensor
    lu: Tensor
    pivots: Tensor

    def solve(self, b: Tensor) -> Tensor:
        """Return x for right-hand sides ``(blocks, D)``; NaN in the blocks whose matrix is singular."""
        if b.dtype != self.matrix.dtype:
            return self.solve(b.to(self.matrix.dtype)).to(b.dtype)
        if forward_over_forward():
            return torch.linalg.solve(self.matrix, b.unsqueeze(-1)).squeeze(-1)  # type: ignore[no-any-return]
        if torch.is_grad_enabled() or transformed():
            return _Solve.apply(self.matrix, self.lu, self.pivots, b, False)  # type: ignore[no-untyped-call, no-any-return]
        x: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, b.unsqueeze(-1)).squeeze(-1)
        return x


class _Solve(torch.autograd.Function):
    """From a matrix, its factors and b to x; with the transposed matrix where ``adjoint`` is set."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, lu: Tensor, pivots: Tensor, b: Tensor, adjoint: bool) -> Tensor:
        solve = _by_triangles if _nested() else torch.linalg.lu_solve
        x: Tensor = solve(lu, pivots, b.unsqueeze(-1), adjoint=adjoint).squeeze(-1)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, _, ctx.adjoint = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        matrix, lu, pivots, x = ctx.saved_tensors
        pulled = _Solve.apply(matrix, lu, pivots, cotangents[0], not ctx.adjoint)  # type: ignore[no-untyped-call]
        by_matrix = None
        if ctx.needs_input_grad[0]:
            left, right = (x, pulled) if ctx.adjoint else (pulled, x)
            by_matrix = -left.unsqueeze(-1) * right.unsqueeze(-2)
        return by_matrix, None, None, pulled, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        matrix, lu, pivots, x = ctx.saved_tensors
        by_matrix, _, _, by_b, _ = tangents
        total = torch.zeros_like(x) if by_b is None else by_b
        if by_matrix is not None:
            turned = by_matrix.mT if ctx.adjoint else by_matrix
            total = total - (turned @ x.unsqueeze(-1)).squeeze(-1)
        return _Solve.apply(matrix, lu, pivots, total, ctx.adjoint)  # type: ignore[no-untyped-call]


def _nested() -> bool:
    stack = torch._C._functorch.peek_interpreter_stack()
    return stack is not None and stack.level() > 1


def _by_triangles(lu: Tensor, pivots: Tensor, column: Tensor, *, adjoint: bool) -> Tensor:
    """Solve step by step: lu_solve is wrong where one vmap runs inside another (torch 2.13)."""
    permutation, lower, upper = torch.lu_unpack(lu, pivots)
    if adjoint:
        half = torch.linalg.solve_triangular(upper.mT, column, upper=False)
        turned: Tensor = permutation @ torch.linalg.solve_triangular(lower.mT, half, upper=True, unitriangular=True)
        return turned
    half = torch.linalg.solve_triangular(lower, permutation.mT @ column, upper=False, unitriangular=True)
    full: Tensor = torch.linalg.solve_triangular(upper, half, upper=True)
    return full


def factor(matrix: Tensor | Band) -> Factors | BandFactors:
    """Return the factors of matrices ``(blocks, D, D)``; a singular one raises nothing."""
    if isinstance(matrix, Band):
        return factor_band(matrix)
    with torch.no_grad():
        lu, pivots, info = torch.linalg.lu_factor_ex(matrix.detach())
        return Factors(matrix, lu.masked_fill((info != 0)[..., None, None], torch.nan), pivots)


def shifted(matrix: Tensor | Band, h: Number, gamma: float) -> Tensor | Band:
    """Return ``I - h gamma J`` for matrices ``(blocks, D, D)``."""
    if isinstance(matrix, Band):
        return matrix.shifted(h, gamma)
    unit = identity(matrix.shape[-1], matrix.dtype, matrix.device)
    if not isinstance(h, Tensor):
        return torch.sub(unit, matrix, alpha=gamma * h)
    size = h.to(matrix.dtype)
    return torch.addcmul(unit, size.reshape(-1, 1, 1) if size.ndim else size, matrix, value=-gamma)


def coupled_factors(
    matrices: Sequence[Tensor | Band], a: Sequence[Sequence[float]], h: Number
) -> Factors | BandFactors:
    r"""Return the factors of coupled stages' :math:`\delta_{ij} I - h a_{ij} J_i`, from a J each or one for all."""
    stages = len(a)
    by_stage = list(matrices) * (stages if len(matrices) == 1 else 1)
    if stages == 1:
        return factor(shifted(by_stage[0], h, a[0][0]))
    bands, dense = [m for m in by_stage if isinstance(m, Band)], [m for m in by_stage if not isinstance(m, Band)]
    if bands:
        return factor_band(Band.coupled(bands, a, h), stages)
    length = h.to(dense[0].dtype).reshape(-1, 1, 1) if isinstance(h, Tensor) else h
    rows = [torch.cat([(-weight * length) * j for weight in row], 2) for row, j in zip(a, dense, strict=True)]
    matrix = torch.cat(rows, 1)
    return factor(matrix + identity(matrix.shape[-1], matrix.dtype, matrix.device))
