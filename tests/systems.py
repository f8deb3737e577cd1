"""Small right-hand sides that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Spiral(nn.Module):
    """A nonlinear, non-autonomous system of two components with three parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([[-0.1, 2.0], [-2.0, -0.1]]))
        self.drive = nn.Parameter(torch.tensor(0.3))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        x, v = y[..., :1], y[..., 1:]
        linear = torch.cat([self.rate[0, 0] * x + self.rate[0, 1] * v, self.rate[1, 0] * x + self.rate[1, 1] * v], -1)
        return linear - y**3 / 10 + self.drive * torch.sin(t)


def van_der_pol(t: Tensor, y: Tensor, mu: Tensor) -> Tensor:
    """Van der Pol's oscillator; ``mu`` may be one a sample, ``(batch, 1)``."""
    x, v = y[..., :1], y[..., 1:]
    return torch.cat([v, mu * (1 - x * x) * v - x], -1)
