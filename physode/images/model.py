"""The network of a training: built, and prepared for its device."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from physode.errors import ConfigError
from physode.images.config import TrainConfig
from physode.images.data import DeviceImages, Normalise
from physode.models import build_classifier, ode_blocks, work_of

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["Predicted", "check_model", "compile_blocks", "make_model", "mixed_precision", "predict"]


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
        except (RuntimeError, ValueError) as error:
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


@dataclass(frozen=True)
class Predicted:
    """Probabilities of all images, and what they cost.

    Attributes
    ----------
    probabilities
        (N, classes), float64.
    labels
        The true ones, (N,).
    rhs
        Evaluations of the blocks' right-hand sides, a batch.
    steps, rejected
        Of all blocks together: the mean over samples, of a batch.
    seconds
        Spent.
    """

    probabilities: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    rhs: float
    steps: float
    rejected: float
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of images whose likeliest class is the true one."""
        return float((self.probabilities.argmax(1) == self.labels).mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that are there of the share of a class's images that are right."""
        right = self.probabilities.argmax(1) == self.labels
        return float(np.mean([right[self.labels == label].mean() for label in np.unique(self.labels)]))

    @property
    def loss(self) -> float:
        """Mean cross entropy; a probability that is 0 in double precision counts as the least number above it."""
        chosen = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def predict(
    model: nn.Module,
    images: DeviceImages,
    config: TrainConfig,
    *,
    batch: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Predicted:
    """Return the probabilities of images, in their order; what one image gets does not depend on the others.

    Raises
    ------
    SolveError
        If a block cannot be integrated.
    """
    size = config.batch if batch is None else batch
    device = images.x.device
    training = model.training
    begin = time.perf_counter()
    work_of(model, forget=True)
    parts = []
    model.eval()
    try:
        with torch.no_grad(), mixed_precision(config, device):
            for start in range(0, len(images), size):
                x = images.x[start : start + size]
                scores = model(x.contiguous(memory_format=torch.channels_last) if config.channels_last else x)
                parts.append(scores.double().softmax(1).cpu())
                if progress is not None:
                    progress(min(1.0, (start + size) / len(images)))
    finally:
        model.train(training)
    work, count = work_of(model, forget=True), math.ceil(len(images) / size)
    return Predicted(
        probabilities=torch.cat(parts).numpy(),
        labels=images.y.cpu().numpy(),
        rhs=work.forward / count,
        steps=work.accepted / count,
        rejected=work.rejected / count,
        seconds=time.perf_counter() - begin,
    )
