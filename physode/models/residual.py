r"""ResNet18 and NODE18, one network: what differs is how its blocks are integrated.

ResNet18 for images of 32x32 (He et al. 2016, Sect. 4.2, at the widths of their ImageNet networks, as is usual for
CIFAR): a 3x3 convolution, eight blocks of two 3x3 convolutions in four stages, the mean over the image, a linear layer.
A block of unchanged shape is :math:`\mathrm{relu}(y + f(y))` with f = conv, norm, relu, conv, norm; NODE18 has
:math:`\mathrm{relu}(y + \int_0^1 f\,dt)` in its place (Zhuang et al. 2020, Eqs. 30-31): five of the eight blocks, all
but the first of each later stage, where the shape changes. So ResNet18 is NODE18 with one Euler step: weights fit
either, and the numbers of parameters are equal.

Weights are He et al.'s (2015), but that the last normalisation of f begins as 0: every f is 0 at first and every block
the identity (Goyal et al. 2017, Sect. 5.1). Training then begins at smooth, cheap solutions.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from physode.models.layers import conv3x3, he_initialise, normalisation
from physode.models.ode_block import ODEBlock, begin_as_identity
from physode.models.solver import EULER, Solver
from physode.optional_imports import needs

__all__ = ["ResidualNetwork", "node18", "resnet18", "resnet50", "resnet101"]


_BLOCKS = 2  # of each of the four stages


class _Change(nn.Sequential):
    """The residual function f: conv, norm, relu, conv, norm."""

    @property
    def last(self) -> nn.Module:
        """What begins as 0: the last normalisation."""
        return self[-1]

    def __init__(self, channels_in: int, channels: int, *, stride: int, norm: str) -> None:
        super().__init__(
            conv3x3(channels_in, channels, stride=stride),
            normalisation(norm, channels),
            nn.ReLU(),
            conv3x3(channels, channels),
            normalisation(norm, channels),
        )


class _Downsampling(nn.Module):
    """A block that changes the shape: a residual block with a projection, integrated by nobody."""

    def __init__(self, channels_in: int, channels: int, *, norm: str) -> None:
        super().__init__()
        self.f = _Change(channels_in, channels, stride=2, norm=norm)
        self.project = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride=2, bias=False), normalisation(norm, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return half the image of twice the channels."""
        found: Tensor = self.project(x) + self.f(x)
        return found


class ResidualNetwork(nn.Module):
    """ResNet18 or NODE18 by its solver.

    Parameters
    ----------
    classes
        How many; the output is (B, classes), before a softmax.
    solver
        Of the blocks of unchanged shape.
    width
        Channels of the first stage; doubled in each further one.
    channels
        Of the images, (B, channels, H, W).
    norm
        ``"batch"`` or ``"group"``.
    """

    def __init__(
        self, classes: int, *, solver: Solver, width: int = 64, channels: int = 3, norm: str = "batch"
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3x3(channels, width), normalisation(norm, width), nn.ReLU())
        blocks: list[nn.Module] = []
        for stage in range(4):
            size = width * 2**stage
            for block in range(_BLOCKS):
                if stage > 0 and block == 0:
                    blocks.append(_Downsampling(size // 2, size, norm=norm))
                else:
                    blocks.append(ODEBlock(_Change(size, size, stride=1, norm=norm), solver=solver))
                blocks.append(nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, classes))
        he_initialise(self)
        begin_as_identity(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes' scores (B, classes) of images (B, channels, H, W)."""
        scores: Tensor = self.classify(self.blocks(self.stem(x)))
        return scores


def node18(
    classes: int, *, solver: Solver | None = None, width: int = 64, channels: int = 3, norm: str = "batch"
) -> ResidualNetwork:
    """Return NODE18: ResNet18 with ODE blocks; by default HeunEuler at 1e-2 with ACA, as the paper trains it."""
    solver = Solver() if solver is None else solver
    return ResidualNetwork(classes, solver=solver, width=width, channels=channels, norm=norm)


def resnet18(
    classes: int, *, solver: Solver | None = None, width: int = 64, channels: int = 3, norm: str = "batch"
) -> ResidualNetwork:
    """Return ResNet18; another solver than one Euler step tests it as a NODE (Zhuang et al. 2020, Table 6)."""
    solver = EULER if solver is None else solver
    return ResidualNetwork(classes, solver=solver, width=width, channels=channels, norm=norm)


def resnet50(classes: int) -> nn.Module:
    """Return ResNet50 for (B, 3, H, W).

    Raises
    ------
    ConfigError
        If torchvision is not installed.
    """
    return _small_images("resnet50", classes)


def resnet101(classes: int) -> nn.Module:
    """Return ResNet101 for (B, 3, H, W).

    Raises
    ------
    ConfigError
        If torchvision is not installed.
    """
    return _small_images("resnet101", classes)


def _small_images(name: str, classes: int) -> nn.Module:
    """Let the first convolution keep the image's size, as is usual for CIFAR (Liu 2017)."""
    model: Any = getattr(needs("torchvision.models", extra="torchvision"), name)(num_classes=classes)
    model.conv1 = conv3x3(3, 64)
    model.maxpool = nn.Identity()
    he_initialise(model)
    found: nn.Module = model
    return found
