r"""Small linear systems, one a block: :math:`(I - h \gamma J) x = b` by batched LU factorisations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Factors", "factor"]


class Factors(NamedTuple):
    """LU factors of the blocks' matrices, ``(blocks, D, D)``, with ``singular`` ``(blocks,)``."""

    lu: Tensor
    pivots: Tensor
    singular: Tensor

    def solve(self, b: Tensor) -> Tensor:
        """Return x for right-hand sides ``(blocks, D)``; NaN in the blocks whose matrix is singular."""
        x: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, b.unsqueeze(-1)).squeeze(-1)
        return torch.where(self.singular.unsqueeze(-1), torch.nan, x)

    def detached(self) -> Factors:
        """Return the factors without their graph."""
        return Factors(*(part.detach() for part in self))


def factor(matrix: Tensor) -> Factors:
    """Return the factors of matrices ``(blocks, D, D)``; a singular one raises nothing."""
    lu, pivots, info = torch.linalg.lu_factor_ex(matrix)
    return Factors(lu, pivots, info != 0)
