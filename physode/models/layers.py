"""Layers that the image classifiers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NORMS", "AugmentChannels", "conv3x3", "count_parameters", "he_initialise", "normalisation"]

NORMS = ("batch", "group")
_GROUPS = 32


class AugmentChannels(nn.Module):
    """Append channels of zeros, which an ODE may use to move trajectories past one another (Dupont et al. 2019)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + count, H, W) of (B, C, H, W)."""
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.count)) if self.count else x


def conv3x3(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size at stride 1; a normalisation after it makes a bias idle."""
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


def normalisation(kind: str, channels: int) -> nn.Module:
    """Return batch norm, or group norm of at most 32 groups.

    Raises
    ------
    ValueError
        If `kind` is neither ``"batch"`` nor ``"group"``.
    """
    if kind not in NORMS:
        raise ValueError(f"`norm` must be one of {', '.join(NORMS)}, got {kind!r}")
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = next(groups for groups in range(min(_GROUPS, channels), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


@torch.no_grad()
def he_initialise(model: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. (2015, arXiv:1502.01852, Eq. 10) do.

    Normal of variance 2 / fan, with the fan out of convolutions and the fan in of linear layers; biases are 0,
    normalisations the identity. From torch's global generator: seed it before.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.ones_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers are learnt."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
