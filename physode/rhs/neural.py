"""A right-hand side that is nothing but a neural network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from physode.rhs.base import System

__all__ = ["ACTIVATIONS", "MLP", "fully_connected"]

ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"elu": nn.ELU, "gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "softplus": nn.Softplus, "tanh": nn.Tanh}
)


class MLP(System):
    r"""A fully connected network as the right-hand side: :math:`\dot y = W_L \sigma(\ldots \sigma(W_1 y + b_1)) + b_L`.

    The weights follow torch's default initialisation: call ``torch.manual_seed`` before, and ``.double()`` after, where
    the state is float64.

    Parameters
    ----------
    dim
        Components of the state, along its last axis.
    hidden
        Widths of the hidden layers; ``()`` for a linear right-hand side.
    activation
        One of ``ACTIVATIONS``. A smooth one lets adaptive steps keep their order.
    time
        Whether `t` is a further input of the network.

    Raises
    ------
    ValueError
        If a width is below 1 or the activation is unknown.
    """

    name = "mlp"

    def __init__(
        self, dim: int, *, hidden: Sequence[int] = (64, 64), activation: str = "tanh", time: bool = False
    ) -> None:
        super().__init__()
        self.dim, self.hidden, self.activation, self.time = dim, tuple(hidden), activation, time
        self.columns = tuple(f"y{index}" for index in range(1, dim + 1))
        self.units = ("",) * dim
        self.layers = fully_connected((dim + int(time), *self.hidden, dim), activation=activation)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shaped like `y`."""
        if self.time:
            y = torch.cat((y, t.to(y.dtype).expand(*y.shape[:-1], 1)), -1)
        dy: Tensor = self.layers(y)
        return dy

    def config(self) -> dict[str, Any]:
        """Return constructor arguments; the weights are in ``state_dict()``."""
        return {"dim": self.dim, "hidden": list(self.hidden), "activation": self.activation, "time": self.time}


def fully_connected(widths: Sequence[int], *, activation: str) -> nn.Sequential:
    """Return linear layers from ``widths[0]`` inputs to ``widths[-1]`` outputs, with `activation` between them."""
    if any(width < 1 for width in widths):
        raise ValueError(f"`hidden` and `dim` must be at least 1, got widths {tuple(widths)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"`activation` must be one of: {', '.join(ACTIVATIONS)}; got {activation!r}")
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
