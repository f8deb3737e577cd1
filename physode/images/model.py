"""The network of a training: built, and prepared for its device."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from physode.errors import ConfigError
from physode.images.config import TrainConfig
from physode.images.data import Normalise
from physode.models import build_classifier, ode_blocks

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["check_model", "compile_blocks", "make_model", "mixed_precision"]


def make_model(config: TrainConfig, classes: int, moments: tuple[Tensor, Tensor]) -> nn.Module:
    """Build normalisation and network, with weights drawn by the seed.

    Raises
    ------
    ConfigError
        If the settings do not suit the model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_classifier(config.model, classes, **config.model_options())
    model: nn.Module = nn.Sequential(OrderedDict(normalise=Normalise(*moments), network=network)).to(config.device)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def check_model(config: TrainConfig, images: Images) -> None:
    """Try the model that the settings say on a black image of the images' size.

    Raises
    ------
    ConfigError
        If the settings do not suit the model, or the images are too small for it.
    """
    size = images.x.shape[-2:]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build_classifier(config.model, len(images.classes), **config.model_options()).eval()
        try:
            network(torch.zeros(1, 3, *size))
        except RuntimeError as error:
            raise ConfigError(
                f"images of {size[0]}x{size[1]} pixels are too small for {config.model}; enlarge them with --size"
            ) from error


def compile_blocks(model: nn.Module) -> None:
    """Let torch compile the blocks' right-hand sides at their first call; names of weights stay."""
    for block in ode_blocks(model):
        block.f.compile(dynamic=False)


def mixed_precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of mixed precision, or of none."""
    precision = getattr(torch, config.precision)
    return torch.autocast(device.type, dtype=precision, enabled=config.precision != "float32")
