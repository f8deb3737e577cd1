"""Predators and prey."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.rhs.base import Span, System
from physode.rhs.constants import Constant

__all__ = ["LotkaVolterra"]


class LotkaVolterra(System):
    r"""The Lotka-Volterra equations for prey `x` and predators `y`.

    .. math::

        \dot x = \alpha x - \beta x y, \qquad \dot y = \delta x y - \gamma y

    The state is (prey, predators), shape (..., 2).
    """

    name = "lotka_volterra"
    columns = ("prey", "predators")
    units = ("", "")
    initial_box = ((0.5, 5.0), (0.5, 5.0))
    span = Span(10.0, 500)
    alpha = Constant(1.5, "growth of the prey", domain="positive")
    beta = Constant(1.0, "loss of prey to predators", domain="positive")
    delta = Constant(1.0, "gain of predators from prey", domain="positive")
    gamma = Constant(3.0, "death of the predators", domain="positive")

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        alpha, beta, delta, gamma = (value.to(y.dtype) for value in self.constants.values())
        prey, predators = y.unbind(-1)
        return torch.stack((prey * (alpha - beta * predators), predators * (delta * prey - gamma)), -1)

    def invariants(self, y: Tensor) -> dict[str, Tensor]:
        r"""Return :math:`\delta x - \gamma \ln x + \beta y - \alpha \ln y`, constant on orbits of positive numbers."""
        alpha, beta, delta, gamma = (value.to(y.dtype) for value in self.constants.values())
        prey, predators = y.unbind(-1)
        return {"orbit": delta * prey - gamma * prey.log() + beta * predators - alpha * predators.log()}
