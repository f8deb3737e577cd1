"""Where a training on series stands after an epoch."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from physode.errors import DataError
from physode.training.checkpoints import read_tensors, write_tensors

__all__ = ["Epoch", "SeriesState", "read_state", "write_state"]

_VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """One line of a training's history.

    Attributes
    ----------
    epoch
        From 1.
    loss
        Mean of what was made small over the epoch's updates, nats a value.
    test_mse, test_mse_by_range
        Of the test series by the weights at its end, see :class:`physode.series.Scores`.
    lr, kl_weight
        Of its last update.
    rhs_forward, rhs_backward, accepted, rejected
        Evaluations of right-hand sides and steps of solves, a training batch.
    seconds, test_seconds
        Of training, and of the test.
    """

    epoch: int
    loss: float
    test_mse: float
    test_mse_by_range: float
    lr: float
    kl_weight: float
    rhs_forward: float
    rhs_backward: float
    accepted: float
    rejected: float
    seconds: float
    test_seconds: float


@dataclass
class SeriesState:
    """What a checkpoint holds: all that is needed to go on to the same numbers.

    Attributes
    ----------
    epoch
        Epochs that are over.
    model, optimizer
        Their state dicts.
    best_epoch, best_mse
        Of the smallest test error so far.
    line
        The last epoch's line of the history.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best_epoch: int
    best_mse: float
    line: dict[str, Any]


def write_state(path: str | os.PathLike[str], state: SeriesState) -> None:
    """Write a state whole or not at all."""
    write_tensors(path, vars(state), version=_VERSION)


def read_state(path: str | os.PathLike[str]) -> SeriesState:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    DataError
        If the file is missing, damaged, no checkpoint, or of another version.
    """
    names = {each.name for each in dataclasses.fields(SeriesState)}
    found = SeriesState(**read_tensors(path, version=_VERSION, names=names))
    numbers = isinstance(found.epoch, int) and found.epoch >= 1 and isinstance(found.best_epoch, int)
    tables = all(isinstance(each, dict) for each in (found.model, found.optimizer, found.line))
    if not (numbers and tables and isinstance(found.best_mse, float)):
        raise DataError(f"{os.fspath(path)} is damaged: it does not hold what a training's checkpoint does")
    return found
