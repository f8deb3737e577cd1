"""What a classifier's training leaves: lines of its history, checkpoints, and the folder that has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from physode.images.config import TrainConfig
from physode.training import run as training_run
from physode.training.run import TrainingRun, TrainingState, read_state

__all__ = ["Epoch", "TrainRun", "TrainState", "Weights", "create_train_run", "open_train_run"]


@dataclass(frozen=True, kw_only=True)
class Epoch(training_run.Epoch):
    """One line of a classifier's history, see :class:`physode.training.run.Epoch`.

    Attributes
    ----------
    loss, accuracy
        Means over the epoch's training images as they were seen: changed, and by the weights of the moment.
    test_loss, test_accuracy, test_balanced
        Over all test images by the weights at its end; the last is the mean of the classes' accuracies, and
        missing in runs of old.
    test_rhs
        Evaluations, a test batch.
    memory
        Largest memory that tensors took on the GPU, in bytes; None on others.
    """

    accuracy: float
    test_loss: float
    test_accuracy: float
    test_rhs: float
    test_balanced: float | None = None
    memory: int | None = None


@dataclass(kw_only=True)
class TrainState(TrainingState):
    """What the last checkpoint of a classifier holds, see :class:`physode.training.run.TrainingState`.

    Attributes
    ----------
    scaler
        State dict of the scaler of float16.
    best_accuracy
        The best test accuracy so far.
    """

    scaler: dict[str, Any]
    best_accuracy: float


@dataclass
class Weights:
    """What a checkpoint for evaluation holds: the epoch and its model's state dict."""

    epoch: int
    model: dict[str, Tensor]


@dataclass(frozen=True)
class TrainRun(TrainingRun[TrainConfig, TrainState]):
    """A classifier's folder, see :class:`physode.training.run.TrainingRun`.

    Attributes
    ----------
    dataset
        What the images are: ``"cifar10"``, ``"cifar100"``, ``"galaxy"`` or ``"images"``.
    size
        Pixels a side of the images, to which others are scaled; None of oblong ones, which come as they are.
    classes
        Their names.
    centre, conditional
        As they were read, see :func:`physode.datasets.images.read_images`.
    """

    kind: ClassVar[str] = "train"
    config_kind: ClassVar[type[Any]] = TrainConfig
    state_kind: ClassVar[type[Any]] = TrainState
    epoch_kind: ClassVar[type[Any]] = Epoch
    example: ClassVar[str] = "runs/galaxy-node"

    dataset: str
    size: int | None
    classes: tuple[str, ...]
    centre: float | None = None
    conditional: bool | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """How the images are to be read again: arguments of :func:`physode.datasets.images.read_images`."""
        return {"size": self.size, "centre": self.centre, "conditional": bool(self.conditional)}

    def reading_of(self, kind: str) -> dict[str, Any]:
        """How other images, of a kind, are to be read: of pixels that are stored, the centre has been cut already."""
        return {
            "size": self.size,
            "centre": self.centre if kind in ("folder", "galaxy-zoo") else None,
            "conditional": kind == "galaxy-zoo" and bool(self.conditional),
        }

    def kept_of_best(self, state: TrainState) -> Weights:
        """Return the weights only: nobody goes on from the best epoch."""
        return Weights(state.epoch, state.model)

    def weights(self, which: str) -> Weights:
        """Read the weights of the last epoch, ``"last"``, or of that of the best test accuracy, ``"best"``."""
        return self.kept_of_best(self.last()) if which == "last" else read_state(self.checkpoint(which), Weights)


def create_train_run(
    path: Path,
    config: TrainConfig,
    *,
    dataset: str,
    size: int | None,
    data: Path,
    classes: Sequence[str],
    digest: str,
    centre: float | None = None,
    conditional: bool | None = None,
    overwrite: bool = False,
) -> TrainRun:
    """Make a training's folder and write its settings.

    Raises
    ------
    ConfigError
        If something stands at `path`, unless it is a run and `overwrite` is set.
    """
    run = TrainRun(path, config, data.resolve(), digest, dataset, size, tuple(classes), centre, conditional)
    return run.create(overwrite=overwrite)


def open_train_run(path: str | os.PathLike[str]) -> TrainRun:
    """Open a training's folder.

    Raises
    ------
    ConfigError
        If it is missing, no run of a training, of another version, or its settings are damaged.
    """
    return TrainRun.open(path)
