"""Images in the memory of the device that trains on them: split, normalised, in shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from physode.errors import DataError
from physode.images.augmentation import Changes, draw
from physode.images.config import TrainConfig
from physode.training.device import seed_of

if TYPE_CHECKING:
    from physode.datasets.images import Images

__all__ = ["Batch", "DeviceImages", "Normalise", "batches", "on_device", "split", "test_places", "unit", "updates"]

_TENTH = 0.1


class Normalise(nn.Module):
    """Images as bytes or from 0 to 1 to channels of mean 0 and standard deviation 1.

    Parameters
    ----------
    mean, deviation
        Of each channel of images from 0 to 1, (C,); kept in the state dict.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        real = torch.get_default_dtype()
        self.register_buffer("mean", mean.reshape(-1, 1, 1).to(real, copy=True))
        self.register_buffer("deviation", deviation.reshape(-1, 1, 1).to(real, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        return (unit(x, self.mean.dtype) - self.mean) / self.deviation


def unit(x: Tensor, real: torch.dtype) -> Tensor:
    """Return images from 0 to 1 of bytes; others as they are."""
    return x.to(real) / 255 if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class DeviceImages:
    """Images as bytes (N, C, H, W) and labels (N,) on a device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel of images from 0 to 1; of a flat channel, 1."""
        total, square = torch.zeros(2, self.x.shape[1], dtype=torch.float64, device=self.x.device)
        for part in torch.split(self.x, 4096):
            values = part.double() / 255
            total += values.sum((0, 2, 3))
            square += values.square().sum((0, 2, 3))
        count = self.x.numel() // self.x.shape[1]
        mean = total / count
        deviation = (square / count - mean.square()).clamp(min=0.0).sqrt()
        return mean.cpu(), torch.where(deviation > 1e-3, deviation, torch.ones_like(deviation)).cpu()

    def weights(self, balance: float, classes: int) -> Tensor:
        r"""Return a weight for each class, (classes,): :math:`n_c^{-b}`, scaled so that the images' mean is 1.

        Parameters
        ----------
        balance
            b, from 0, all images alike, to 1, all classes alike. A class without images gets 0.
        classes
            How many.
        """
        counts = torch.bincount(self.y, minlength=classes).double()
        weights = torch.where(counts > 0, counts.clamp(min=1.0) ** -balance, torch.zeros_like(counts))
        return (weights * counts.sum() / (weights * counts).sum()).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Batch:
    """What one update sees: places of images, in the order of the whole batch, and their changes."""

    places: Tensor
    changes: Changes

    def part(self, rows: slice) -> Batch:
        """Return some of it."""
        return Batch(self.places[rows], self.changes.part(rows, self.places.device))


def test_places(images: Images, config: TrainConfig) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return which images :func:`split` sets aside for the test, in their order."""
    if config.test_fraction is None and images.test.any():
        return np.flatnonzero(images.test)
    share = _TENTH if config.test_fraction is None else config.test_fraction
    order = np.random.default_rng(config.split).permutation(len(images))
    return np.sort(order[: round(share * len(images))])


def split(images: Images, config: TrainConfig) -> tuple[Images, Images]:
    """Divide images into those to train on and those to test on.

    Raises
    ------
    DataError
        If either part is empty, or only one class is left to train on.
    """
    held = test_places(images, config)
    training, testing = images.take(np.delete(np.arange(len(images)), held)), images.take(held)
    if config.limit is not None and config.limit < len(training):
        chosen = np.random.default_rng(config.split).permutation(len(training))[: config.limit]
        training = training.take(np.sort(chosen))
    if len(training) < 2 or len(testing) < 1:
        raise DataError(
            f"{len(images)} images leave {len(training)} to train on and {len(testing)} to test on; give more images"
        )
    present = np.unique(training.y)
    if len(present) < 2:
        raise DataError(
            f"all {len(training)} training images are of one class, {images.classes[int(present[0])]!r}; "
            "a classifier needs two or more"
        )
    return training, testing


def on_device(images: Images, device: torch.device) -> DeviceImages:
    """Copy images to a device."""
    return DeviceImages(torch.from_numpy(images.x).to(device), torch.from_numpy(images.y).to(device))


def updates(count: int, batch: int) -> int:
    """Return the updates of an epoch; images that do not fill a batch wait for another epoch's order."""
    return max(1, count // batch)


def batches(count: int, config: TrainConfig, epoch: int) -> Iterator[Batch]:
    """Shuffle for an epoch, and return its batches; the seed and the epoch alone decide them.

    Processes that share a batch draw all of it and take their parts, so that their number changes nothing.
    """
    generator = Generator().manual_seed(seed_of(config.seed, epoch))
    order = torch.randperm(count, generator=generator)
    size = min(config.batch, count)
    for number in range(updates(count, size)):
        yield Batch(order[number * size : (number + 1) * size], draw(config, size, generator))
