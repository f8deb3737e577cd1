"""Checkpoints: tensors and numbers only, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from physode.datasets.atomic import replacing
from physode.errors import DataError
from physode.training.state import TrainingState

__all__ = ["CHECKPOINT_VERSION", "read_checkpoint", "write_checkpoint"]

CHECKPOINT_VERSION = 2


def write_checkpoint(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write a state so that `path` holds, at every moment, nothing, the old state or the new one.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to.
    """
    content = {"version": CHECKPOINT_VERSION, **vars(state)}
    with replacing(path, overwrite=True) as part:
        torch.save(content, part)


def read_checkpoint(path: str | os.PathLike[str]) -> TrainingState:
    """Read a state, running none of what a hostile file may ask Python to run.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds anything but tensors and plain values, or is of another version.
    """
    if not Path(path).is_file():
        raise DataError(f"{os.fspath(path)} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to load a refused file without the safety
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of tensors and numbers, and was not loaded") from error
    except (RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        reason = str(error).strip().splitlines()
        raise DataError(f"{os.fspath(path)} is damaged: {reason[0] if reason else type(error).__name__}") from error
    names = {each.name for each in dataclasses.fields(TrainingState)}
    if not isinstance(content, dict) or "version" not in content:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of physode")
    version = content.pop("version")
    if version != CHECKPOINT_VERSION or set(content) != names:
        raise DataError(
            f"{os.fspath(path)} is a checkpoint of version {version!r}, this physode reads {CHECKPOINT_VERSION}"
        )
    return TrainingState(**content)
