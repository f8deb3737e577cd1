r"""ResNet18 and NODE18, one network: what differs is how its blocks are integrated; ResNet50 and ResNet101.

ResNets for images of 32x32 (He et al. 2016, Sect. 4.2, at the widths of their ImageNet networks, as is usual for
CIFAR): a 3x3 convolution, blocks in four stages, the mean over the image, a linear layer. A block is
:math:`\mathrm{relu}(s(y) + f(y))` with f = conv, norm, relu, conv, norm, or, a bottleneck, with three convolutions; the
shortcut s is a projection where a stage begins with another shape, else the identity.

ResNet18 has eight blocks, two a stage. NODE18 has :math:`y + \int_0^1 f\,dt` (Zhuang et al. 2020, Eqs. 30-31) in the
place of some of the five that keep the shape. Either of two forms, with equal numbers of parameters:

``"identity"``, the default
    ODEs are all five blocks that keep their shape, with the f and the ReLU after the sum of He et al. Weights are He et
    al.'s (2015), but that the last normalisation of f begins as 0: every f is 0 at first and every block the identity
    (Goyal et al. 2017, Sect. 5.1). Training then begins at smooth, cheap solutions.
``"published"``
    That of the paper's published script: ODEs are the second blocks of the four stages, the first ones are residual
    blocks in the first stage, too. A ReLU ends the f of an ODE, in the place of the one after the sum, so that states
    that begin at :math:`y \geq 0` only grow. Weights are torch's default.

In each form ResNet18 is NODE18 with one Euler step: weights fit either. :mod:`physode.experiments.cifar` has the
published one, and says in its deviations how the two compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from physode.models.layers import conv3x3, he_initialise, normalisation
from physode.models.ode_block import ODEBlock, begin_as_identity
from physode.models.solver import EULER, Solver

__all__ = ["FORMS", "ResidualNetwork", "node18", "resnet18", "resnet50", "resnet101"]

FORMS = ("identity", "published")
"""Of NODE18 and ResNet18; the first is the default."""

_STAGES = 4
_EXPANSION = 4  # of channels by the last convolution of a bottleneck


class _Change(nn.Sequential):
    """The residual function f: convolutions, a normalisation after each, ReLUs between them, and one at the end."""

    def __init__(self, *convolutions: nn.Conv2d, norm: str, relu: bool = False) -> None:
        layers: list[nn.Module] = []
        for convolution in convolutions:
            layers += [convolution, normalisation(norm, convolution.out_channels), nn.ReLU()]
        super().__init__(*(layers if relu else layers[:-1]))

    @property
    def last(self) -> nn.Module:
        """What may begin as 0: the last normalisation."""
        return self[-2] if isinstance(self[-1], nn.ReLU) else self[-1]


class _Residual(nn.Module):
    """A residual block before its ReLU, integrated by nobody; the shortcut is a projection where the shape changes."""

    def __init__(self, f: _Change, channels_in: int, channels: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.f = f
        self.project: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels:
            self.project = nn.Sequential(_conv1x1(channels_in, channels, stride=stride), normalisation(norm, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shortcut and the change together."""
        total: Tensor = self.project(x) + self.f(x)
        return total


class ResidualNetwork(nn.Module):
    """A convolution, blocks, the mean over the image, a linear layer.

    Parameters
    ----------
    blocks
        What is between: from (B, width, H, W) to (B, features, H', W').
    classes
        How many; the output is (B, classes), before a softmax.
    width
        Channels of the first convolution.
    features
        Channels behind the blocks.
    channels
        Of the images, (B, channels, H, W).
    norm
        ``"batch"`` or ``"group"``.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], classes: int, *, width: int, features: int, channels: int, norm: str
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3x3(channels, width), normalisation(norm, width), nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes' scores (B, classes) of images (B, channels, H, W)."""
        scores: Tensor = self.classify(self.blocks(self.stem(x)))
        return scores


