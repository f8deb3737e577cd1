"""Checkpoint files: tensors and plain values only, whole or not at all."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physode.datasets.atomic import filling, replacing
from physode.errors import DataError
from physode.interrupts import interrupts_held

__all__ = ["load_weights", "read_tensors", "write_tensors"]


def write_tensors(path: str | os.PathLike[str], content: Mapping[str, Any], *, version: int) -> None:
    """Write tensors and plain values by name, so that `path` holds, at every moment, nothing, the old or the new ones.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written to.
    """
    with replacing(path, overwrite=True) as part:
        _save({"version": version, **content}, part)


def _save(content: Mapping[str, Any], part: Path) -> None:
    """Save to a file; where the disk is full, the error says so."""
    try:
        torch.save(content, part)
    except RuntimeError:  # torch does not say why a write has failed; a file of ours does
        with interrupts_held(), filling(part) as file:
            torch.save(content, file)


def read_tensors(path: str | os.PathLike[str], *, version: int, names: set[str]) -> dict[str, Any]:
    """Read what :func:`write_tensors` wrote, running none of what a hostile file may ask Python to run.

    Raises
    ------
    DataError
        If the file is missing, damaged, holds anything but tensors and plain values, is of another version, or has
        other entries than `names`.
    """
    if not Path(path).is_file():
        raise DataError(f"{os.fspath(path)} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to load a refused file without the safety
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of tensors and numbers, and was not loaded") from error
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DataError(f"{os.fspath(path)} is damaged: {reason[0] if reason else type(error).__name__}") from error
    if not isinstance(content, dict) or "version" not in content:
        raise DataError(f"{os.fspath(path)} is not a checkpoint of physode")
    found = content.pop("version")
    if found != version:
        raise DataError(f"{os.fspath(path)} is a checkpoint of version {found!r}, this physode reads {version}")
    if set(content) != names:
        raise DataError(f"{os.fspath(path)} is a checkpoint of another kind; it holds {', '.join(map(str, content))}")
    return content


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Give a model the weights of a checkpoint.

    Raises
    ------
    DataError
        If they are another model's.
    """
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"{source} has the weights of another model than the run's settings say") from error
