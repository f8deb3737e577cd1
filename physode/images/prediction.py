"""What a classifier says of images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from physode.images.config import TrainConfig
from physode.images.data import DeviceImages
from physode.images.model import mixed_precision
from physode.models import work_of

__all__ = ["Predicted", "predict"]


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
