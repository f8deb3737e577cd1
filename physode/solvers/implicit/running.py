"""Weighted sums over the stages found so far, for all later stages at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from physode.solvers.runge_kutta import Row, column

__all__ = ["Running", "columns_of"]


def columns_of(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the columns of rows of weights, each row as long as there are stages before it."""
    return tuple(tuple(row[j] for row in rows if len(row) > j) for j in range(max(map(len, rows))))


class Running:
    """Sums that each new stage is added to, one operation a stage, and that are taken off in order.

    They are elementwise operations: no sample's result depends on its company.

    Parameters
    ----------
    columns
        What each stage counts for in the sums that are still needed after it.
    """

    def __init__(self, columns: Sequence[Row]) -> None:
        self._columns, self._rest = columns, torch.empty(0)
        self._stage = 0

    def add(self, part: Tensor) -> None:
        """Add the next stage to all sums."""
        weights = column(self._columns[self._stage], part.ndim, part.dtype, part.device)
        self._rest = torch.addcmul(self._rest, weights, part) if self._stage else weights * part
        self._stage += 1

    def take(self, count: int) -> tuple[Tensor, ...]:
        """Take off the next sums."""
        left = self._rest.shape[0] - count
        if left == 0:
            return self._rest.unbind(0)
        heads, self._rest = torch.split_with_sizes(self._rest, (count, left))
        return heads.unbind(0)
