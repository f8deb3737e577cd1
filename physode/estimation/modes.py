r"""The eigenvectors of an information: which combinations of unknowns the data determine, and which not at all.

An information I, scaled to a unit diagonal by :math:`D = \operatorname{diag}(I)^{1/2}`, has eigenvalues and
eigenvectors

.. math:: D^{-1} I D^{-1} w_k = \lambda_k w_k .

Combinations along :math:`D^{-1} w_k` with :math:`\lambda_k > 0` have the variance :math:`1 / \lambda_k`. Where
:math:`\lambda_k` vanishes beside the largest the data say nothing, and what depends on that combination has no
standard error.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

OPEN = 1e-8
"""Of the largest eigenvalue: below, a combination is not determined."""

_PART = 1e-3  # of an eigenvector of length 1, from which on an unknown takes part in it
_SEEN = 1e-3  # of a derivative's length, from which on it depends on a combination


@dataclass(frozen=True)
class Modes:
    """Eigenvectors of an information of F unknowns, of which m are free to move and seen by the data.

    Attributes
    ----------
    size
        F.
    rows
        Which unknowns these are, (m,).
    blind
        Which ones are free to move and nothing depends on.
    scale
        The diagonal of D, (m,).
    values, vectors
        Eigenvalues, rising, (m,), and eigenvectors as columns, (m, m).
    """

    size: int
    rows: Tensor
    blind: Tensor
    scale: Tensor
    values: Tensor
    vectors: Tensor

    @staticmethod
    def of(information: Tensor, moving: Tensor) -> Modes:
        """Make them of an information, (F, F), and of which unknowns can move, (F,)."""
        scale = information.diagonal().sqrt()
        rows = (moving & (scale > 0)).nonzero().flatten()
        blind = (moving & ~(scale > 0)).nonzero().flatten()
        own = scale[rows]
        values, vectors = torch.linalg.eigh(information[rows][:, rows] / (own[:, None] * own))
        return Modes(len(information), rows, blind, own, values, vectors)

    @property
    def determined(self) -> Tensor:
        """Which eigenvalues do not vanish, (m,)."""
        return self.values > OPEN * self.values.amax() if len(self.values) else self.values > 0

    @property
    def pseudo_inverse(self) -> Tensor:
        """The covariance by the combinations that are determined, (F, F): 0 where nothing is."""
        keep = self.determined
        vectors = self.vectors[:, keep] / self.scale[:, None]
        found = self.vectors.new_zeros(self.size, self.size)
        found[self.rows[:, None], self.rows] = vectors / self.values[keep] @ vectors.T
        return found

    @property
    def covariance(self) -> Tensor:
        """The covariance, (F, F): NaN for what cannot move, and what takes part in an open combination."""
        taking = (self.vectors[:, ~self.determined].abs() > _PART).any(1)
        found, rows = self.vectors.new_full((self.size, self.size), torch.nan), self.rows[~taking]
        found[rows[:, None], rows] = self.pseudo_inverse[rows[:, None], rows]
        return found

    @property
    def open(self) -> Tensor:
        """Directions in which nothing determined changes, one a row, (K, F), of largest entry 1."""
        blind = torch.eye(self.size, dtype=self.vectors.dtype)[self.blind]
        vectors = self.vectors[:, ~self.determined]
        vectors = torch.where(vectors.abs() > _PART, vectors, 0.0) / self.scale[:, None]
        directions = self.vectors.new_zeros(vectors.shape[1], self.size)
        directions[:, self.rows] = vectors.T
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        return torch.cat([blind, directions / largest])

    def variance(self, slopes: Tensor) -> Tensor:
        """Return the variance of what has these derivatives by the unknowns, (n, F) to (n,), to first order.

        NaN where it depends on a combination that is not determined; unknowns that cannot move add nothing.
        """
        keep = self.determined
        scaled = slopes[:, self.rows] / self.scale
        along = scaled @ self.vectors
        variance = (along[:, keep].square() / self.values[keep]).sum(1)
        lost = (along[:, ~keep].abs() > _SEEN * scaled.norm(dim=1, keepdim=True)).any(1)
        lost |= (slopes[:, self.blind] != 0).any(1)
        return torch.where(lost, torch.nan, variance)
