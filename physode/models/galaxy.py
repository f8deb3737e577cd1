"""The small networks for galaxies' shapes (Gupta, Srijith and Desai 2022, Sect. 5.1): one ODE block, or six residual.

Both begin with three convolutions that bring 32x32 pixels to 64 channels of 7x7 (sizes that the paper leaves open are
those of Chen et al. 2018, Sect. 3, whose numbers of parameters, 0.2 and 0.6 million, are the paper's), and end with the
mean over the image and a linear layer. Blocks begin as the identity, see :mod:`physode.models.residual`.
"""

from __future__ import annotations

from torch import Tensor, nn

from physode.models.layers import AugmentChannels, conv3x3, he_initialise, normalisation
from physode.models.ode_block import ODEBlock, begin_as_identity
from physode.models.solver import EULER, Solver

__all__ = ["GalaxyNetwork", "galaxy_node", "galaxy_resnet"]

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
        """What begins as 0: the last normalisation."""
        return self[-1]


class _NLC(nn.Sequential):
    """Twice normalisation, nonlinearity, convolution: a residual block's change, pre-activated (He et al. 2016b)."""

    def __init__(self, channels: int, *, norm: str) -> None:
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [normalisation(norm, channels), nn.ReLU(), conv3x3(channels, channels)]
        super().__init__(*layers)

    @property
    def last(self) -> nn.Module:
        """What begins as 0: the last convolution."""
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
    ) -> None:
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
) -> GalaxyNetwork:
    """Return the network with one ODE block, 0.2 million parameters at a width of 64.

    Raises
    ------
    ValueError
        If all channels were augmented ones.
    """
    if not 0 <= augmented < width:
        raise ValueError(f"`augmented` must be at least 0 and below `width` {width}, got {augmented}")
    block = ODEBlock(_CLN(width, norm=norm), solver=Solver() if solver is None else solver)
    return GalaxyNetwork(
        block, classes, width=width, augmented=augmented, channels=channels, norm=norm, dropout=dropout
    )


def galaxy_resnet(
    classes: int = 5,
    *,
    solver: Solver | None = None,
    width: int = 64,
    channels: int = 3,
    norm: str = "batch",
    dropout: float = 0.0,
) -> GalaxyNetwork:
    """Return its twin with six residual blocks, 0.6 million parameters at a width of 64."""
    solver = EULER if solver is None else solver
    blocks = nn.Sequential(*(ODEBlock(_NLC(width, norm=norm), solver=solver) for _ in range(_RESIDUAL_BLOCKS)))
    return GalaxyNetwork(blocks, classes, width=width, channels=channels, norm=norm, dropout=dropout)
