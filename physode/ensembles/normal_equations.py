r"""Sums and small linear systems of many members at once, whose bits no member owes to its company.

Libraries for matrices (BLAS, LAPACK) choose the order of their sums by the size of a batch, the place in it and the
alignment of memory; a member would have other last digits in other company. Here all is elementwise addition,
multiplication, division and square roots, which IEEE 754 rounds alike everywhere, in an order that each member's own
numbers fix:

- sums are taken pairwise over neighbours, :math:`(x_0 + x_1) + (x_2 + x_3) + \dots`, so that zeros behind the last
  number change nothing;
- systems are solved by Cholesky's :math:`A = L L^\top` after scaling to a unit diagonal, column by column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-300
_AT_ONCE = 2**22  # products held at a time


def pairwise_sum(x: Tensor) -> Tensor:
    """Return the sum over the first axis, of numbers and of the neighbours' sums; 0 of none."""
    if not x.shape[0]:
        return x.new_zeros(x.shape[1:])
    while x.shape[0] > 1:
        if x.shape[0] % 2:
            x = torch.cat([x, torch.zeros_like(x[:1])])
        x = x[0::2] + x[1::2]
    return x[0]


def products(jacobian: Tensor, residuals: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return :math:`J^\top r`, (..., P), and :math:`J^\top J`, (..., P, P), of J (m, ..., P) and r (m, ...)."""
    gradient = pairwise_sum(jacobian * residuals.unsqueeze(-1))
    if jacobian.numel() * jacobian.shape[-1] <= _AT_ONCE:
        return gradient, pairwise_sum(jacobian.unsqueeze(-1) * jacobian.unsqueeze(-2))
    columns = [pairwise_sum(jacobian * jacobian[..., i : i + 1]) for i in range(jacobian.shape[-1])]
    return gradient, torch.stack(columns, -1)


def each(function: Callable[[float], float], x: Tensor) -> Tensor:
    """Return a function of each number, one by one: vectorised exponentials may depend on the place in a batch."""
    return torch.tensor([function(value) for value in x.flatten().tolist()], dtype=x.dtype).reshape(x.shape)


def exponential(x: float) -> float:
    """Return exp(x), infinite where that is too large."""
    return math.exp(x) if x < 700.0 else math.inf


@dataclass(frozen=True)
class Cholesky:
    """S matrices scaled to a unit diagonal, decomposed.

    Attributes
    ----------
    lower
        L, (S, P, P); what stands above its diagonal is of no meaning.
    scale
        Roots of the diagonals, (S, P); infinite for what is left out.
    pivots
        (S, P): 1 of what is independent of those before it, 0 of what follows from them.
    """

    lower: Tensor
    scale: Tensor
    pivots: Tensor

    @staticmethod
    def of(matrix: Tensor, held: Tensor, damping: Tensor | None = None, *, least: float = 1e-13) -> Cholesky:
        """Decompose symmetric matrices, (S, P, P), that are positive semidefinite.

        Parameters
        ----------
        matrix
            The matrices; of what is `held`, (S, P), or has no diagonal, rows and columns are left out.
        damping
            (S,), times the diagonal, is added to it.
        least
            Pivots below count as this.
        """
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        out = held | ~(diagonal > _TINY)
        scale = torch.where(out, torch.inf, diagonal).sqrt()
        work = matrix / scale.unsqueeze(1) / scale.unsqueeze(2)
        own = torch.ones_like(scale) if damping is None else 1.0 + damping.unsqueeze(1).expand_as(scale)
        work.diagonal(dim1=1, dim2=2).copy_(torch.where(out, 1.0, own))
        pivots = torch.ones_like(scale)
        for j in range(scale.shape[1]):
            pivots[:, j] = work[:, j, j]
            root = work[:, j, j].clamp_min(least).sqrt()
            work[:, j, j] = root
            column = work[:, j + 1 :, j] / root.unsqueeze(1)
            work[:, j + 1 :, j] = column
            work[:, j + 1 :, j + 1 :] = work[:, j + 1 :, j + 1 :] - column.unsqueeze(1) * column.unsqueeze(2)
        return Cholesky(work, scale, pivots)

    def solve(self, right: Tensor) -> Tensor:
        """Return the solutions, (S, P), for right-hand sides (S, P); 0 for what is left out."""
        return self._back(self._forth(right / self.scale)) / self.scale

    def decrement(self, gradient: Tensor) -> Tensor:
        r"""Return :math:`g^\top A^{-1} g`, (S,)."""
        half = self._forth(gradient / self.scale)
        return pairwise_sum((half * half).T)

    def inverse_diagonal(self) -> Tensor:
        r"""Return the diagonals of :math:`A^{-1}`, (S, P); 0 for what is left out."""
        count = self.scale.shape[1]
        columns = []
        for i in range(count):
            unit = torch.zeros_like(self.scale)
            unit[:, i] = 1.0
            half = self._forth(unit)
            columns.append(pairwise_sum((half * half).T))
        inverse = torch.stack(columns, 1) if columns else torch.zeros_like(self.scale)
        return inverse / self.scale / self.scale

    def _forth(self, right: Tensor) -> Tensor:
        rest = right.clone()
        for j in range(rest.shape[1]):
            rest[:, j] = rest[:, j] / self.lower[:, j, j]
            rest[:, j + 1 :] = rest[:, j + 1 :] - self.lower[:, j + 1 :, j] * rest[:, j : j + 1]
        return rest

    def _back(self, right: Tensor) -> Tensor:
        rest = right.clone()
        for j in reversed(range(rest.shape[1])):
            rest[:, j] = rest[:, j] / self.lower[:, j, j]
            rest[:, :j] = rest[:, :j] - self.lower[:, j, :j] * rest[:, j : j + 1]
        return rest
