"""Where a kernel's gradients by numbers lie: of those that all samples share, and of those that each has for itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from physode.fused.differentiation import Pullback
from physode.fused.graph import Matrix

__all__ = ["GradientPlaces"]


class GradientPlaces(NamedTuple):
    """Single numbers first, then matrices row by row.

    Attributes
    ----------
    shared, sample
        Which numbers have a gradient of their own.
    matrices
        Which matrices have one as a whole.
    """

    shared: tuple[int, ...]
    sample: tuple[int, ...]
    matrices: tuple[Matrix, ...]

    @classmethod
    def of(cls, *pullbacks: Pullback) -> GradientPlaces:
        """Return room for the gradients of all these products."""
        return cls(
            tuple(sorted({slot for one in pullbacks for slot, _ in one.shared})),
            tuple(sorted({slot for one in pullbacks for slot, _ in one.sample})),
            tuple(dict.fromkeys(part.matrix for one in pullbacks for part in one.outer)),
        )

    @property
    def slots(self) -> tuple[int, ...]:
        """Which shared number each gradient is of; a number may have several, which are added up."""
        return (*self.shared, *(slot for matrix in self.matrices for slot in _elements(matrix)))

    def first_of(self, matrix: Matrix) -> int:
        """Return where a matrix's gradient begins, behind the single numbers."""
        before = self.matrices[: self.matrices.index(matrix)]
        return sum(one.rows * one.columns for one in before)


def _elements(matrix: Matrix) -> Iterable[int]:
    return (matrix.place(i, k) for i in range(matrix.rows) for k in range(matrix.columns))
