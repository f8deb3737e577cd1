"""Where a training stands after an epoch."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from physode.errors import DataError
from physode.training.checkpoints import read_tensors, write_tensors

__all__ = ["Epoch", "TrainState", "Weights", "read_state", "read_weights", "write_state", "write_weights"]

_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history.

    Attributes
    ----------
    epoch
        From 1.
    loss, accuracy
        Means over the epoch's training images as they were seen: changed, and by the weights of the moment.
    test_loss, test_accuracy
        Over all test images by the weights at its end.
    lr
        Learning rate of its last update.
    rhs_forward, rhs_backward, accepted, rejected
        Evaluations of the blocks' right-hand sides and their steps, all blocks together, a training batch.
    test_rhs
        Evaluations, a test batch.
    seconds, test_seconds
        Of training, and of the test.
    memory
        Largest memory that tensors took on the GPU, in bytes; None on others.
    """

    epoch: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    rhs_forward: float
    rhs_backward: float
    accepted: float
    rejected: float
    test_rhs: float
    seconds: float
    test_seconds: float
    memory: int | None = None


@dataclass
class TrainState:
    """What the last checkpoint holds: all that is needed to go on to the same numbers.

    Attributes
    ----------
    epoch
        Epochs that are over.
    model, optimizer, scaler
        Their state dicts; the scaler's of float16.
    best_epoch, best_accuracy
        Of the best test accuracy so far.
    line
        The last epoch's line of the history.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    best_epoch: int
    best_accuracy: float
    line: dict[str, Any]


@dataclass
class Weights:
    """What a checkpoint for evaluation holds: the epoch and its model's state dict."""

    epoch: int
    model: dict[str, Tensor]


def write_state(path: str | os.PathLike[str], state: TrainState) -> None:
    """Write a state whole or not at all."""
    write_tensors(path, vars(state), version=_VERSION)


def read_state(path: str | os.PathLike[str]) -> TrainState:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    found = TrainState(**read_tensors(path, version=_VERSION, names=_names(TrainState)))
    numbers = isinstance(found.epoch, int) and isinstance(found.best_epoch, int) and found.epoch >= 1
    tables = all(isinstance(each, dict) for each in (found.model, found.optimizer, found.scaler, found.line))
    if not (numbers and tables and isinstance(found.best_accuracy, float)):
        raise DataError(f"{os.fspath(path)} is damaged: it does not hold what a training's checkpoint does")
    return found


def write_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write weights whole or not at all."""
    write_tensors(path, vars(weights), version=_VERSION)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read weights; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    return Weights(**read_tensors(path, version=_VERSION, names=_names(Weights)))


def _names(kind: type) -> set[str]:
    return {each.name for each in dataclasses.fields(kind)}
