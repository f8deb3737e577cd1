"""Neural right-hand sides of the benchmarks, in torch and jax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.task import Twin

__all__ = ["MLP", "MLP_TWIN", "ConvBlock"]


class MLP(torch.nn.Module):
    """Two hidden layers of tanh, the same from D to D whatever the time; weights from a seed."""

    def __init__(self, dimension: int, width: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(dimension, width),
                torch.nn.Tanh(),
                torch.nn.Linear(width, width),
                torch.nn.Tanh(),
                torch.nn.Linear(width, dimension),
            )

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.layers(y)
        return found


def _mlp_in_jax(t: Any, y: Any, params: Any) -> Any:
    import jax.numpy as jnp

    w1, b1, w2, b2, w3, b3 = params
    return jnp.tanh(jnp.tanh(y @ w1.T + b1) @ w2.T + b2) @ w3.T + b3


MLP_TWIN = Twin(_mlp_in_jax)


class ConvBlock(torch.nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU: the residual function of an image classifier's block."""

    def __init__(self, channels: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[torch.nn.Module] = []
            for _ in range(2):
                layers += [
                    torch.nn.BatchNorm2d(channels),
                    torch.nn.ReLU(),
                    torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                ]
            self.layers = torch.nn.Sequential(*layers)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.layers(y)
        return found
