"""Predators and prey."""

from __future__ import annotations

import torch
from torch import Tensor

from physode.rhs.base import System
from physode.rhs.constants import Constant, ConstantLike, Names

__all__ = ["LotkaVolterra"]


class LotkaVolterra(System):
    r"""The Lotka-Volterra equations for prey `x` and predators `y`.

    .. math::

        \dot x = \alpha x - \beta x y, \qquad \dot y = \delta x y - \gamma y

    The state is (prey, predators), shape (..., 2).

    Parameters
    ----------
    alpha, beta, delta, gamma
        Growth of the prey, its loss to predators, the predators' gain from prey, and their death rate; numbers, or
        (batch,).
    learnable, positive
        True, False, or the names of the constants that are parameters, or are stored as logarithms.
    """

    name = "lotka_volterra"
    columns = ("prey", "predators")
    units = ("", "")
    alpha = Constant()
    beta = Constant()
    delta = Constant()
    gamma = Constant()

    def __init__(
        self,
        alpha: ConstantLike = 1.5,
        beta: ConstantLike = 1.0,
        delta: ConstantLike = 1.0,
        gamma: ConstantLike = 3.0,
        *,
        learnable: Names = False,
        positive: Names = False,
    ) -> None:
        super().__init__()
        self._register_constants(
            learnable=learnable, positive=positive, alpha=alpha, beta=beta, delta=delta, gamma=gamma
        )

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
