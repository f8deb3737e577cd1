"""Runs: the folder that a computation leaves, and checkpoints to go on from."""

from __future__ import annotations

from physode.runs.checkpoints import load_weights, read_tensors, write_tensors
from physode.runs.folder import (
    RunFolder,
    check_new_folder,
    claimed_run,
    discard,
    has_fields,
    kind_of_run,
    making_folder,
    read_settings,
)

__all__ = [
    "RunFolder",
    "check_new_folder",
    "claimed_run",
    "discard",
    "has_fields",
    "kind_of_run",
    "load_weights",
    "making_folder",
    "read_settings",
    "read_tensors",
    "write_tensors",
]
