"""Lorenz's convection model."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.rhs.base import Span, System
from physode.rhs.constants import Constant

__all__ = ["Lorenz"]


class Lorenz(System):
    r"""The Lorenz system, chaotic at its usual constants (Lorenz 1963, Eqs. 25-27).

    .. math::

        \dot x = \sigma (y - x), \qquad \dot y = x (\rho - z) - y, \qquad \dot z = x y - \beta z

    The state is (x, y, z), shape (..., 3).
    """

    name = "lorenz"
    columns = ("x", "y", "z")
    units = ("", "", "")
    initial_box = ((-15.0, 15.0), (-15.0, 15.0), (10.0, 40.0))
    span = Span(10.0, 1000)
    sigma = Constant(10.0, "Prandtl number")
    rho = Constant(28.0, "relative Rayleigh number")
    beta = Constant(8.0 / 3.0, "geometric factor")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        sigma, rho, beta = (value.to(y.dtype) for value in self.constants.values())
        x1, x2, x3 = y.unbind(-1)
        return torch.stack((sigma * (x2 - x1), x1 * (rho - x3) - x2, x1 * x2 - beta * x3), -1)
