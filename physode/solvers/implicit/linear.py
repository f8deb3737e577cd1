r"""Small linear systems, one a block: :math:`(I - h \gamma J) x = b` by batched LU factorisations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Factors", "factor", "transformed"]


class Factors(NamedTuple):
    """LU factors of the blocks' matrices, ``(blocks, D, D)``, with ``singular`` ``(blocks,)``."""

    lu: Tensor
    pivots: Tensor
    singular: Tensor

    def solve(self, b: Tensor) -> Tensor:
        """Return x for right-hand sides ``(blocks, D)``; NaN in the blocks whose matrix is singular."""
        column = b.unsqueeze(-1)
        if transformed(self.lu) or transformed(b):
            x = self._by_triangles(column)
        else:
            x = torch.linalg.lu_solve(self.lu, self.pivots, column)
        x = x.squeeze(-1)
        return torch.where(self.singular.unsqueeze(-1), torch.nan, x)

    def _by_triangles(self, column: Tensor) -> Tensor:
        """Solve step by step: lu_solve's pull-back is wrong where one vmap runs inside another (torch 2.13)."""
        permutation, lower, upper = torch.lu_unpack(self.lu, self.pivots)
        half = torch.linalg.solve_triangular(lower, permutation.mT @ column, upper=False, unitriangular=True)
        full: Tensor = torch.linalg.solve_triangular(upper, half, upper=True)
        return full


def transformed(x: Tensor) -> bool:
    """Whether a transform of ``torch.func`` is at work on a tensor."""
    return int(torch._C._functorch.maybe_get_level(x)) > 0


def factor(matrix: Tensor) -> Factors:
    """Return the factors of matrices ``(blocks, D, D)``; a singular one raises nothing."""
    lu, pivots, info = torch.linalg.lu_factor_ex(matrix)
    return Factors(lu, pivots, info != 0)
