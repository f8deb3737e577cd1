"""The small networks for galaxies' shapes (Gupta, Srijith and Desai 2022, Sect. 5.1): one ODE block, or six residual.

Both begin with three convolutions that bring 32x32 pixels to 64 channels of 7x7 (sizes that the paper leaves open are
those of Chen et al. 2018, Sect. 3, whose numbers of parameters, 0.2 and 0.6 million, are the paper's), and end with the
mean over the image and a linear layer.

Weights are He et al.'s (2015), as the paper has them, ``start="he"``; or, ``start="identity"``, the same but for the
last layer of each block, which begins as 0, so that blocks begin as the identity (Goyal et al. 2017, Sect. 5.1). The
latter is the default: it learns as well, at first with a quarter of the evaluations (docs/learning.md).

Of the paper's dh/dt = G(h(t), t, theta), Eq. 2, networks have both: G of h alone, and, `timed`, of t as well, which
every convolution sees as one more channel (Chen et al. 2018).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physode.models.layers import AugmentChannels, conv3x3, he_initialise, normalisation
from physode.models.ode_block import ODEBlock, begin_as_identity
from physode.models.solver import EULER, Solver

__all__ = ["STARTS", "GalaxyNetwork", "galaxy_node", "galaxy_resnet"]

STARTS = ("identity", "he")
"""What weights may be at first; the first is the default."""

_RESIDUAL_BLOCKS = 6


class _CLN(nn.Sequential):
    """Twice convolution, nonlinearity, normalisation: the right-hand side of the ODE."""

    def __init__(self, channels: int, *, norm: str) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [conv3x3(channels, channels), nn.ReLU(), normalisation(norm, channels)]
        super().__init__(*layers)

    @property
    def last(self) -> nn.Module:
        """What may begin as 0: the last normalisation."""
        return self[-1]


class _TimedCLN(nn.Module):
    """The same of time and state: each convolution has one more channel, which is t everywhere."""

    def __init__(self, channels: int, *, norm: str) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(conv3x3(channels + 1, channels) for _ in range(2))
        self.norms = nn.ModuleList(normalisation(norm, channels) for _ in range(2))

    @property
    def last(self) -> nn.Module:
        """What may begin as 0: the last normalisation."""
        return self.norms[-1]

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dh/dt (B, C, H, W) at the time t, () or (B,), of the state y (B, C, H, W)."""
        clock = t.to(y).reshape(-1, 1, 1, 1).expand(y.shape[0], 1, *y.shape[2:])
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y = norm(nn.functional.relu(convolution(torch.cat([y, clock], 1))))
        return y


class _NLC(nn.Sequential):
    """Twice normalisation, nonlinearity, convolution: a residual block's change, pre-activated (He et al. 2016b)."""

    def __init__(self, channels: int, *, norm: str) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [normalisation(norm, channels), nn.ReLU(), conv3x3(channels, channels)]
        super().__init__(*layers)

    @property
    def last(self) -> nn.Module:
        """What may begin as 0: the last convolution."""
        return self[-1]


class GalaxyNetwork(nn.Module):
    """Downsampling, blocks, mean over the image, linear layer.

    Parameters
    ----------
    blocks
        What is between: from and to (B, width, H, W).
    classes
        How many; the output is (B, classes), before a softmax.
    width
        Channels inside the blocks, `augmented` ones included.
    augmented
        How many of them begin as 0.
    channels
        Of the images, (B, channels, H, W).
    norm
        ``"batch"`` or ``"group"``.
    dropout
        Probability of leaving out one of the values that the linear layer sees.
    start
        One of :data:`STARTS`, see above.

    Raises
    ------
    ValueError
        If `start` or `norm` is unknown.
    """

    def __init__(
        self,
        blocks: nn.Module,
        classes: int,
        *,
        width: int,
        augmented: int = 0,
        channels: int = 3,
        norm: str = "batch",
        dropout: float = 0.0,
        start: str = STARTS[0],
    ) -> None:
        if start not in STARTS:
            raise ValueError(f"`start` must be one of {', '.join(STARTS)}, got {start!r}")
        super().__init__()
        inner = width - augmented
        self.downsample = nn.Sequential(
            nn.Conv2d(channels, inner, 3),
            normalisation(norm, inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 4, stride=2, padding=1),
            normalisation(norm, inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 4, stride=2, padding=1),
            AugmentChannels(augmented),
        )
        self.blocks = blocks
        self.classify = nn.Sequential(
            normalisation(norm, width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(width, classes),
        )
        he_initialise(self)
        if start == "identity":
            begin_as_identity(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes' scores (B, classes) of images (B, channels, H, W)."""
        scores: Tensor = self.classify(self.blocks(self.downsample(x)))
        return scores


def galaxy_node(
    classes: int = 5,
    *,
    solver: Solver | None = None,
    width: int = 64,
    augmented: int = 0,
    channels: int = 3,
    norm: str = "batch",
    dropout: float = 0.0,
    start: str = STARTS[0],
    timed: bool = False,
) -> GalaxyNetwork:
    """Return the network with one ODE block, 0.2 million parameters at a width of 64.

    Parameters are :class:`GalaxyNetwork`'s; `timed` lets the right-hand side be a function of time, too.

    Raises
    ------
    ValueError
        If all channels were augmented ones.
    """
    if not 0 <= augmented < width:
        raise ValueError(f"`augmented` must be at least 0 and below `width` {width}, got {augmented}")
    f = _TimedCLN(width, norm=norm) if timed else _CLN(width, norm=norm)
    block = ODEBlock(f, solver=Solver() if solver is None else solver, timed=timed)
    common: dict[str, Any] = {"channels": channels, "norm": norm, "dropout": dropout, "start": start}
    return GalaxyNetwork(block, classes, width=width, augmented=augmented, **common)


def galaxy_resnet(
    classes: int = 5,
    *,
    solver: Solver | None = None,
    width: int = 64,
    channels: int = 3,
    norm: str = "batch",
    dropout: float = 0.0,
    start: str = STARTS[0],
) -> GalaxyNetwork:
    """Return its twin with six residual blocks, 0.6 million parameters at a width of 64."""
    solver = EULER if solver is None else solver
    blocks = nn.Sequential(*(ODEBlock(_NLC(width, norm=norm), solver=solver) for _ in range(_RESIDUAL_BLOCKS)))
    return GalaxyNetwork(blocks, classes, width=width, channels=channels, norm=norm, dropout=dropout, start=start)