def node18(
    classes: int,
    *,
    solver: Solver | None = None,
    width: int = 64,
    channels: int = 3,
    norm: str = "batch",
    form: str = FORMS[0],
) -> ResidualNetwork:
    """Return NODE18: ResNet18 with ODE blocks; by default HeunEuler at 1e-2 with ACA, as the paper trains it.

    Parameters
    ----------
    classes, channels, norm
        As of :class:`ResidualNetwork`.
    solver
        Of the ODE blocks.
    width
        Channels of the first stage; doubled in each further one.
    form
        One of :data:`FORMS`, see above.

    Raises
    ------
    ValueError
        If `form` or `norm` is unknown.
    """
    if form not in FORMS:
        raise ValueError(f"`form` must be one of {', '.join(FORMS)}, got {form!r}")
    solver = Solver() if solver is None else solver
    published = form == "published"
    blocks: list[nn.Module] = []
    for stage in range(_STAGES):
        size = width * 2**stage
        for first in (True, False):
            if first and (stage > 0 or published):
                blocks += [_basic(size // 2 if stage > 0 else size, size, stride=2 if stage > 0 else 1, norm=norm)]
                blocks += [nn.ReLU()]
            else:
                f = _Change(conv3x3(size, size), conv3x3(size, size), norm=norm, relu=published)
                blocks += [ODEBlock(f, solver=solver)] + ([] if published else [nn.ReLU()])
    model = ResidualNetwork(blocks, classes, width=width, features=size, channels=channels, norm=norm)
    if not published:
        he_initialise(model)
        begin_as_identity(model)
    return model


def resnet18(
    classes: int,
    *,
    solver: Solver | None = None,
    width: int = 64,
    channels: int = 3,
    norm: str = "batch",
    form: str = FORMS[0],
) -> ResidualNetwork:
    """Return ResNet18, see :func:`node18`; another solver than one Euler step tests it as a NODE (Table 6)."""
    solver = EULER if solver is None else solver
    return node18(classes, solver=solver, width=width, channels=channels, norm=norm, form=form)


def resnet50(classes: int, *, width: int = 64, channels: int = 3, norm: str = "batch") -> ResidualNetwork:
    """Return ResNet50: 3, 4, 6 and 3 bottlenecks; weights are torch's default."""
    return _bottlenecks((3, 4, 6, 3), classes, width=width, channels=channels, norm=norm)


def resnet101(classes: int, *, width: int = 64, channels: int = 3, norm: str = "batch") -> ResidualNetwork:
    """Return ResNet101: 3, 4, 23 and 3 bottlenecks; weights are torch's default."""
    return _bottlenecks((3, 4, 23, 3), classes, width=width, channels=channels, norm=norm)


def _bottlenecks(counts: Sequence[int], classes: int, *, width: int, channels: int, norm: str) -> ResidualNetwork:
    """Return a network of so many bottlenecks a stage, `width` channels inside of the first stage's."""
    blocks: list[nn.Module] = []
    size = width
    for stage, count in enumerate(counts):
        for number in range(count):
            inner, stride = width * 2**stage, 2 if stage > 0 and number == 0 else 1
            f = _Change(
                _conv1x1(size, inner),
                conv3x3(inner, inner, stride=stride),
                _conv1x1(inner, _EXPANSION * inner),
                norm=norm,
            )
            blocks += [_Residual(f, size, _EXPANSION * inner, stride=stride, norm=norm), nn.ReLU()]
            size = _EXPANSION * inner
    return ResidualNetwork(blocks, classes, width=width, features=size, channels=channels, norm=norm)


def _basic(channels_in: int, channels: int, *, stride: int, norm: str) -> _Residual:
    f = _Change(conv3x3(channels_in, channels, stride=stride), conv3x3(channels, channels), norm=norm)
    return _Residual(f, channels_in, channels, stride=stride, norm=norm)


def _conv1x1(channels_in: int, channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
