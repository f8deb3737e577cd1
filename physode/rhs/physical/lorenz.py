"""Lorenz's convection model."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names

__all__ = ["Lorenz"]


class Lorenz(System):
    r"""The Lorenz system, chaotic at its usual constants (Lorenz 1963, Eqs. 25-27).

    .. math::

        \dot x = \sigma (y - x), \qquad \dot y = x (\rho - z) - y, \qquad \dot z = x y - \beta z

    The state is (x, y, z), shape (..., 3).

    Parameters
    ----------
    sigma, rho, beta
        Prandtl number, relative Rayleigh number, and the geometric factor; numbers, or (batch,).
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "lorenz"
    columns = ("x", "y", "z")
    units = ("", "", "")
    sigma = Constant()
    rho = Constant()
    beta = Constant()

    def __init__(
        self,
        sigma: ConstantLike = 10.0,
        rho: ConstantLike = 28.0,
        beta: ConstantLike = 8.0 / 3.0,
        *,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(learnable=learnable, positive=positive, sigma=sigma, rho=rho, beta=beta)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        sigma, rho, beta = (value.to(y.dtype) for value in self.constants.values())
        x1, x2, x3 = y.unbind(-1)
        return torch.stack((sigma * (x2 - x1), x1 * (rho - x3) - x2, x1 * x2 - beta * x3), -1)
