"""Checkpoints of fits."""

from __future__ import annotations

import dataclasses
import os

from physode.fitting.state import TrainingState
from physode.training.checkpoints import read_tensors, write_tensors

__all__ = ["CHECKPOINT_VERSION", "read_checkpoint", "write_checkpoint"]

CHECKPOINT_VERSION = 2


def write_checkpoint(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write a state so that `path` holds, at every moment, nothing, the old state or the new one.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to.
    """
    write_tensors(path, vars(state), version=CHECKPOINT_VERSION)


def read_checkpoint(path: str | os.PathLike[str]) -> TrainingState:
    """Read a state, running none of what a hostile file may ask Python to run.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds anything but tensors and plain values, or is of another version.
    """
    names = {each.name for each in dataclasses.fields(TrainingState)}
    return TrainingState(**read_tensors(path, version=CHECKPOINT_VERSION, names=names))
