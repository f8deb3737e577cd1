"""Least squares with many more residuals than unknowns, made square."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["compressed"]

# Residuals an unknown, and unknowns, from which on the work repays itself.
_TALL = 2
_WIDE = 50


def compressed(residuals: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
    """Return residuals and Jacobian of P + 1 rows with the norm, the gradient and the Gauss-Newton matrix of the given.

    With J = Q R they are Q^T r and R, and, in a row of zeros, the norm of the rest of r, on which no unknown acts.
    Systems that are small, or not tall, come back as they are.
    """
    rows, columns = jacobian.shape
    if rows < _TALL * columns or columns < _WIDE:
        return residuals, jacobian
    q, r = torch.linalg.qr(jacobian)
    inside = q.T @ residuals
    rest = (residuals - q @ inside).norm()
    return torch.cat([inside, rest[None]]), torch.cat([r, r.new_zeros(1, columns)])
